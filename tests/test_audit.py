"A table with planted faults, by the command line"
import re
import numpy as np, pandas as pd, pytest
from PIL import Image
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
    names = {'audit.csv', 'audit.html', 'changes.csv', 'cleaned.csv', 'drift.csv', 'suggestions.csv'}
    assert {path.name for path in out.iterdir()}-{'joins.csv'}==names
    assert table.read_bytes()==before
    issues,rows = read(out/'audit.csv'),len(pd.read_csv(table))
    copies = truth[truth.kind.isin(['exact duplicate','same path'])]
    assert set(copies.row+1)<=set(issues[issues.kind.isin(['leak','duplicate','label_conflict'])].row)
    cleaned,changes = pd.read_csv(out/'cleaned.csv'),read(out/'changes.csv')
    assert len(cleaned)==rows-(changes.after=='the row is gone').sum()<rows
    assert list(cleaned.columns)==list(pd.read_csv(table).columns)
    assert list(pd.read_csv(out/'drift.csv'))==['what', 'drift', 'effect', 'p', 'detail']
    assert 'leak' in capsys.readouterr().out

def test_a_cleaned_copy_has_no_exact_copy_across_splits(planted, tmp_path):
    table,_ = planted
    audit(table, tmp_path/'first', '--fix')
    assert audit(tmp_path/'first/cleaned.csv', tmp_path/'second', '--images', str(table.parent), '--fix')==0
    assert set(read(tmp_path/'second/changes.csv').kind)==set()

def test_missing_images_are_issues(planted, tmp_path):
    frame = pd.read_csv(planted[0]).head(60)
    frame.loc[3, 'file'] = 'images/lost.jpg'
    frame.to_csv(tmp_path/'labels.csv', index=False)
    assert audit(tmp_path/'labels.csv', tmp_path/'audit', '--images', str(planted[0].parent))==0
    issues = read(tmp_path/'audit/audit.csv')
    assert issues[issues.kind=='broken'].row.tolist()==[5] # as a spreadsheet shows it

def test_a_new_split_keeps_copies_together(planted, tmp_path):
    table,truth = planted
    assert main(['data', 'split', str(table), '--out', str(tmp_path/'split.csv'), '--test-share', '0.1'])==0
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
    assert main(['similar', str(run), image, '--table', str(table), '--k', '3', '--out', str(similar)])==0
    assert len(pd.read_csv(similar))==3
    assert main(['data', 'explore', str(table), '--out', str(tmp_path/'explore')])==0
    assert (tmp_path/'explore/explore.html').is_file()

# ---- what --fix may change, on a table with every kind of fault

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    "A table of 240 images in which every blazer is outer, with wrong labels, copies, names of one thing and a broken file"
    folder,rng = tmp_path_factory.mktemp('faults'),np.random.default_rng(0)
    colors = dict(blazer=(200,40,40), coat=(40,160,60), shirt=(40,60,200), skirt=(220,200,60))
    rows = []
    for i in range(240):
        category = list(colors)[i%4]
        pixels = np.array(colors[category])+rng.normal(0, 25, (40,40,3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder/f'{i}.png')
        layer = dict(blazer='outer', coat='outer', shirt='top', skirt='bottom')[category]
        rows.append(dict(file=f'{i}.png', category=category, layer=layer, usage=['sporty','office/formal'][i//4%2],
            season=rng.choice(['summer','winter','spring']), split='valid' if i%5==0 else 'train'))
    frame = pd.DataFrame(rows)
    frame.loc[[1,2], 'usage'] = 'sproty'
    frame.loc[[9,12], 'usage'] = 'formal/office'
    frame.loc[[21,42,63,81], 'category'] = ['shirt','skirt','blazer','skirt'] # wrong
    (folder/'33.png').write_bytes(b'torn')
    copies = frame.loc[[0,5,10]].assign(split='train') # exact copies of rows in validation
    copies['file'] = [f'copy{i}.png' for i in (0,5,10)]
    for i in (0,5,10): (folder/f'copy{i}.png').write_bytes((folder/f'{i}.png').read_bytes())
    copies.loc[10, 'category'] = 'skirt' # and contradicts it
    frame = pd.concat([frame, copies], ignore_index=True)
    frame.to_csv(folder/'labels.csv', index=False)
    return folder/'labels.csv'

COLUMNS = ['--one-of', 'category,layer,usage,season', '--arch', 'resnet10t', '--weights', 'none', '--size', '32']
CERTAIN = {35: 'broken', 242: 'leak', 243: 'leak'} # rows as a spreadsheet shows them

def audit_shop(shop, out, *options): return main(['data', 'audit', str(shop), '--out', str(out), *COLUMNS, *options])

@pytest.fixture(scope='module')
def audited(shop, tmp_path_factory):
    "The folder of an audit with --fix"
    out = tmp_path_factory.mktemp('audited')/'audit'
    assert audit_shop(shop, out, '--fix')==0
    return out

def test_fix_changes_only_what_cannot_be_wrong(audited):
    changes = read(audited/'changes.csv')
    assert dict(zip(changes.row, changes.kind))==CERTAIN
    assert set(changes.after)=={'the row is gone'}

def test_no_cell_changes_without_a_person(shop, audited):
    before,after = [read(path).set_index('file') for path in (shop, audited/'cleaned.csv')]
    assert after.equals(before.loc[after.index])

def test_relabels_are_suggestions_with_a_confidence(audited):
    suggestions = read(audited/'suggestions.csv')
    assert list(suggestions)==['file','row','target','current','suggested','confidence','kind','breaks_rule']
    assert suggestions.confidence.between(0, 1).all()
    breaks = suggestions.breaks_rule!=''
    assert breaks.is_monotonic_increasing # last
    assert suggestions.confidence[~breaks].is_monotonic_decreasing
    assert not suggestions.duplicated(['row','target']).any()
    assert {23,44,65,83}<=set(suggestions[(suggestions.target=='category') & (suggestions.current!='')].row)

def test_a_suggestion_that_breaks_a_rule_says_so(shop, audited):
    suggestions,table = read(audited/'suggestions.csv'),read(shop)
    some = suggestions[(suggestions.target=='layer')].assign(category=lambda rows: table.category[rows.row-2].to_numpy())
    wrong = some[(some.category=='blazer') & (some.suggested!='outer')]
    assert (wrong.breaks_rule!='').all()

def test_a_target_that_images_do_not_show_is_one_line(shop, audited, tmp_path, capsys):
    assert 'season' not in set(read(audited/'suggestions.csv').target)
    assert 'Season cannot be judged from these images (cross-validated accuracy 0.' in (audited/'audit.html').read_text()
    assert audit_shop(shop, tmp_path/'only', '--only', 'category')==0
    assert set(read(tmp_path/'only/audit.csv').target)<={'category', ''}
    assert 'season cannot be judged' not in capsys.readouterr().err
    assert audit_shop(shop, tmp_path/'rest', '--ignore', 'season,usage')==0
    assert not {'season', 'usage'} & set(read(tmp_path/'rest/audit.csv').target)

def test_how_much_is_suspect_follows_from_the_table(shop, audited):
    suggestions = read(audited/'suggestions.csv')
    wrong = suggestions[(suggestions.kind=='wrong_label') & (suggestions.target=='category')]
    assert 4<=len(wrong)<=15, len(wrong) # 4 wrong labels and one on a copy, of 243

def test_names_of_one_thing_wait_for_a_person(shop, audited, tmp_path):
    joins = read(audited/'joins.csv')
    pairs = dict(zip(joins.label, joins.canonical))
    assert pairs['sproty']=='sporty' and pairs['formal/office']=='office/formal'
    assert set(joins['join'])=={''}
    assert joins[joins.label=='sproty'][['rows','canonical_rows']].iloc[0].tolist()==[2,118]
    joins.loc[joins.label=='sproty', 'join'] = 'yes'
    joins.to_csv(tmp_path/'joins.csv', index=False)
    assert audit_shop(shop, tmp_path/'second', '--fix', '--joins', str(tmp_path/'joins.csv'))==0
    cleaned,changes = read(tmp_path/'second/cleaned.csv'),read(tmp_path/'second/changes.csv')
    assert set(cleaned.usage)=={'sporty','office/formal','formal/office'}
    assert changes[changes.kind=='spelling'].row.tolist()==[3,4]
    second = read(tmp_path/'second/joins.csv')
    assert second[second.label=='sproty']['join'].tolist() in (['yes'], [])

def test_the_page_says_what_was_done_and_what_to_do(audited):
    page = (audited/'audit.html').read_text()
    assert 'has dropped 3 rows' in page and '--fix</code> would' not in page
    kinds = re.findall('<section id="([^"]*)"', page)
    assert kinds[:3]==['leak','broken','label-conflict']

@pytest.mark.parametrize('args,message', [
    (['data', 'audit', 'TABLE', '--out', 'HERE'], 'exists already'),
    (['data', 'audit', 'TABLE', '--out', 'NEW', '--run', 'none'], 'no such run folder'),
    (['data', 'audit', 'TABLE', '--out', 'NEW', '--only', 'categroy'], 'category'),
    (['data', 'audit', 'TABLE', '--out', 'NEW', '--joins', 'none.csv'], 'none.csv'),
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
