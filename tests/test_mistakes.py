"Mistakes of the user: exit code 2, one clear line, nothing written"
import pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.schema import Schema
from fashion_fastai.target import one_of
from conftest import SMALL

@pytest.fixture
def refused(tmp_path, capsys):
    "Check that `train` with `args` is refused in one line that contains all `words`"
    def check(args, *words, command='train'):
        out = tmp_path/'run'
        assert main([command, *map(str, args), *(['--out', str(out)] if '--out' not in args else [])])==2
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith('warning')]
        assert len(lines)==1 and not out.exists(), lines
        for word in words: assert word in lines[0], lines[0]
    return check

@pytest.fixture
def table(sample, tmp_path):
    "Write a changed copy of the sample's table, and return the options that name it"
    def write(change):
        frame = pd.read_csv(sample, keep_default_na=False)
        changed = change(frame)
        (frame if changed is None else changed).to_csv(tmp_path/'table.csv', index=False)
        return ['--data', tmp_path/'table.csv', '--images', sample.parent]
    return write

def test_no_such_table(refused, tmp_path): refused(['--data', tmp_path/'none.csv'], 'none.csv', 'no such file')

def test_an_empty_table(refused, tmp_path):
    (tmp_path/'empty.csv').write_text('')
    refused(['--data', tmp_path/'empty.csv'], 'empty.csv', 'the table is empty')
    (tmp_path/'header.csv').write_text('file,category\n')
    refused(['--data', tmp_path/'header.csv'], 'header.csv', 'the table is empty')

def test_a_missing_column(refused, sample):
    refused(['--data', sample, '--one-of', 'catgory'], "unknown column 'catgory'", 'did you mean category')
    refused(['--data', sample, '--file-col', 'image'], "unknown column 'image'")

def test_a_label_outside_the_vocabulary(refused, sample, tmp_path):
    (tmp_path/'schema.json').write_text(Schema(targets=[one_of('category', ['dress', 'shirt'])]).to_json())
    refused(['--data', sample, '--schema', tmp_path/'schema.json'], 'row ', 'unknown category')

def test_labels_only_outside_train_are_named_and_kept(table, tmp_path, capsys):
    def rename(frame): frame.loc[frame.index[frame.split=='valid'][0], 'category'] = 'cape'
    assert main(['data', 'describe', *map(str, table(rename))])==0
    assert 'warning: category: cape occurs only outside train' in capsys.readouterr().err

def test_all_labels_missing(refused, table):
    refused(table(lambda frame: frame.assign(category='')), "column 'category'", 'are missing')

def test_no_label_in_train(refused, table):
    def erase(frame): frame.loc[frame.split!='valid', 'category'] = ''
    refused(table(erase), 'no row of the train split has a known category')

def test_a_split_without_rows(refused, table): refused(table(lambda frame: frame.assign(split='valid')), 'train')

def test_an_unknown_split(refused, table):
    refused(table(lambda frame: frame.assign(split='holdout')), "row 1: split is 'holdout'", 'train, valid, test')

def test_a_missing_image(refused, table):
    def lose(frame): frame.loc[4, 'file'] = 'images/none.jpg'
    refused(table(lose), 'row 5', 'images/none.jpg', 'no such file', '--on-bad skip')

def test_a_text_named_jpg(refused, table, sample):
    (sample.parent/'images/text.jpg').write_text('this is a text')
    def swap(frame): frame.loc[6, 'file'] = 'images/text.jpg'
    args = table(swap)
    refused([*args, *SMALL], 'row 7', 'images/text.jpg', 'is not an image')

def test_bad_rows_can_be_left_out(table, sample, tmp_path, capsys):
    (sample.parent/'images/text.jpg').write_text('this is a text')
    def spoil(frame): frame.loc[[4,6], 'file'] = ['images/none.jpg', 'images/text.jpg']
    assert main(['train', *map(str, table(spoil)), '--out', str(tmp_path/'run'), '--on-bad', 'skip', *SMALL])==0
    lines = capsys.readouterr().err
    assert 'skipped: row 5: images/none.jpg: no such file' in lines
    assert 'skipped: row 7: images/text.jpg: is not an image' in lines

def test_an_unknown_architecture(refused, sample):
    refused(['--data', sample, '--arch', 'resnet19'], "unknown architecture 'resnet19'", 'resnet18')

def test_the_hub_offline(refused, sample, monkeypatch):
    monkeypatch.setattr('fashion_fastai.models.weights.hub_reachable', lambda: False)
    refused(['--data', sample, '--arch', 'resnet10t', '--weights', 'hub'], 'the hub cannot be reached')
    refused(['--data', sample, '--arch', 'resnet10t'], 'no weights for resnet10t', '--weights none')

def test_an_existing_out(refused, sample, run):
    before = sorted(run.rglob('*'))
    assert main(['train', '--data', str(sample), '--out', str(run), *SMALL])==2
    assert sorted(run.rglob('*'))==before

def test_settings(refused, sample):
    refused(['--data', sample, '--set', 'loss.smooting=0.1'], "unknown key 'smooting'", 'did you mean smoothing?')
    refused(['--data', sample, '--epochs', 'many'], 'training.epochs', "'many'")
    refused(['--data', sample, '--recipe', 'twohead'], "unknown recipe 'twohead'", 'two-head')
    heads = 'model.heads={attribute: {kind: mlp}}'
    refused(['--data', sample, '--set', heads, *SMALL], "unknown target in heads 'attribute'", 'attributes?')

def test_prediction(run, sample, tmp_path, capsys):
    out = tmp_path/'results.csv'
    for args in ([tmp_path/'none', sample], [run, tmp_path/'none.jpg'], [sample.parent, sample]):
        assert main(['predict', *map(str, args), '--out', str(out)])==2 and not out.exists()
    assert main(['predict', str(run), str(sample), '--out', str(tmp_path/'results.xlsx')])==2
    assert 'csv, parquet, jsonl' in capsys.readouterr().err
