"The linear probe: a usable network before the first epoch, from embeddings that are computed once"
import json
import pandas as pd, pytest
from fastai.data.transforms import Normalize
from fashion_fastai.cli import main
from fashion_fastai.config import make_config
from fashion_fastai.experiments.prepare import prepare
from fashion_fastai.run import open_run

@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache/embeddings'

def test_a_run_without_an_epoch_is_usable(sample, tmp_path, cache, capsys):
    out = tmp_path/'run'
    assert main(['train', '--data', str(sample), '--size', '64', '--epochs', '0', '--out', str(out)])==0
    assert 'the linear probe, linear heads on the frozen body, in' in capsys.readouterr().err
    scores = json.loads((out/'metrics.json').read_text())['targets']['category']
    majority = pd.read_csv(sample).query('split=="valid"').category.value_counts(normalize=True).max()
    assert scores['accuracy']>2*majority
    assert not (out/'history.csv').exists() and open_run(out).config.training.stages==[]
    assert main(['evaluate', str(out)])==0
    assert main(['predict', str(out), str(sample.parent/'images'), '--out', str(tmp_path/'answers.csv')])==0

def test_embeddings_are_computed_once(sample, tmp_path, cache):
    for name in ('first', 'second'): assert main(['train', '--data', str(sample), '--size', '64', '--epochs', '0', '--out', str(tmp_path/name)])==0
    assert len(list(cache.iterdir()))==1
    assert (tmp_path/'first/model.safetensors').read_bytes()==(tmp_path/'second/model.safetensors').read_bytes()
    assert main(['train', '--data', str(sample), '--size', '48', '--epochs', '0', '--out', str(tmp_path/'smaller')])==0
    assert len(list(cache.iterdir()))==2

def test_a_training_tells_stage_zero_first(sample, tmp_path, cache, capsys):
    args = ['train', '--data', str(sample), '--size', '48', '--epochs', '1']
    assert main([*args, '--out', str(tmp_path/'run')])==0
    said = capsys.readouterr().err
    assert 0<said.index('the linear probe')<said.index('epoch 1 of 1')
    assert main([*args, '--out', str(tmp_path/'quiet'), '--set', 'training.linear_probe=false'])==0
    assert 'the linear probe' not in capsys.readouterr().err

@pytest.mark.parametrize('args', [['--set', 'model.heads={attributes: {kind: mlp, sizes: [16]}}'], ['--set', 'model.neck={kind: mlp, sizes: [16]}'], ['--weights', 'none']])
def test_without_an_epoch_only_what_can_be_solved(sample, tmp_path, cache, capsys, args):
    assert main(['train', '--data', str(sample), '--size', '48', '--epochs', '0', '--out', str(tmp_path/'run'), *args])==2
    assert '--epochs 0' in capsys.readouterr().err and not (tmp_path/'run').exists()

def test_pictures_from_disk_or_from_their_files_give_the_same(sample, tmp_path, cache):
    runs = [tmp_path/o for o in ('ram', 'disk', 'none')]
    for run in runs: assert main(['train', '--data', str(sample), '--size', '48', '--epochs', '1', '--cache', run.name, '--out', str(run)])==0
    scores = [json.loads((o/'metrics.json').read_text())['targets'] for o in runs]
    assert scores[0]==scores[1]==scores[2]

def test_own_mean_and_std_are_obeyed(sample, tmp_path, cache):
    args = ['train', '--data', str(sample), '--size', '48', '--epochs', '0', '--set', 'image.mean=[0.4, 0.4, 0.4]']
    assert main([*args, '--out', str(tmp_path/'half')])==2
    assert main([*args, '--set', 'image.std=[0.2, 0.2, 0.2]', '--out', str(tmp_path/'run')])==0
    assert open_run(tmp_path/'run').config.image.mean==(0.4, 0.4, 0.4)

def test_own_mean_and_std_reach_the_network_once(sample, cache):
    image,model = dict(size=48, mean=(0.4,)*3, std=(0.2,)*3),dict(arch='resnet10t', weights='none')
    learn,config = prepare(make_config('two-head', dict(data=dict(path=str(sample)), image=image, model=model)))
    for dl in learn.dls:
        (norm,) = [o for o in dl.after_batch.fs if isinstance(o, Normalize)]
        assert norm.mean.flatten().tolist()==pytest.approx([0.4]*3) and norm.std.flatten().tolist()==pytest.approx([0.2]*3)
    assert config.image.mean==(0.4,)*3

def test_solved_heads_need_no_epoch_of_their_own(sample, tmp_path, cache):
    args = ['train', '--data', str(sample), '--size', '48', '--epochs', '2']
    for name,more in (('solved', []), ('random', ['--set', 'training.linear_probe=false'])): assert main([*args, '--out', str(tmp_path/name), *more])==0
    stages = {o: [(s.unfrozen, s.epochs) for s in open_run(tmp_path/o).config.training.stages] for o in ('solved', 'random')}
    assert stages==dict(solved=[(3, 2)], random=[(0, 1), (3, 1)])

@pytest.mark.slow
def test_a_compiled_network_trains_and_predicts(sample, tmp_path, cache):
    args = ['--size', '32', '--arch', 'fashion_cnn3', '--weights', 'none', '--epochs', '1', '--set', 'training.compile=true']
    assert main(['train', '--data', str(sample), *args, '--out', str(tmp_path/'run')])==0
    assert main(['evaluate', str(tmp_path/'run')])==0

def test_compiling_needs_a_compiler(sample, tmp_path, cache, monkeypatch, capsys):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert main(['train', '--data', str(sample), '--size', '48', '--set', 'training.compile=true', '--out', str(tmp_path/'run')])==2
    assert 'g++' in capsys.readouterr().err
