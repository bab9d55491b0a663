"Everything that is different on a GPU; `benchmarks/gpu.sh` runs these tests first"
import pandas as pd, pytest, torch
from fashion_fastai.cli import main
from fashion_fastai.config import make_config, merge_settings
from fashion_fastai.experiments.train import train
from fashion_fastai.models.losses import FashionLoss
from helpers import launched
from test_devices import differences, few, new_job, settings, train_alone # noqa: F401 fixtures

SMALL = ['--arch', 'test_resnet', '--weights', 'none', '--size', '32', '--batch-size', '16']
cuda = pytest.mark.cuda

def command(capsys, *args)->str: # what was printed
    assert main(list(map(str, args)))==0, capsys.readouterr().err
    return capsys.readouterr().out

# on any machine

def test_too_little_memory_is_said_in_one_sentence(sample, tmp_path, monkeypatch, capsys):
    def full(*args): raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB')
    monkeypatch.setattr(FashionLoss, '__call__', full)
    assert main(['train', '--data', str(sample), *SMALL, '--epochs', '1', '--out', str(tmp_path/'run')])==1
    error = capsys.readouterr().err
    assert 'not enough memory on the GPU' in error and '--set training.micro_batch_size=8' in error and 'Traceback' not in error

# precision

TRICKS = dict(training=dict(ema=0.9, clip=0.5, layer_decay=0.7), loss=dict(task_weights='uncertainty',
    per_target=dict(any_of=dict(gamma=2, clip=0.05))), image=dict(augment=dict(mixup=0.2, cutmix=1)))

@cuda
@pytest.mark.parametrize('precision', ['float32', 'bfloat16', 'float16'])
def test_each_precision(sample, tmp_path, precision):
    "Losses, EMA, clipping and learned weights; the probabilities are near those of float32"
    fields = merge_settings(TRICKS, dict(data=dict(path=str(sample)), model=dict(arch='test_resnet', weights='none'),
        image=dict(size=32), training=dict(batch_size=16, epochs=2, precision=precision)))
    run = train(make_config('two-head', fields), tmp_path/precision, lambda _: None)
    losses = pd.read_csv(run.path/'history.csv')['valid/loss']
    assert losses.notna().all() and run.config.training.precision==precision

@cuda
def test_half_precision_skips_a_step_that_overflows(sample, tmp_path, monkeypatch):
    "A gradient that is not finite in float16 does not reach the weights, the optimiser or the average"
    calls,original = [],FashionLoss.__call__
    def overflow(self, *args):
        calls.append(0)
        return original(self, *args)*(1e30 if len(calls)==3 else 1)
    monkeypatch.setattr(FashionLoss, '__call__', overflow)
    fields = dict(data=dict(path=str(sample)), model=dict(arch='test_resnet', weights='none'), image=dict(size=32),
        training=dict(batch_size=16, epochs=1, precision='float16', ema=0.9))
    run = train(make_config('two-head', fields), tmp_path/'run', lambda _: None)
    assert pd.read_csv(run.path/'history.csv')['valid/loss'].notna().all()

@cuda
def test_the_network_is_channels_last_and_compiles(sample, tmp_path):
    fields = dict(data=dict(path=str(sample)), model=dict(arch='test_resnet', weights='none'), image=dict(size=32),
        training=dict(batch_size=16, epochs=1, compile=True))
    run = train(make_config('two-head', fields), tmp_path/'run', lambda _: None)
    assert pd.read_csv(run.path/'history.csv')['valid/loss'].notna().all()

@cuda
def test_a_body_that_is_not_channels_last_on_a_cpu(sample, tmp_path, capsys):
    command(capsys, 'train', '--data', sample, '--arch', 'fastvit_t8', '--weights', 'none', '--size', '64', '--epochs', '1',
        '--batch-size', '16', '--out', tmp_path/'run')

# the way of a run

@cuda
def test_predictions_are_those_of_the_cpu(sample, tmp_path, monkeypatch, capsys):
    command(capsys, 'train', '--data', sample, *SMALL, '--epochs', '1', '--out', tmp_path/'run')
    command(capsys, 'predict', tmp_path/'run', sample, '--out', tmp_path/'gpu.parquet')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    command(capsys, 'predict', tmp_path/'run', sample, '--out', tmp_path/'cpu.parquet')
    found,expected = [pd.read_parquet(tmp_path/f'{name}.parquet').select_dtypes('number') for name in ('gpu', 'cpu')]
    assert (found-expected).abs().to_numpy().max()<1e-2 # TF32 in convolutions

@cuda
def test_a_run_is_embedded_evaluated_and_audited(sample, tmp_path, capsys):
    command(capsys, 'train', '--data', sample, *SMALL, '--epochs', '1', '--out', tmp_path/'run')
    command(capsys, 'embed', tmp_path/'run', sample, '--out', tmp_path/'embeddings')
    command(capsys, 'evaluate', tmp_path/'run', '--out', tmp_path/'metrics.json')
    command(capsys, 'data', 'audit', sample, '--out', tmp_path/'audit')

@cuda
def test_an_interrupted_training_resumes(sample, tmp_path, monkeypatch):
    import signal
    from fashion_fastai.training.checkpoint import Checkpoints
    calls,original = [],Checkpoints.after_batch
    def after_batch(self):
        calls.append(0)
        if len(calls)==5: signal.raise_signal(signal.SIGTERM)
        original(self)
    args = ['train', '--data', str(sample), *SMALL, '--epochs', '2', '--out', str(tmp_path/'run')]
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, 'after_batch', after_batch)
        assert main(args)==128+signal.SIGTERM
    assert main([*args, '--resume'])==0
    assert len(pd.read_csv(tmp_path/'run/history.csv'))==2

@cuda
def test_onnx_runtime_on_the_gpu(sample, tmp_path, capsys):
    onnxruntime = pytest.importorskip('onnxruntime')
    if 'CUDAExecutionProvider' not in onnxruntime.get_available_providers(): pytest.skip('needs onnxruntime-gpu')
    from fashion_fastai.serving.predictor import Predictor
    command(capsys, 'train', '--data', sample, *SMALL, '--epochs', '1', '--out', tmp_path/'run')
    command(capsys, 'export', tmp_path/'run', '--out', tmp_path/'model.onnx')
    found,expected = [Predictor.load(path, device='cuda')(sample).predictions.probs for path in (tmp_path/'model.onnx', tmp_path/'run')]
    for name in found: assert abs(found[name]-expected[name]).max()<1e-2

@cuda
def test_one_process_with_nccl(few, train_alone, tmp_path): # noqa: F811
    "A launcher that starts one process trains as no launcher does"
    fields = settings('plain', few, precision='float32')
    (first,) = launched.start(1, [new_job(fields, tmp_path/'one')], tmp_path/'jobs')
    assert first[0]['error'] is None, first
    train_alone(fields, tmp_path/'alone')
    assert differences(tmp_path/'alone', tmp_path/'one')['loss']<1e-3

@cuda
def test_a_table_that_fills_the_card(sample, tmp_path, capsys):
    "A batch that no card holds ends with one sentence"
    args = ['train', '--data', str(sample), '--arch', 'convnext_base', '--weights', 'none', '--size', '1024', '--epochs', '1',
        '--batch-size', '96', '--set', 'training.precision=float32', '--set', 'training.unfreeze=none']
    free = torch.cuda.mem_get_info()[0]/2**30
    if free>100: pytest.skip('the card holds it')
    assert main([*args, '--out', str(tmp_path/'run')])==1
    assert 'not enough memory on the GPU' in capsys.readouterr().err
