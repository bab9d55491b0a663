"From a table to predictions, by the command line"
import json
from pathlib import Path
import numpy as np, pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.evaluation.predictions import read_predictions
from fashion_fastai.run import open_run
from fashion_fastai.training.learner import FashionLearner
from fashion_fastai.training.lr_find import LRSearch
from conftest import SMALL

def test_a_run_holds_what_it_promises(run, capsys):
    files = {path.relative_to(run).as_posix() for path in run.rglob('*') if path.is_file()}
    figures = {file for file in files if file.startswith('figures/')}
    assert files-figures=={'config.yaml', 'schema.json', 'model.safetensors', 'history.csv',
        'predictions/valid.parquet', 'metrics.json', 'calibration.json', 'co_occurrence.json', 'report.html',
        'MODEL_CARD.md', 'ood_detector.safetensors', 'reference_sample.safetensors'}
    names = ('curves', 'confusion-category', 'scores-category', 'scores-attributes', 'correlation-attributes')
    assert {f'figures/{name}.png' for name in names} <= figures
    config = open_run(run).config
    assert config.training.stages and config.image.mean and config.versions['torch']
    assert config.model.origin=='none (random)'
    history = pd.read_csv(run/'history.csv')
    columns = {'epoch', 'train/loss', 'valid/loss', 'train/category/accuracy', 'valid/attributes/macro_f1', 'lr',
        'seconds'}
    assert columns <= set(history.columns)
    metrics = json.loads((run/'metrics.json').read_text())
    assert metrics['split']=='valid' and metrics['targets']['category']['known']==metrics['rows']
    assert 'overall_accuracy' in metrics

def test_the_same_seed_gives_the_same_metrics(sample, run, tmp_path, metrics_of_run):
    assert main(['train', '--data', str(sample), '--out', str(tmp_path/'again'), *SMALL])==0
    assert metrics_of_run(tmp_path/'again')==metrics_of_run(run)

def test_another_seed_gives_other_metrics(sample, run, tmp_path, metrics_of_run):
    assert main(['train', '--data', str(sample), '--out', str(tmp_path/'other'), '--seed', '7', *SMALL])==0
    assert metrics_of_run(tmp_path/'other')!=metrics_of_run(run)

def test_predicting_a_folder_agrees_with_the_runs_own_predictions(sample, run, tmp_path):
    out = tmp_path/'results.csv'
    assert main(['predict', str(run), str(sample.parent/'images'), '--out', str(out), '--no-calibration'])==0
    results = pd.read_csv(out, keep_default_na=False).set_index('file')
    own = read_predictions(run/'predictions/valid.parquet').results()
    results = results.loc[[Path(file).name for file in own.file]]
    for target in ('category', 'attributes'): assert results[target].tolist()==own[target].tolist()

def test_predicting_a_table_keeps_its_order_and_bad_rows(sample, run, tmp_path):
    table = pd.read_csv(sample)[['file']].iloc[::-1].head(5)
    table.loc[len(table)] = 'images/none.jpg'
    table.to_csv(tmp_path/'table.csv', index=False)
    out = tmp_path/'results.jsonl'
    assert main(['predict', str(run), str(tmp_path/'table.csv'), '--images', str(sample.parent), '--out', str(out)])==0
    results = pd.read_json(out, lines=True)
    assert results.file.tolist()==table.file.tolist()
    assert results.error.tolist()==['']*5+['no such file'] and results.category.iloc[-1]==''

def test_evaluate_reproduces_the_metrics(run, tmp_path, metrics_of_run):
    assert main(['evaluate', str(run), '--out', str(tmp_path/'metrics.json')])==0
    again = json.loads((tmp_path/'metrics.json').read_text())
    assert again['targets']==metrics_of_run(run)['targets']

def test_evaluate_another_table(sample, run, tmp_path):
    pd.read_csv(sample).drop(columns='split').head(20).to_csv(tmp_path/'new.csv', index=False)
    table = ['--data', str(tmp_path/'new.csv'), '--images', str(sample.parent)]
    assert main(['evaluate', str(run), '--split', 'test', *table, '--out', str(tmp_path/'m.json')])==0
    metrics = json.loads((tmp_path/'m.json').read_text())
    assert (metrics['split'], metrics['rows'])==('test', 20)

def test_missing_labels_are_masked(sample, tmp_path):
    "Unknown categories and attributes are neither learned nor scored"
    table = pd.read_csv(sample, keep_default_na=False)
    table.loc[table.index%2==0, 'category'] = ''
    table.loc[table.index%3==0, 'attributes'] = '?'
    table.to_csv(sample.parent/'partial.csv', index=False)
    assert main(['train', '--data', str(sample.parent/'partial.csv'), '--out', str(tmp_path/'run'), *SMALL])==0
    metrics = json.loads((tmp_path/'run/metrics.json').read_text())
    valid = table[table.split=='valid']
    assert metrics['targets']['category']['known']==(valid.category!='').sum()
    assert metrics['targets']['attributes']['known']==(valid.attributes!='?').sum()

def test_lr_find_suggests_a_rate_and_draws_a_plot(sample, tmp_path, capsys):
    assert main(['lr-find', '--data', str(sample), '--plot', str(tmp_path/'rates.png'), *SMALL])==0
    assert (tmp_path/'rates.png').stat().st_size>5000
    rates = dict(line.split(': ') for line in capsys.readouterr().out.splitlines())
    assert list(rates)==['plot', 'valley', 'steep', 'minimum']
    assert all(1e-5<float(rates[rule])<1 for rule in ('valley', 'steep', 'minimum'))

def test_lr_find_without_a_suggestion_is_an_error_and_writes_the_plot(sample, tmp_path, capsys, monkeypatch):
    flat = LRSearch(np.geomspace(1e-6, 1, 100), np.ones(100), {})
    monkeypatch.setattr('fashion_fastai.experiments.prepare.search_lr', lambda config: flat)
    assert main(['lr-find', '--data', str(sample), '--plot', str(tmp_path/'rates.png'), *SMALL])==2
    assert 'lr_find suggests no rate' in capsys.readouterr().err and (tmp_path/'rates.png').stat().st_size>5000

def test_lr_auto_finds_a_rate(sample, tmp_path):
    assert main(['train', '--data', str(sample), '--out', str(tmp_path/'run'), '--lr', 'auto', *SMALL])==0
    assert 1e-5<open_run(tmp_path/'run').config.training.lr<1

def test_lr_auto_without_epochs_searches_no_rate(sample, tmp_path, monkeypatch):
    def searched(self): raise AssertionError('a rate was searched')
    monkeypatch.setattr(FashionLearner, 'search_lr', searched)
    options = ['--lr', 'auto', '--weights', 'package', '--size', '32', '--epochs', '0']
    assert main(['train', '--data', str(sample), '--out', str(tmp_path/'run'), *options])==0

@pytest.mark.parametrize('arch', ['convnext_atto', 'vit_tiny_patch16_224', 'mobilenetv3_small_050'])
def test_architectures_of_every_family(sample, tmp_path, arch):
    table = pd.read_csv(sample, keep_default_na=False).groupby('split').head(24)
    table.to_csv(sample.parent/f'{arch}.csv', index=False)
    out = tmp_path/'run'
    settings = ['--arch', arch, '--weights', 'none', '--size', '64', '--epochs', '1', '--batch-size', '8']
    assert main(['train', '--data', str(sample.parent/f'{arch}.csv'), '--out', str(out), *settings])==0
    assert main(['predict', str(out), str(sample.parent/table.file.iloc[0]), '--out', str(tmp_path/'result.csv')])==0
    assert len(pd.read_csv(tmp_path/'result.csv'))==1
