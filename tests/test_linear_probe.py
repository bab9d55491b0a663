"The linear probe: a usable network before the first epoch, from embeddings that are computed once"
import contextlib, io, json
import pandas as pd, pytest, timm
from fastai.data.transforms import Normalize
from safetensors.torch import save_file
from fashion_fastai.cli import main
from fashion_fastai.config import make_config
from fashion_fastai.experiments.prepare import prepare
from fashion_fastai.run import open_run

def leave_out_reports(monkeypatch):
    "Figures and report take longer than these trainings"
    for name in ('save_figures', 'write_report'):
        monkeypatch.setattr(f'fashion_fastai.evaluation.artifacts.{name}', lambda *args: None)

@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    "Options of a small body that counts as pretrained: its weights come from a file"
    file = tmp_path_factory.mktemp('weights')/'resnet10t.safetensors'
    save_file(timm.create_model('resnet10t').state_dict(), file)
    return ['--arch', 'resnet10t', '--weights', str(file), '--size', '32']

@pytest.fixture
def cache(tmp_path, monkeypatch):
    "The folder of cached embeddings, empty at first"
    leave_out_reports(monkeypatch)
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache/embeddings'

@pytest.fixture(scope='module')
def two_epochs(sample, pretrained, tmp_path_factory):
    "Run and log of a training of two epochs, with the probe and without"
    folder,trained = tmp_path_factory.mktemp('two-epochs'),{}
    options = dict(probe=[], no_probe=['--set', 'training.linear_probe=false'])
    with pytest.MonkeyPatch.context() as monkeypatch:
        leave_out_reports(monkeypatch)
        monkeypatch.setenv('FASHION_CACHE', str(folder/'cache'))
        for name,more in options.items():
            args = ['train', '--data', str(sample), '--epochs', '2', '--out', str(folder/name), *pretrained, *more]
            with contextlib.redirect_stderr(io.StringIO()) as log: assert main(args)==0
            trained[name] = open_run(folder/name),log.getvalue()
    return trained

def test_a_run_without_an_epoch_is_usable(sample, probe_run, tmp_path):
    run,log = probe_run
    assert 'Quick baseline (linear probe, no fine-tuning) in' in log
    scores = json.loads((run/'metrics.json').read_text())['targets']['category']
    majority = pd.read_csv(sample).query('split=="valid"').category.value_counts(normalize=True).max()
    assert scores['accuracy']>2*majority
    assert not (run/'history.csv').exists() and open_run(run).config.training.stages==[]
    assert main(['evaluate', str(run)])==0
    assert main(['predict', str(run), str(sample.parent/'images'), '--out', str(tmp_path/'results.csv')])==0

def test_embeddings_are_computed_once(sample, pretrained, tmp_path, cache):
    args = ['train', '--data', str(sample), '--epochs', '0', *pretrained]
    for name in ('first', 'second'): assert main([*args, '--out', str(tmp_path/name)])==0
    assert len(list(cache.iterdir()))==1
    assert (tmp_path/'first/model.safetensors').read_bytes()==(tmp_path/'second/model.safetensors').read_bytes()
    assert main([*args, '--size', '48', '--out', str(tmp_path/'larger')])==0
    assert len(list(cache.iterdir()))==2

def test_the_probe_is_printed_before_the_first_epoch(two_epochs):
    log = two_epochs['probe'][1]
    assert 0<log.index('Quick baseline (linear probe')<log.index('epoch 1 of 2')
    assert 'linear probe' not in two_epochs['no_probe'][1]

def test_solved_heads_need_no_epoch_of_their_own(two_epochs):
    stages = {name: [(stage.unfrozen, stage.epochs) for stage in run.config.training.stages]
        for name,(run,_) in two_epochs.items()}
    assert stages==dict(probe=[(3, 2)], no_probe=[(0, 1), (3, 1)])

@pytest.mark.parametrize('args', [
    ['--set', 'model.heads={attributes: {kind: mlp, sizes: [16]}}'],
    ['--set', 'model.neck={kind: mlp, sizes: [16]}'],
    ['--weights', 'none']])
def test_no_epochs_need_heads_that_can_be_solved(sample, pretrained, tmp_path, cache, capsys, args):
    options = ['--epochs', '0', '--out', str(tmp_path/'run'), *pretrained, *args]
    assert main(['train', '--data', str(sample), *options])==2
    assert '--epochs 0' in capsys.readouterr().err and not (tmp_path/'run').exists()

def test_images_from_memory_disk_or_files_give_the_same(sample, pretrained, tmp_path, cache):
    places = 'ram', 'disk', 'none'
    for place in places:
        args = ['--epochs', '1', '--cache', place, '--out', str(tmp_path/place), *pretrained]
        assert main(['train', '--data', str(sample), *args])==0
    metrics = [json.loads((tmp_path/place/'metrics.json').read_text())['targets'] for place in places]
    assert metrics[0]==metrics[1]==metrics[2]

def test_own_mean_needs_own_std(sample, pretrained, tmp_path, cache):
    args = ['train', '--data', str(sample), '--epochs', '0', *pretrained, '--set', 'image.mean=[0.4, 0.4, 0.4]']
    assert main([*args, '--out', str(tmp_path/'half')])==2
    assert main([*args, '--set', 'image.std=[0.2, 0.2, 0.2]', '--out', str(tmp_path/'run')])==0
    assert open_run(tmp_path/'run').config.image.mean==(0.4, 0.4, 0.4)

def test_own_mean_and_std_are_applied_once(sample, cache):
    image,model = dict(size=48, mean=(0.4,)*3, std=(0.2,)*3),dict(arch='resnet10t', weights='none')
    learn,config = prepare(make_config('two-head', dict(data=dict(path=str(sample)), image=image, model=model)))
    for dl in learn.dls:
        (normalize,) = [transform for transform in dl.after_batch.fs if isinstance(transform, Normalize)]
        assert normalize.mean.flatten().tolist()==pytest.approx([0.4]*3)
        assert normalize.std.flatten().tolist()==pytest.approx([0.2]*3)
    assert config.image.mean==(0.4,)*3

@pytest.mark.slow
def test_a_compiled_network_trains_and_predicts(sample, tmp_path, cache):
    args = ['--size=32', '--arch=fashion_cnn3', '--weights=none', '--epochs=1', '--set', 'training.compile=true']
    assert main(['train', '--data', str(sample), *args, '--out', str(tmp_path/'run')])==0
    assert main(['evaluate', str(tmp_path/'run')])==0

def test_compiling_needs_a_compiler(sample, pretrained, tmp_path, cache, monkeypatch, capsys):
    monkeypatch.setenv('PATH', str(tmp_path))
    args = [*pretrained, '--set', 'training.compile=true', '--out', str(tmp_path/'run')]
    assert main(['train', '--data', str(sample), *args])==2
    assert 'g++' in capsys.readouterr().err
