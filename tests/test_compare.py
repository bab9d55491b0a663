"Comparisons of named settings: their columns, tables and figures, and the tables of the published reports"
import json
import numpy as np, pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.config import packaged_names
from fashion_fastai.evaluation.evaluate import evaluate
from fashion_fastai.experiments.comparison import check_names, comparison_configs, read_comparison
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema, taxonomy_of
from fashion_fastai.target import any_of, one_of

FAST = ['--arch', 'test_resnet', '--weights', 'none', '--size', '32', '--batch-size', '32', '--epochs', '2']
BOTH = Schema(targets=[one_of('main', ['top']), one_of('sub', ['shirt', 'coat']), any_of('labels', ['red', 'blue'])],
    taxonomy=taxonomy_of(['main', 'sub'], dict(shirt='top', coat='top')))
RUNS = {'system-a-widths': [f'{kind}-{width}' for kind in ('multihead', 'multilabel') for width in (256, 512, 1024, 2048)],
    'system-a-training': ['whole-network', 'last-layers-only', 'without-augmentation'],
    'system-c': ['hierarchy', 'direct'], 'system-d': ['cnn', 'resnet101', 'vit-b16', 'inception'], 'system-e': ['fashionnet', 'clean-labels']}

@pytest.mark.parametrize('name', packaged_names('comparison'))
def test_packaged_comparisons_are_valid(name):
    comparison = read_comparison(name)
    runs = list(comparison_configs(comparison))
    check_names(comparison, [BOTH])
    assert runs==RUNS.get(name, runs) and (name in RUNS)==name.startswith('system-')

YAML = '''title: Does smoothing help?
columns:
  valid: valid/one_of/accuracy
  train: train/category/accuracy
  test: test/category/accuracy
  best: best/category/accuracy
  F1: valid/any_of/micro_f1
  epochs: epochs
  parameters: parameters
figures:
- {name: loss, title: Loss, panels: [loss, category/loss, {score: valid/overall_accuracy, runs: ['s*']}]}
per_class: [category]
runs:
- {name: none, settings: {loss: {smoothing: 0}}}
- {name: some, settings: {loss: {smoothing: 0.1}}}
'''

@pytest.fixture(scope='module')
def folder(sample, tmp_path_factory):
    "A folder with a table that has three splits, and a finished comparison"
    folder = tmp_path_factory.mktemp('compare')
    frame = pd.read_csv(sample, keep_default_na=False)
    frame['split'] = np.resize(['train', 'train', 'train', 'valid', 'test'], len(frame))
    frame.to_csv(folder/'labels.csv', index=False)
    (folder/'smoothing.yaml').write_text(YAML)
    assert compare(folder, 'smoothing.yaml', 'out', sample)==0
    return folder

def compare(folder, file, out, sample, *more, table='labels.csv'):
    options = ['--data', str(folder/table), '--images', str(sample.parent), '--out', str(folder/out)]
    return main(['compare', str(folder/file), *options, *FAST, *more])

def test_columns_of_any_split_are_those_of_evaluate(folder):
    table = pd.read_csv(folder/'out/comparison.csv', index_col='run', float_precision='round_trip') # pandas 2 else loses the last digit
    assert list(table.columns)==['valid', 'train', 'test', 'best', 'F1', 'epochs', 'parameters']
    for name in ('none', 'some'):
        run,row = open_run(folder/'out'/name),table.loc[name]
        for split in ('valid', 'train', 'test'):
            expected = evaluate(run, split).predictions.metrics(split)['targets']['category']['accuracy']
            assert np.isclose(row[split], expected, atol=1e-6)
        metrics,history = json.loads(run.metrics.read_text()),pd.read_csv(run.history)
        assert row['F1']==metrics['targets']['attributes']['micro_f1']
        assert row.best==history['valid/category/accuracy'].max()

def test_whole_numbers_are_printed_as_such(folder, sample, capsys):
    lines = (folder/'out/comparison.csv').read_text().splitlines()
    assert all(line.split(',')[-2]=='2' and line.split(',')[-1].isdigit() for line in lines[1:])
    page = (folder/'out/comparison.md').read_text()
    n = int(lines[1].split(',')[-1])
    assert f'| 2 | {n:,} |' in page
    capsys.readouterr()
    assert compare(folder, 'smoothing.yaml', 'out', sample)==0
    assert f'{n:,}' in capsys.readouterr().out

def test_the_page_has_table_figures_and_classes(folder):
    page = (folder/'out/comparison.md').read_text()
    table = pd.read_csv(folder/'out/comparison-classes-category.csv', index_col='category')
    assert page.startswith('# Does smoothing help?') and '![Loss](comparison-loss.png)' in page
    assert (folder/'out/comparison-loss.png').is_file()
    assert list(table.columns)==['images', 'none F1', 'none AUROC', 'some F1', 'some AUROC']
    assert '## category: scores of each class' in page and 'none: best F1 ' in page
    for link in ('none/figures/confusion-category.png', 'some/figures/scores-category.png'):
        assert f']({link})' in page and (folder/'out'/link).is_file()

def test_training_is_the_same_whatever_is_shown(folder, sample):
    "Columns and figures shape nothing"
    plain = YAML[:YAML.index('columns')]+'runs:\n'+YAML[YAML.index('- {name: some'):]
    (folder/'plain.yaml').write_text(plain)
    assert compare(folder, 'plain.yaml', 'plain', sample)==0
    histories = [pd.read_csv(folder/out/'some/history.csv').drop(columns='seconds') for out in ('out', 'plain')]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    header = (folder/'plain/comparison.csv').read_text().splitlines()[0]
    assert header.startswith('run,overall_accuracy,') and header.endswith(',epochs,seconds')
    assert (folder/'plain/comparison-scores.png').is_file()

def test_a_table_without_a_test_split_leaves_its_cells_empty(folder, sample, capsys):
    frame = pd.read_csv(folder/'labels.csv', keep_default_na=False).query('split!="test"')
    frame.to_csv(folder/'two-splits.csv', index=False)
    text = YAML[:YAML.index('- {name: none')]+YAML[YAML.index('- {name: some'):]
    (folder/'one.yaml').write_text(text)
    assert compare(folder, 'one.yaml', 'two-splits', sample, table='two-splits.csv')==0
    note = 'some: the table has no test split, so these cells are empty.'
    assert note in capsys.readouterr().out and note in (folder/'two-splits/comparison.md').read_text()
    row = pd.read_csv(folder/'two-splits/comparison.csv').iloc[0]
    assert np.isnan(row.test) and 0<=row.train<=1

@pytest.mark.parametrize('old,new,message', [
    ('train/category/accuracy', 'train/category/acuracy', 'did you mean train/category/accuracy'),
    ('test/category', 'tset/category', 'did you mean test/category/accuracy'),
    ('[loss, ', '[los, ', "in the figure loss 'los'; did you mean"),
    ("['s*']", "['t*']", "run in the figure loss 't*'"),
    ('per_class: [category]', 'per_class: [categry]', 'did you mean category')])
def test_a_misspelled_name_is_refused_before_anything_is_trained(folder, sample, capsys, old, new, message):
    assert YAML.count(old)==1
    (folder/'wrong.yaml').write_text(YAML.replace(old, new))
    assert compare(folder, 'wrong.yaml', 'wrong', sample)==2
    assert message in capsys.readouterr().err and not (folder/'wrong').exists()

PARAMETERS = {'system-a-widths': ('multihead-512', 24_570_458), 'system-e': ('fashionnet', 29_826_138)}

@pytest.mark.slow
@pytest.mark.parametrize('name,format,data', [('system-a-widths', 'deepfashion-six', 'six'),
    ('system-a-training', 'deepfashion-six', 'six'), ('system-c', 'folders', 'tree'),
    ('system-d', 'list-column', 'finder'), ('system-e', 'deepfashion-six', 'six')])
def test_each_report_has_its_table_and_figures_by_one_command(request, tmp_path, name, format, data):
    options = ['--data', str(request.getfixturevalue(data)), '--format', format, '--out', str(tmp_path), '--epochs', '2',
        '--weights', 'none', '--size', '80', '--set', 'image.load_size=88', '--batch-size', '8'] # 75 px are the least for Inception
    assert main(['compare', name, *options])==0
    comparison,table = read_comparison(name),pd.read_csv(tmp_path/'comparison.csv', index_col='run')
    assert list(table.index)==RUNS[name] and list(table.columns)==list(comparison.columns)
    has_no_labels = [header for header,column in comparison.columns.items() if column.startswith('test/')]
    assert table[has_no_labels].isna().all(axis=None) and table.drop(columns=has_no_labels).notna().all(axis=None)
    assert ('the test split has no labels' in (tmp_path/'comparison.md').read_text())==bool(has_no_labels)
    assert {f'comparison-{figure.name}.png' for figure in comparison.figures}=={path.name for path in tmp_path.glob('*.png')}
    if name in PARAMETERS:
        run,n = PARAMETERS[name]
        assert table.parameters[run]==n
    if name=='system-c':
        classes = pd.read_csv(tmp_path/'comparison-classes-sub.csv', index_col='sub')
        assert set(classes.index)=={'shirt', 'skirt', 'sweater', 'trousers'} and len(classes.columns)==5
        assert all((tmp_path/run/'figures/confusion-sub.png').is_file() for run in RUNS[name])
    for weights in tmp_path.rglob('model.safetensors'): weights.unlink() # up to half a gigabyte each
