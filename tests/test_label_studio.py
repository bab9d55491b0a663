"""Tasks for Label Studio, and the loop through a real one

FASHION_LABEL_STUDIO names its executable, in an environment of its own (`pip install label-studio`); it runs here with SQLite and serves this computer alone.
"""
import json, os, signal, subprocess, time, urllib.error, urllib.request
from xml.etree import ElementTree
import pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.commands.app import free_port
from fashion_fastai.data.catalogue import read_catalogue
from helpers.reviewed import review_folder

TOKEN = '0123456789abcdef0123456789abcdef01234567'
STUDIO = os.environ.get('FASHION_LABEL_STUDIO')

@pytest.fixture
def shop(tmp_path):
    "The table of a small shop, whose folder also has an audit"
    folder = tmp_path/'shop'
    folder.mkdir()
    review_folder(folder)
    return folder/'shop.csv'

def tasks(table, *options):
    out = table.parent/'tasks.json'
    assert main(['data', 'tasks', str(table), '--out', str(out), *options])==0
    return json.loads(out.read_text())

def proposed(task): return {result['from_name']: result['value']['choices'] for result in task['predictions'][0]['result']}

def test_what_an_audit_doubts_comes_first_with_its_reason(shop):
    made = tasks(shop, '--audit', str(shop.parent/'audit'))
    assert [task['data']['file'] for task in made]==['4.png', '0.png', '1.png', '2.png']
    assert made[1]['data']['reason']=='possibly wrong labels: category dress → shirt (93 %)'
    assert [proposed(task)['category'] for task in made]==[['dress'], ['shirt'], ['shirt'], ['dress']] # none that breaks a rule
    assert made[0]['data']['image']=='/data/local-files/?d=shop/4.png'
    view = ElementTree.parse(shop.parent/'tasks.xml').getroot()
    assert {choices.get('name'): choices.get('choice') for choices in view.iter('Choices')}=={'category': 'single', 'attributes': 'multiple'}

def test_a_run_orders_and_labels_what_has_no_labels(sample, run, tmp_path):
    frame = pd.read_csv(sample, keep_default_na=False).head(40)
    frame['file'] = [str(sample.parent/name) for name in frame.file]
    frame.loc[5:, ['category','attributes']] = ['', '?']
    frame.to_csv(tmp_path/'new.csv', index=False)
    made = tasks(tmp_path/'new.csv', '--run', str(run), '--label-budget', '10', '--allow-outside', '--image-url', 'https://cdn.example.com')
    assert len(made)==10 and all(task['data']['row']>6 for task in made)
    assert all(task['predictions'][0]['model_version']=='first' and 'unsure of' in task['data']['reason'] for task in made)
    assert all(proposed(task)['category'][0] in read_catalogue(sample).schema['category'].vocab for task in made)

@pytest.mark.parametrize('options,message', [(['--out', 'tasks.csv'], 'tasks are a .json file'), (['--run', 'none', '--out', 'tasks.json'], 'no such run folder')])
def test_mistakes_are_one_line(options, message, shop, capsys):
    assert main(['data', 'tasks', str(shop), *options])==2
    assert message in capsys.readouterr().err

# ---- through a real Label Studio

class Studio:
    "The REST interface of Label Studio"
    def __init__(self, port): self.url = f'http://127.0.0.1:{port}'
    def __call__(self, path, fields=None):
        "Return what a request answers; JSON is sent if there are fields"
        body = None if fields is None else json.dumps(fields).encode()
        headers = {'Authorization': f'Token {TOKEN}', 'Content-Type': 'application/json'}
        with urllib.request.urlopen(urllib.request.Request(self.url+path, body, headers), timeout=60) as answer: return answer.read()
    def json(self, path, fields=None): return json.loads(self(path, fields))

    def wait(self):
        for _ in range(600):
            try: return self('/health')
            except (urllib.error.URLError, ConnectionError): time.sleep(0.5)
        raise AssertionError('Label Studio did not start')

@pytest.fixture
def studio(shop, tmp_path):
    "A Label Studio that serves the folder of the images"
    port = free_port(host='127.0.0.1')
    settings = dict(LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED='true', LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=str(shop.parent.parent),
        LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN='true', LATEST_VERSION_CHECK='false', COLLECT_ANALYTICS='false', SENTRY_DSN='', FRONTEND_SENTRY_DSN='')
    command = [STUDIO, 'start', '--no-browser', '--port', str(port), '--internal-host', '127.0.0.1', '--data-dir', str(tmp_path/'studio'),
        '--username', 'anna@example.com', '--password', 'only-for-a-test', '--user-token', TOKEN]
    with (tmp_path/'studio.log').open('w') as log:
        started = subprocess.Popen(command, cwd=tmp_path, env=os.environ | settings, stdout=log, stderr=log, start_new_session=True)
    made = Studio(port)
    try:
        made.wait()
        yield made
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        started.wait(30)

@pytest.mark.slow
@pytest.mark.skipif(not STUDIO, reason='FASHION_LABEL_STUDIO does not name an executable')
def test_two_annotators_in_a_real_label_studio(studio, shop, capsys):
    made = tasks(shop, '--audit', str(shop.parent/'audit'))
    project = studio.json('/api/projects/', dict(title='shop', label_config=(shop.parent/'tasks.xml').read_text()))['id']
    studio.json('/api/storages/localfiles/', dict(project=project, title='images', path=str(shop.parent), use_blob_urls=True))
    assert studio.json(f'/api/projects/{project}/import', made)['prediction_count']==4
    listed = {task['data']['file']: task for task in studio.json(f'/api/tasks?project={project}')['tasks']}
    for name,task in listed.items(): assert studio(task['data']['image'])==(shop.parent/name).read_bytes()
    ben = studio.json('/api/users/', dict(username='ben@example.com', email='ben@example.com'))['id']
    def annotate(name, by=1, **labels):
        result = [dict(from_name=control, to_name='image', type='choices', value=dict(choices=chosen)) for control,chosen in labels.items()]
        studio.json(f'/api/tasks/{listed[name]["id"]}/annotations/', dict(result=result, completed_by=by))
    annotate('0.png', category=['shirt'], attributes=['belted'])
    annotate('0.png', ben, category=['shirt'], attributes=['belted', 'striped'])
    annotate('2.png', category=['dress'], attributes=['striped'])
    annotate('4.png', category=['Dress'])
    (shop.parent/'export.json').write_bytes(studio(f'/api/projects/{project}/export?exportType=JSON'))
    assert main(['data', 'merge', str(shop), str(shop.parent/'export.json'), '--out', str(shop.parent/'new.csv')])==0
    new = pd.read_csv(shop.parent/'new.csv', keep_default_na=False)
    assert new.category.tolist()==['shirt','shirt','dress','Dress','Dress','shirt']
    assert new.attributes.tolist()==['belted','striped','striped','belted striped','','striped'] # the two disagree about the first
    conflicts = pd.read_csv(shop.parent/'new.conflicts.csv')
    assert conflicts.votes.tolist()==[f'annotator 1: not striped; annotator {ben}: striped']
    assert f'annotator 1 and annotator {ben}' in capsys.readouterr().out
