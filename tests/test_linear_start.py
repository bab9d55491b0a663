"The linear start: a usable network before the first epoch, from embeddings that are computed once"
import json
import pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.run import open_run

@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache/embeddings'

def test_a_run_without_an_epoch_is_usable(sample, tmp_path, cache, capsys):
    out = tmp_path/'run'
    assert main(['train', '--data', str(sample), '--size', '64', '--epochs', '0', '--out', str(out)])==0
    assert 'linear start in' in capsys.readouterr().err
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

def test_heads_with_hidden_layers_start_at_random(sample, tmp_path, cache, capsys):
    args = ['--set', 'model.heads={attributes: {kind: mlp, sizes: [16]}}']
    assert main(['train', '--data', str(sample), '--size', '64', '--epochs', '0', '--out', str(tmp_path/'run'), *args])==0
    assert json.loads((tmp_path/'run/metrics.json').read_text())['targets']['category']['accuracy']>0.2
