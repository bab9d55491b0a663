"Questions that do not apply: proposed by a table, masked in training and scores, and answered n/a through every exit"
import json
import numpy as np, pandas as pd, pyarrow as pa, pytest
from fashion_fastai.cli import main
from fashion_fastai.data.catalogue import make_catalogue, read_catalogue
from fashion_fastai.evaluation.predictions import Predictions
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema
from fashion_fastai.serving.app.view import results_html
from fashion_fastai.serving.predictor import Predictor
from fashion_fastai.serving.ray_cluster import Worker, pack_predictor
from fashion_fastai.serving.submissions import submission_lines
from fashion_fastai.target import any_of, one_of
from helpers.questions import APPLIES, BELOW, draw_questions, questions_table

KINDS = dict(one_of=['category', 'neckline', 'sleeve'], any_of=['cut'])
FLAGS = ['--one-of', 'category,neckline,sleeve', '--any-of', 'cut']

@pytest.fixture(scope='module')
def table(sample, tmp_path_factory): return draw_questions(sample, tmp_path_factory.mktemp('asked'))

@pytest.fixture(scope='module')
def described(table, sample):
    "The file that data describe writes, and what it says before"
    flags = ['data', 'describe', str(table), '--images', str(sample.parent), *FLAGS]
    assert main(flags)==0
    assert not table.with_name('shop.applies.yaml').exists()
    assert main([*flags, '--write-applies'])==0
    return table.with_name('shop.applies.yaml')

@pytest.fixture(scope='module')
def asked(described, table, sample, tmp_path_factory):
    "A run whose questions apply to some categories, and which promises a little"
    folder = tmp_path_factory.mktemp('asked_run')
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv('FASHION_CACHE', str(folder/'cache'))
        assert main(['train', '--data', str(table), '--images', str(sample.parent), *FLAGS, '--size', '48',
            '--epochs', '0', '--out', str(folder/'run')])==0
        assert main(['calibrate', str(folder/'run'), '--accept-precision', '0.1', '--confidence', '0.7'])==0
    return folder/'run'

def through(out, table, sample, file, *flags):
    assert main(['predict', str(out), str(table), '--images', str(sample.parent), '--out', str(file), *flags])==0
    return pd.read_csv(file, keep_default_na=False) if file.suffix=='.csv' else None

def test_describe_proposes_what_applies(described, table, sample):
    schema = read_catalogue(table, sample.parent, **KINDS).schema
    assert {name: set(schema.applies[name]['category']) for name in APPLIES} == \
        {name: set(APPLIES[name]['category']) for name in APPLIES}

def test_describe_does_not_overwrite(described, table, sample, capsys):
    described_text = described.read_text()
    described.write_text(described_text.splitlines()[0]+'\n')
    assert main(['data', 'describe', str(table), '--images', str(sample.parent), *FLAGS, '--write-applies'])==2
    assert 'exists already; add the lines above to it' in capsys.readouterr().err
    described.write_text(described_text)

def test_cells_are_known_only_where_the_question_applies(sample):
    frame,options = questions_table(sample),KINDS|dict(on_bad='keep', images=sample.parent)
    usual = make_catalogue(frame, 'shop.csv', **options)
    masked = make_catalogue(frame, 'shop.csv', applies=APPLIES, **options)
    below = frame.category.isin(BELOW).to_numpy()
    assert (usual.codes['cut']>=0).all() # an empty cell means that no label is there
    assert (masked.codes['cut'][~below]==-1).all() and (masked.codes['cut'][below]>=0).all()
    assert masked.describe()['n/a'].to_dict()==dict(category=0, neckline=below.sum(), sleeve=below.sum(), cut=(~below).sum())
    assert masked.describe().known['sleeve']>usual.describe().known['sleeve']

def test_scores_count_apart(asked, sample):
    metrics = json.loads(open_run(asked).metrics.read_text())
    rows = questions_table(sample)
    rows = rows[rows.split=='valid']
    scores = metrics['targets']
    assert scores['neckline']['not_applicable']==rows.category.isin(BELOW).sum()
    assert scores['cut']['not_applicable']==(~rows.category.isin(BELOW)).sum()
    assert scores['cut']['known']+scores['cut']['not_applicable']==len(rows)
    assert 0.5<scores['cut']['not_applicable_accuracy']<=1

def check_na(table):
    below = table.category.isin(BELOW)
    for name in ('neckline', 'sleeve'): assert ((table[name]=='n/a')==below).all()
    assert ((table.cut=='n/a')==~below).all() and below.any()
    assert (table.cut_probability[~below]=='').all()
    assert ((table.neckline_accepted=='n/a')==(below & (table.category_accepted!=''))).all()

def test_predict_answers_na(asked, table, sample, tmp_path):
    results = through(asked, table, sample, tmp_path/'results.csv')
    check_na(results)
    through(asked, table, sample, tmp_path/'results.jsonl')
    lines = pd.read_json(tmp_path/'results.jsonl', lines=True, dtype=False)
    assert (lines.neckline==results.neckline).all()
    answer = next(answer for answer in Predictor.load(asked)(list((sample.parent/'images').glob('*.jpg')))
        if answer['category'].labels[0] in BELOW)
    assert not answer['neckline'].applies and str(answer['neckline'])=='n/a' and answer['cut'].applies
    html = results_html(open_run(asked).schema, answer)
    assert html.count('n/a: this question does not apply')==2

def test_answers_are_read_back_as_labels(asked, table, sample, tmp_path):
    "n/a in a table is no label"
    through(asked, table, sample, tmp_path/'results.csv')
    catalogue = read_catalogue(tmp_path/'results.csv', sample.parent, **KINDS)
    assert 'n/a' not in [label for target in catalogue.schema for label in target.vocab]
    for name in APPLIES: assert (catalogue.codes[name]<0).any()

def test_an_onnx_file_and_the_server_answer_na(asked, table, sample, tmp_path):
    pytest.importorskip('onnxscript')
    assert main(['export', str(asked), '--onnx', str(tmp_path/'shop.onnx')])==0
    check_na(through(tmp_path/'shop.onnx', table, sample, tmp_path/'onnx.csv'))
    pytest.importorskip('fastapi')
    from starlette.testclient import TestClient
    from fashion_fastai.serving.api.app import create_api
    from fashion_fastai.serving.api.service import Service
    files = pd.read_csv(table).file[:40]
    with TestClient(create_api(Service(tmp_path/'shop.onnx'))) as client:
        form = [('files', (file, (sample.parent/file).read_bytes(), 'image/jpeg')) for file in files]
        answers = client.post('/v1/predict/batch', files=form[:16]).json()['answers']
    for answer in answers: assert (answer['neckline']=='n/a')==(answer['category'] in BELOW)

def test_a_worker_of_a_cluster_answers_na(asked, table, sample):
    pytest.importorskip('ray')
    worker = Worker(pack_predictor(asked), 'file', str(sample.parent))
    check_na(worker(pa.Table.from_pandas(pd.read_csv(table)[['file']])).to_pandas())

@pytest.mark.slow
def test_ray_answers_na(asked, table, sample, tmp_path):
    pytest.importorskip('ray')
    rows = pd.read_csv(table)
    rows.assign(file=[str((sample.parent/file).resolve()) for file in rows.file]).to_parquet(tmp_path/'rows.parquet')
    assert main(['predict', str(asked), str(tmp_path/'rows.parquet'), '--engine', 'ray', '--workers', '1',
        '--out', str(tmp_path/'out')])==0
    check_na(pd.read_parquet(tmp_path/'out'))

def test_a_submission_has_no_labels_where_the_question_does_not_apply():
    schema = Schema(targets=[one_of('kind', ['dress', 'shoe']), any_of('tags', ['lace', 'silk'])], applies=dict(tags=dict(kind=['dress'])))
    probs = dict(kind=np.eye(2, dtype=np.float32), tags=np.ones((2,2), dtype=np.float32))
    lines = submission_lines('attribute-csv', Predictions(schema, ['1.jpg', '2.jpg'], probs))
    assert lines[1:]==['1.jpg,0 1', '2.jpg,']

def test_filled_cells_that_cannot_apply_are_issues(sample, tmp_path, recwarn):
    from fashion_fastai.audit.label_issues import check_labels
    frame = questions_table(sample)
    wrong = frame.index[frame.category.isin(BELOW)][:3]
    frame.loc[wrong, 'neckline'] = 'v_neck'
    catalogue = make_catalogue(frame, 'shop.csv', sample.parent, applies=APPLIES, on_bad='keep', **KINDS)
    assert any('neckline is filled in 3 rows that it does not apply to' in str(warning.message) for warning in recwarn)
    issues = check_labels(catalogue)
    found = issues[issues.kind=='not_applicable']
    assert sorted(found.row)==[i+1 for i in wrong] and set(found.given)=={'v_neck'}
    assert not ((issues.kind=='missing_labels') & (issues.target=='cut')).any() # only where it applies

@pytest.mark.parametrize('text,message', [
    ('neckline: {categry: [dress]}', "shop.applies.yaml: unknown target in applies 'categry'; did you mean category"),
    ('neckline: {category: [dres]}', "shop.applies.yaml: applies: neckline: unknown category 'dres'; did you mean dress"),
    ('neckline: {cut: [pockets]}', 'shop.applies.yaml: applies: neckline hangs on cut, which is no other one_of target'),
    ('neckline: [dress]', 'shop.applies.yaml: neckline: expected a target and its labels'),
    ('neckline: {category: []}', 'shop.applies.yaml: applies: neckline: category: the list of labels is empty'),
    ('sleeve: {neckline: [v_neck]}\nneckline: {sleeve: [sleeveless]}', 'is a circle')])
def test_mistakes_in_the_file(text, message, sample, tmp_path, capsys):
    path = draw_questions(sample, tmp_path)
    (tmp_path/'shop.applies.yaml').write_text(text)
    assert main(['data', 'describe', str(path), '--images', str(sample.parent), *FLAGS])==2
    assert message in ' '.join(capsys.readouterr().err.split())

def test_some_targets_are_chosen(sample, tmp_path, recwarn):
    path = draw_questions(sample, tmp_path)
    (tmp_path/'shop.applies.yaml').write_text('neckline: {category: [dress]}\nsleeve: {category: [dress]}\n')
    assert read_catalogue(path, sample.parent, one_of=['category', 'sleeve']).schema.applies.keys()=={'sleeve'}
    assert read_catalogue(path, sample.parent, one_of=['sleeve']).schema.applies is None
    assert any('sleeve hangs on category, which is no target here' in str(warning.message) for warning in recwarn)
    assert read_catalogue(path, sample.parent, one_of=['category', 'sleeve'], applies={}).schema.applies is None
