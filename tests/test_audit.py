"A table with planted faults, by the command line"
import pandas as pd, pytest
from fashion_fastai.cli import main
from helpers.plant_faults import plant

SETTINGS = '--one-of category --any-of attributes --arch resnet10t --weights none --size 32'.split()

@pytest.fixture(scope='module')
def planted(sample, tmp_path_factory):
    return plant(sample, tmp_path_factory.mktemp('planted')/'shop')

def audit(table, out, *options):
    "Audit a table; return the exit code"
    return main(['data', 'audit', str(table), '--out', str(out), *options, *SETTINGS])

def read(path): return pd.read_csv(path, keep_default_na=False)

def test_an_audit_finds_copies_and_fixes_a_copy_of_the_table(planted, run, tmp_path, capsys):
    table,truth = planted
    before,out = table.read_bytes(),tmp_path/'audit'
    assert audit(table, out, '--fix', '--reference-run', str(run))==0
    assert {path.name for path in out.iterdir()}=={'audit.csv', 'audit.html', 'changes.csv', 'cleaned.csv', 'drift.csv'}
    assert table.read_bytes()==before
    issues,rows = read(out/'audit.csv'),len(pd.read_csv(table))
    copies = truth[truth.kind.isin(['exact duplicate','same path'])]
    assert set(copies.row)<=set(issues[issues.kind.isin(['leak','duplicate','label_conflict'])].row)
    cleaned,changes = pd.read_csv(out/'cleaned.csv'),read(out/'changes.csv')
    assert len(cleaned)==rows-(changes.after=='the row is gone').sum()<rows
    assert list(cleaned.columns)==list(pd.read_csv(table).columns)
    assert list(pd.read_csv(out/'drift.csv'))==['what', 'drift', 'effect', 'p', 'detail']
    assert 'leak' in capsys.readouterr().out

def test_a_cleaned_copy_has_no_leak(planted, tmp_path):
    table,_ = planted
    audit(table, tmp_path/'first', '--fix')
    assert audit(tmp_path/'first/cleaned.csv', tmp_path/'second', '--images', str(table.parent))==0
    assert 'leak' not in set(read(tmp_path/'second/audit.csv').kind)

def test_missing_images_are_issues(planted, tmp_path):
    frame = pd.read_csv(planted[0]).head(60)
    frame.loc[3, 'file'] = 'images/lost.jpg'
    frame.to_csv(tmp_path/'labels.csv', index=False)
    assert audit(tmp_path/'labels.csv', tmp_path/'audit', '--images', str(planted[0].parent))==0
    issues = read(tmp_path/'audit/audit.csv')
    assert issues[issues.kind=='broken'].row.tolist()==[4]

def test_a_new_split_keeps_copies_together(planted, tmp_path):
    table,truth = planted
    assert main(['data', 'split', str(table), '--out', str(tmp_path/'split.csv'), '--test-share', '0.1', *SETTINGS])==0
    split = pd.read_csv(tmp_path/'split.csv').split.to_numpy()
    assert set(split)=={'train','valid','test'}
    copies = truth[truth.kind=='exact duplicate']
    assert (split[copies.row-1]==split[copies.other-1]).all()

def test_embed_similar_and_explore(planted, run, tmp_path):
    table,_ = planted
    image = str(table.parent/pd.read_csv(table).file[0])
    embeddings,similar = tmp_path/'e.parquet',tmp_path/'similar.csv'
    assert main(['embed', str(table), '--run', str(run), '--out', str(embeddings), *SETTINGS])==0
    assert len(pd.read_parquet(embeddings).embedding[0])>10
    assert main(['similar', str(run), image, '--table', str(table), '--k', '3', '--out', str(similar), *SETTINGS])==0
    assert len(pd.read_csv(similar))==3
    assert main(['data', 'explore', str(table), '--out', str(tmp_path/'explore'), *SETTINGS])==0
    assert (tmp_path/'explore/explore.html').is_file()

@pytest.mark.parametrize('args,message', [
    (['data', 'audit', 'TABLE', '--out', 'HERE'], 'exists already'),
    (['data', 'audit', 'TABLE', '--out', 'NEW', '--run', 'none'], 'no such run folder'),
    (['data', 'split', 'TABLE', '--out', 'NEW.txt'], 'must be a .csv or a .parquet file'),
    (['data', 'split', 'TABLE', '--out', 'NEW.csv', '--valid-share', '1.5'], 'must be shares'),
    (['embed', 'TABLE', '--out', 'NEW.csv'], '.parquet'),
    (['similar', 'RUN', 'none.jpg'], 'none.jpg')])
def test_mistakes_are_one_line_and_write_nothing(args, message, planted, run, tmp_path, capsys):
    paths = dict(TABLE=str(planted[0]), HERE=str(tmp_path), RUN=str(run))
    args = [paths.get(arg, str(tmp_path/arg) if arg.startswith('NEW') else arg) for arg in args]
    assert main(args)==2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
