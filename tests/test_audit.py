"A table with planted faults, by the command line"
import pandas as pd, pytest
from fashion_fastai.cli import main
from plant_faults import plant

TABLE = '--one-of', 'category', '--any-of', 'attributes', '--arch', 'resnet10t', '--weights', 'none', '--size', '32'

@pytest.fixture(scope='module')
def planted(sample, tmp_path_factory):
    return plant(sample, tmp_path_factory.mktemp('planted')/'shop')

def test_an_audit_finds_copies_and_fixes_a_copy_of_the_table(planted, run, tmp_path, capsys):
    table,truth = planted
    before,out = table.read_bytes(),tmp_path/'audit'
    assert main(['data', 'audit', str(table), '--out', str(out), '--fix', '--reference-run', str(run), *TABLE])==0
    assert {o.name for o in out.iterdir()}=={'audit.csv', 'audit.html', 'changes.csv', 'cleaned.csv', 'drift.csv'}
    assert table.read_bytes()==before
    found,rows = pd.read_csv(out/'audit.csv', keep_default_na=False),len(pd.read_csv(table))
    copies = truth[truth.kind.isin(['exact duplicate','same path'])]
    assert set(copies.row)<=set(found[found.kind.isin(['leak','duplicate','label_conflict'])].row)
    cleaned,changes = pd.read_csv(out/'cleaned.csv'),pd.read_csv(out/'changes.csv', keep_default_na=False)
    assert len(cleaned)==rows-(changes.after=='the row is gone').sum()<rows
    assert list(cleaned.columns)==list(pd.read_csv(table).columns)
    assert 'leak' in capsys.readouterr().out

def test_a_cleaned_copy_has_no_leak(planted, tmp_path):
    table,_ = planted
    main(['data', 'audit', str(table), '--out', str(tmp_path/'first'), '--fix', *TABLE])
    assert main(['data', 'audit', str(tmp_path/'first/cleaned.csv'), '--images', str(table.parent), '--out', str(tmp_path/'second'), *TABLE])==0
    assert 'leak' not in set(pd.read_csv(tmp_path/'second/audit.csv', keep_default_na=False).kind)

def test_missing_pictures_are_findings(planted, tmp_path):
    frame = pd.read_csv(planted[0]).head(60)
    frame.loc[3, 'file'] = 'images/lost.jpg'
    frame.to_csv(tmp_path/'labels.csv', index=False)
    assert main(['data', 'audit', str(tmp_path/'labels.csv'), '--images', str(planted[0].parent), '--out', str(tmp_path/'audit'), *TABLE])==0
    found = pd.read_csv(tmp_path/'audit/audit.csv', keep_default_na=False)
    assert found[found.kind=='broken'].row.tolist()==[4]

def test_a_new_split_keeps_copies_together(planted, tmp_path):
    table,truth = planted
    assert main(['data', 'split', str(table), '--out', str(tmp_path/'split.csv'), '--test-share', '0.1', *TABLE])==0
    frame = pd.read_csv(tmp_path/'split.csv')
    assert set(frame.split)=={'train','valid','test'}
    copies = truth[truth.kind=='exact duplicate']
    assert (frame.split.to_numpy()[copies.row-1]==frame.split.to_numpy()[copies.other-1]).all()

def test_embed_and_similar(planted, run, tmp_path):
    table,_ = planted
    image = str(table.parent/pd.read_csv(table).file[0])
    assert main(['embed', str(table), '--run', str(run), '--out', str(tmp_path/'e.parquet'), *TABLE])==0
    assert len(pd.read_parquet(tmp_path/'e.parquet').embedding[0])>10
    assert main(['similar', str(run), image, '--table', str(table), '--k', '3', '--out', str(tmp_path/'like.csv'), *TABLE])==0
    assert len(pd.read_csv(tmp_path/'like.csv'))==3
    assert main(['data', 'explore', str(table), '--out', str(tmp_path/'explore'), *TABLE])==0
    assert (tmp_path/'explore/explore.html').is_file()

@pytest.mark.parametrize('args,said', [
    (['data', 'audit', 'TABLE', '--out', 'HERE'], 'exists already'),
    (['data', 'audit', 'TABLE', '--out', 'NEW', '--run', 'none'], 'no such run folder'),
    (['data', 'split', 'TABLE', '--out', 'NEW.txt'], 'must be a .csv or a .parquet file'),
    (['data', 'split', 'TABLE', '--out', 'NEW.csv', '--valid-share', '1.5'], 'must be shares'),
    (['embed', 'TABLE', '--out', 'NEW.csv'], '.parquet'),
    (['similar', 'RUN', 'none.jpg'], 'none.jpg')])
def test_mistakes_are_one_line_and_write_nothing(args, said, planted, run, tmp_path, capsys):
    named = dict(TABLE=str(planted[0]), HERE=str(tmp_path), RUN=str(run))
    assert main([named.get(o, str(tmp_path/o) if o.startswith('NEW') else o) for o in args])==2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
