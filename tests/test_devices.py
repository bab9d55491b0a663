"Several processes train as one does: same loss and gradient, and in the end the same network, history and scores"
import os, subprocess, sys
import pandas as pd, pytest, torch, yaml
from safetensors.torch import load_file
from helpers import launched
from fashion_fastai.config import make_config, merge_settings
from fashion_fastai.core.errors import UsageError
from fashion_fastai.evaluation.predictions import read_predictions
from fashion_fastai.experiments.train import train
from fashion_fastai.run import open_run
from fashion_fastai.training.checkpoint import newest_checkpoint

STAGES = [dict(unfrozen=0, epochs=1, lr=1e-2), dict(unfrozen=3, epochs=2, lr=4e-3, lr_body=1e-3)]
SMALL = dict(model=dict(arch='test_convnext', weights='none'), image=dict(size=32),
    training=dict(batch_size=16, optimizer='sgd', checkpoint_minutes=60, stages=STAGES))
RANDOM = dict(image=dict(size=32, load_size=40, augment=dict(random_crop=0.5, hue=0.1, lighting=0.2)),
    training=dict(sampler='balanced', optimizer='adamw', micro_batch_size=5),
    loss=dict(task_weights='uncertainty', class_weights='balanced'))
MIXED = dict(model=dict(arch='test_resnet'), image=dict(size=32, augment=dict(mixup=0.4, cutmix=1)),
    training=dict(precision='bfloat16'), loss=dict(per_target=dict(any_of=dict(drop_negatives=0.2))),
    data=dict(cache='none'))
VARIANTS = dict(plain={}, random=RANDOM, mixed=MIXED)

@pytest.fixture(scope='module')
def few(sample):
    "A small table with missing labels: three training batches of sixteen, and fifteen validation rows"
    table = pd.read_csv(sample, keep_default_na=False)
    table = pd.concat([table[table.split=='train'].head(48), table[table.split=='valid'].head(15)])
    table = table.reset_index(drop=True)
    table.loc[table.index%3==0, 'category'] = ''
    table.loc[table.index%5<2, 'attributes'] = '?'
    table.to_csv(sample.parent/'missing_labels.csv', index=False)
    return sample.parent/'missing_labels.csv'

def settings(variant, table, **training):
    fields = merge_settings(merge_settings(SMALL, VARIANTS[variant]), dict(data=dict(path=str(table))))
    return merge_settings(fields, dict(training=training)) if training else fields

def new_job(fields, out, **more): return dict(settings=fields, out=str(out), **more)

@pytest.fixture
def train_alone(monkeypatch):
    "A function that trains in this process"
    for name in ('save_figures', 'write_report'):
        monkeypatch.setattr(f'fashion_fastai.evaluation.artifacts.{name}', lambda *args: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lambda fields, out: train(make_config('two-head', fields), out, lambda _: None)
    torch.set_num_threads(threads)

def differences(first, second)->dict[str, float]:
    "Largest differences of two runs: weights and buffers, validation loss, history, validation probabilities"
    a,b = [load_file(out/'model.safetensors') for out in (first, second)]
    assert a.keys()==b.keys()
    weights = max((a[name].double()-b[name].double()).abs().max().item() for name in a)
    rows,other_rows = [pd.read_csv(out/'history.csv').drop(columns='seconds') for out in (first, second)]
    assert list(rows)==list(other_rows)
    probs,other_probs = [read_predictions(out/'predictions/valid.parquet').probs for out in (first, second)]
    history = (rows-other_rows).abs()
    loss = float(history['valid/loss'].max(skipna=False))
    return dict(weights=weights, loss=loss, history=float(history.to_numpy().max()),
        probs=max(float(abs(probs[name]-other_probs[name]).max()) for name in probs))

def reporting_first(*outcomes)->list[dict]:
    "Sort the outcomes of a job; exactly one process reports the error, and the others end silently"
    outcomes = sorted(outcomes, key=lambda outcome: outcome['error']=='EndedElsewhere')
    assert [outcome['error']=='EndedElsewhere' for outcome in outcomes]==[False]+[True]*(len(outcomes)-1), outcomes
    return outcomes

@pytest.mark.parametrize('n', [2, pytest.param(3, marks=pytest.mark.slow)])
def test_loss_and_gradient_are_those_of_the_whole_batch(tmp_path, n):
    "In float64, without batch norm, for any mix of missing labels"
    found = launched.start(n, [dict(proof=30)], tmp_path/'jobs')
    print(found)
    assert all(worst['loss']<1e-9 and worst['gradient']<1e-9 for process in found for worst in process), found

def test_two_processes_train_as_one(few, train_alone, tmp_path):
    "With missing labels, and a last validation batch of odd size; a wrong batch size is reported once and ends both"
    wrong = settings('plain', few, batch_size=15)
    jobs = [new_job(settings('plain', few), tmp_path/'two'), new_job(wrong, tmp_path/'none')]
    first,second = launched.start(2, jobs, tmp_path/'jobs')
    assert first[0]['error'] is None and second[0]['error'] is None, (first, second)
    assert first[0]['lines'] and not second[0]['lines'], (first, second)
    train_alone(settings('plain', few), tmp_path/'one')
    found = differences(tmp_path/'one', tmp_path/'two')
    print(found)
    assert all(value<1e-5 for value in found.values()), found
    reporting,silent = reporting_first(first[1], second[1])
    assert (reporting['error'], reporting['code'], silent['code'])==('UsageError', 2, 2)
    assert 'cannot be shared by 2 processes; 14 or 16 can' in reporting['message'] and not (tmp_path/'none').exists()

@pytest.mark.slow
def test_random_draws_and_weights(few, train_alone, tmp_path):
    """Sampled rows, random crops and colours, learned target weights and micro-batches give the same network. MixUp and
    CutMix, batch norm and negatives dropped by rank work on a process's own rows, and give a similar training"""
    jobs = [new_job(settings(variant, few), tmp_path/variant) for variant in ('random', 'mixed')]
    first,second = launched.start(2, jobs, tmp_path/'jobs')
    assert all(outcome['error'] is None for outcome in first+second), (first, second)
    train_alone(settings('random', few), tmp_path/'one')
    found = differences(tmp_path/'one', tmp_path/'random')
    print(found)
    assert found['loss']<1e-3 and found['probs']<1e-3, found
    train_alone(settings('mixed', few), tmp_path/'mixed-one')
    losses,one_losses = [pd.read_csv(tmp_path/out/'history.csv')['valid/loss'] for out in ('mixed', 'mixed-one')]
    assert losses.notna().all() and (losses-one_losses).abs().max()<0.5

@pytest.mark.slow
def test_linear_probe_and_searched_rate(few, train_alone, tmp_path):
    """The main process solves the heads for all; all search the rate together. The body stays frozen: with so few
    images an unfrozen one amplifies rounding errors"""
    fields = settings('plain', few, stages=None, epochs=2, lr='auto', unfreeze='heads_only')
    fields = merge_settings(fields, dict(model=dict(arch='tf_efficientnet_lite0', weights='package')))
    first,second = launched.start(2, [new_job(fields, tmp_path/'two')], tmp_path/'jobs')
    assert (first[0]['error'] is None)==(second[0]['error'] is None), (first, second)
    assert any('linear probe' in line for line in first[0]['lines']), (first, second)
    if first[0]['error']: # no rate is suggested, as in one process
        assert 'lr_find suggests no rate' in first[0]['message']
        with pytest.raises(UsageError, match='lr_find suggests no rate'): train_alone(fields, tmp_path/'one')
        return
    run = train_alone(fields, tmp_path/'one')
    assert run.config.training.lr==pytest.approx(open_run(tmp_path/'two').config.training.lr, rel=1e-2)
    found = differences(tmp_path/'one', tmp_path/'two')
    print(found)
    assert found['loss']<1e-3, found

@pytest.mark.slow
def test_interrupted_and_resumed(few, tmp_path):
    """One of three processes receives a signal, and all stop after the same batch; two processes resume the training,
    which ends like one that was not interrupted, with the same best epoch"""
    best = dict(keep='best', monitor='valid/category/accuracy', ema=0.9)
    fields,out = settings('plain', few, batch_size=12, **best),tmp_path/'run'
    found = launched.start(3, [new_job(fields, tmp_path/'whole'), new_job(fields, out, signal=[1, 8])], tmp_path/'jobs')
    interrupted = [outcomes[1] for outcomes in found]
    assert [outcome['code'] for outcome in interrupted]==[143]*3, found
    assert [outcome['error'] for outcome in interrupted].count('TrainingInterrupted')==1, found
    assert newest_checkpoint(out/'checkpoint')['at']['batch']>0
    found = launched.start(2, [new_job(None, out, resume=True)], tmp_path/'jobs2')
    assert all(outcomes[0]['error'] is None for outcomes in found), found
    found = differences(tmp_path/'whole', out)
    print(found)
    assert all(value<1e-5 for value in found.values()), found

@pytest.mark.slow
def test_a_loss_that_is_not_finite_and_a_damaged_image(few, tmp_path):
    "The images of the whole batch are named, and both processes end, as they do if one finds a damaged image"
    table = pd.read_csv(few, keep_default_na=False)
    table.loc[20, 'file'] = 'damaged.jpg'
    (few.parent/'damaged.jpg').write_bytes((few.parent/table.file[3]).read_bytes()[:300])
    table.to_csv(few.parent/'damaged.csv', index=False)
    damaged = merge_settings(settings('plain', few.parent/'damaged.csv'), dict(data=dict(cache='none')))
    jobs = [new_job(settings('plain', few), tmp_path/'run', nan=6), new_job(damaged, tmp_path/'damaged')]
    first,second = launched.start(2, jobs, tmp_path/'jobs')
    reporting,silent = reporting_first(first[0], second[0])
    assert (reporting['error'], reporting['code'], silent['code'])==('TrainingInterrupted', 1, 1)
    assert 'the loss is nan in epoch 2' in reporting['message'] and 'and 8 more' in reporting['message']
    reporting,silent = reporting_first(first[1], second[1])
    assert 'damaged.jpg: is damaged' in reporting['message'] and silent['code']==2, (first, second)

COMMAND = '-m fashion_fastai.cli train --arch test_resnet --weights none --size 32 --epochs 1'.split()
ACCELERATE = dict(compute_environment='LOCAL_MACHINE', distributed_type='MULTI_GPU', mixed_precision='bf16',
    num_machines=1, num_processes=2, machine_rank=0, rdzv_backend='static', same_network=True, use_cpu=False)

@pytest.mark.slow
@pytest.mark.parametrize('launcher,bs,precision', [('torchrun', 15, 'float32'), ('accelerate', 16, 'bfloat16')])
def test_launchers(few, tmp_path, launcher, bs, precision):
    "Three processes by torchrun; two by accelerate, whose precision is used, and contradicted"
    (tmp_path/'accelerate.yaml').write_text(yaml.safe_dump(ACCELERATE))
    start = dict(torchrun=['torch.distributed.run', '--nproc-per-node=3'],
        accelerate=['accelerate.commands.launch', f'--config_file={tmp_path}/accelerate.yaml'])[launcher]
    options = ['--batch-size', str(bs), '--data', str(few), '--out', str(tmp_path/'run')]
    command = [sys.executable, '-m', *start, *COMMAND, *options]
    env = os.environ|dict(OMP_NUM_THREADS='1')
    def run(*more): return subprocess.run([*command, *more], capture_output=True, text=True, env=env)
    done = run()
    assert done.returncode==0 and (tmp_path/'run/metrics.json').is_file(), done.stderr
    assert done.stderr.count('epoch 1 of 1')==1
    assert open_run(tmp_path/'run').config.training.precision==precision
    again = run()
    assert again.returncode==1 and again.stderr.count('exists already')==1, again.stderr
    assert again.stderr.count('exitcode  : 2')+again.stderr.count('exitcode: 2')>=1, again.stderr
    if launcher=='torchrun': return
    contradicted = run('--set', 'training.precision=float32', '--out', str(tmp_path/'other'))
    message = 'mixed precision bf16, but training.precision is float32'
    assert contradicted.returncode==1 and contradicted.stderr.count(message)==1, contradicted.stderr

@pytest.mark.cuda
def test_two_gpus(few, train_alone, tmp_path):
    if torch.cuda.device_count()<2: pytest.skip('needs two GPUs')
    fields = settings('plain', few, precision='float32')
    first,second = launched.start(2, [new_job(fields, tmp_path/'two')], tmp_path/'jobs')
    assert first[0]['error'] is None and second[0]['error'] is None, (first, second)
    train_alone(fields, tmp_path/'one')
    assert differences(tmp_path/'one', tmp_path/'two')['loss']<1e-3
