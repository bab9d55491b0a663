"A run is pushed to a hub and used by its address: nothing of the table leaves, nothing but known files comes back, and what was changed on the way is refused"
import json, shutil
import numpy as np, pandas as pd, pytest
from PIL import Image
from fashion_fastai.cli import main
from fashion_fastai.config import make_config
from fashion_fastai.core.hub import MANIFEST
from fashion_fastai.models.network import create_network, save_network
from fashion_fastai.run import PUBLISHED_FILES, open_run, start_run
from fashion_fastai.schema import Schema
from fashion_fastai.serving.predictor import Predictor
from fashion_fastai.target import any_of, one_of
from helpers.hub_server import as_the_hub

REPO = 'garments/shop'
SCHEMA = Schema(targets=[one_of('category', ['dress', 'shirt', 'skirt']), any_of('attributes', ['belted', 'striped'])])
HALF = (0.5,)*3
SECRET = 'secret-lookbook'

@pytest.fixture
def hub(tmp_path, monkeypatch):
    with as_the_hub(tmp_path, monkeypatch) as hub: yield hub

@pytest.fixture
def shop(tmp_path):
    "A run of a table with secret file names, and an image"
    settings = dict(data=dict(path=f'/home/ann/{SECRET}/labels.csv', images=f'/home/ann/{SECRET}'), model=dict(arch='fashion_cnn3', weights='none'),
        image=dict(size=32, mean=HALF, std=HALF))
    run = start_run(tmp_path/'shop', make_config('two-head', settings), SCHEMA)
    save_network(create_network(SCHEMA, 'fashion_cnn3', 32, 'none', seed=1), run.model)
    run.predictions('valid').parent.mkdir()
    pd.DataFrame(dict(file=[f'{SECRET}/1.jpg'])).to_parquet(run.predictions('valid').with_name('train.parquet'))
    (run.path/'report.html').write_text(f'<img src="{SECRET}/1.jpg">')
    run.metrics.write_text(json.dumps(dict(split='valid', rows=8, targets=dict(category=dict(kind='one_of', known=8, accuracy=0.75, mean_class_accuracy=0.7, macro_f1=0.7)))))
    image = tmp_path/'new.jpg'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60,40,3), dtype=np.uint8)).save(image)
    return run,image

def answers(run, image, out):
    out.unlink(missing_ok=True)
    assert main(['predict', str(run), str(image), '--out', str(out)])==0
    return out.read_text()

def pushed(hub): return hub.folder/REPO/hub.main[REPO]

def test_a_run_goes_to_the_hub_and_back(hub, shop, tmp_path, capsys, monkeypatch):
    run,image = shop
    assert main(['push', str(run.path), REPO, '--license', 'apache-2.0'])==0
    commit = hub.main[REPO]
    shown = capsys.readouterr().out
    assert f'hf://{REPO}@{commit}' in shown and 'private' in shown and hub.private[REPO]
    files = {path.relative_to(pushed(hub)).as_posix(): path.read_bytes() for path in pushed(hub).rglob('*') if path.is_file()}
    assert set(files)=={'README.md', MANIFEST, 'config.yaml', 'schema.json', 'model.safetensors', 'metrics.json',
        'examples/1.jpg', 'examples/2.jpg', 'examples/3.jpg', 'examples/answers.jsonl'}
    assert not [name for name,content in files.items() if SECRET.encode() in content or b'/home/ann' in content] # nothing of the table
    card = files['README.md'].decode()
    assert 'model-index:' in card and 'license: apache-2.0' in card and f"Predictor.load('hf://{REPO}')" in card
    own = answers(run.path, image, tmp_path/'own.csv')
    assert answers(f'hf://{REPO}', image, tmp_path/'hub.csv')==answers(f'hf://{REPO}@{commit}', image, tmp_path/'hub.csv')==own
    assert set(hub.downloads)<={MANIFEST, *PUBLISHED_FILES} and len(hub.downloads)==len(set(hub.downloads))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    n = hub.requests.total()
    assert answers(f'hf://{REPO}', image, tmp_path/'hub.csv')==own and hub.requests.total()==n

def test_examples_show_what_the_run_answers(hub, shop, tmp_path):
    run,image = shop
    assert main(['push', str(run.path), REPO, '--example', str(image)])==0
    lines = (pushed(hub)/'examples/answers.jsonl').read_text().splitlines()
    shutil.copy(pushed(hub)/'examples/1.jpg', tmp_path/'1.jpg')
    expected = json.loads(answers(f'hf://{REPO}', tmp_path/'1.jpg', tmp_path/'out.jsonl'))
    assert [json.loads(line) for line in lines]==[expected|dict(file='1.jpg')]

def test_a_later_push_is_seen_and_a_commit_stays(hub, shop, tmp_path):
    run,image = shop
    assert main(['push', str(run.path), REPO])==0
    first,before = hub.main[REPO],answers(f'hf://{REPO}', image, tmp_path/'a.csv')
    save_network(create_network(SCHEMA, 'fashion_cnn3', 32, 'none', seed=2), run.model)
    run.metrics.unlink()
    (pushed(hub)/'LICENSE').write_text('of the owner')
    assert main(['push', str(run.path), REPO])==0
    assert not (pushed(hub)/'metrics.json').exists() and (pushed(hub)/'LICENSE').exists()
    assert answers(f'hf://{REPO}', image, tmp_path/'a.csv')!=before==answers(f'hf://{REPO}@{first}', image, tmp_path/'a.csv')
    assert answers(f'hf://{REPO}@main', image, tmp_path/'a.csv')==answers(run.path, image, tmp_path/'b.csv')

def test_a_public_repository_gets_a_run_only_on_request(hub, shop, capsys):
    run,_ = shop
    assert main(['push', str(run.path), REPO, '--public'])==0 and not hub.private[REPO]
    commit = hub.main[REPO]
    assert main(['push', str(run.path), REPO])==2 and hub.main[REPO]==commit
    assert 'is public on the hub' in capsys.readouterr().err

def test_a_file_that_was_changed_is_refused(hub, shop, tmp_path, capsys):
    run,image = shop
    assert main(['push', str(run.path), REPO])==0
    args = ['predict', f'hf://{REPO}', str(image), '--out', str(tmp_path/'out.csv')]
    weights = pushed(hub)/'model.safetensors'
    good = weights.read_bytes()
    weights.write_bytes(good[:-1]+bytes([good[-1]^1])) # on the way
    assert main(args)==2 and not (tmp_path/'out.csv').exists()
    said = capsys.readouterr().err
    assert 'model.safetensors of hf://garments/shop is not the file that was published' in said
    cached = next((tmp_path/'cache').rglob('model.safetensors')).resolve()
    assert str(cached) in said
    cached.unlink()
    weights.write_bytes(good)
    assert main(args)==0
    next((tmp_path/'cache').rglob('schema.json')).resolve().write_text('{}') # in the cache
    assert main(args)==2 and 'schema.json of hf://garments/shop is not the file' in capsys.readouterr().err

def test_an_interrupted_download_resumes(hub, shop, tmp_path, monkeypatch):
    run,image = shop
    assert main(['push', str(run.path), REPO])==0
    monkeypatch.setattr('huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE', 1000) # what is lost of a connection that breaks
    hub.break_off = 1
    assert answers(f'hf://{REPO}', image, tmp_path/'a.csv')==answers(run.path, image, tmp_path/'b.csv')
    assert hub.requests['resumed']==1

def test_only_known_files_are_read(hub, shop, tmp_path):
    "A pickle is not fetched even if the list names it"
    run,image = shop
    assert main(['push', str(run.path), REPO])==0
    listed = json.loads((pushed(hub)/MANIFEST).read_text())
    listed['files'] |= {'optimizer.pkl': '0'*64, '../../evil.py': '0'*64, 'pytorch_model.bin': '0'*64}
    (pushed(hub)/MANIFEST).write_text(json.dumps(listed))
    for name in ('optimizer.pkl', 'pytorch_model.bin'): (pushed(hub)/name).write_bytes(b'\x80\x04.')
    answers(f'hf://{REPO}', image, tmp_path/'a.csv')
    assert set(hub.downloads)<={MANIFEST, *PUBLISHED_FILES}

def test_any_command_takes_an_address(hub, shop, tmp_path, capsys):
    run,image = shop
    assert main(['push', str(run.path), REPO])==0
    address = f'hf://{REPO}'
    assert open_run(address).schema==SCHEMA
    assert Predictor.load(address)(image)['category'].labels==Predictor.load(run.path)(image)['category'].labels
    table = tmp_path/'table.csv'
    rows = [('dress', 'belted', 'valid'), ('shirt', 'striped', 'valid'), ('skirt', 'striped', 'train'), ('dress', 'belted', 'train')]
    for i in range(4): shutil.copy(image, tmp_path/f'{i}.jpg')
    table.write_text('file,category,attributes,split\n'+''.join(f'{i}.jpg,{",".join(row)}\n' for i,row in enumerate(rows)))
    assert main(['evaluate', address, '--data', str(table)])==0
    assert main(['embed', str(table), '--run', address, '--out', str(tmp_path/'features.parquet')])==0
    capsys.readouterr()
    assert main(['evaluate', address])==2
    assert 'labels.csv, the table of the run' in capsys.readouterr().err
    assert main(['calibrate', address])==2
    assert 'calibrate the run that was pushed' in capsys.readouterr().err

def test_a_server_asks_again_at_a_reload(hub, shop):
    pytest.importorskip('fastapi')
    from fashion_fastai.serving.api.service import Service
    from helpers.served import form, in_api
    run,image = shop
    assert main(['push', str(run.path), REPO])==0
    service,first = Service(f'hf://{REPO}'),hub.main[REPO]
    async def work(client):
        before = (await client.get('/v1/schema')).json()['model']
        save_network(create_network(SCHEMA, 'fashion_cnn3', 32, 'none', seed=2), run.model)
        assert main(['push', str(run.path), REPO])==0
        await service.reload()
        assert (await client.post('/v1/predict', files=form(image.read_bytes()))).status_code==200
        return before,(await client.get('/v1/schema')).json()['model']
    before,after = in_api(service, work)
    assert (before['name'], after['name'])==(f'hf://{REPO}@{first}', f'hf://{REPO}@{hub.main[REPO]}') and before['digest']!=after['digest']

@pytest.mark.parametrize('address,words', [('hf://garments/none', 'the hub has no repository garments/none'), (f'hf://{REPO}@v9', f'{REPO} on the hub has no revision v9'),
    ('hf://shop', 'hf://shop is no address of a run'), ('hf://timm/net', 'hf://timm/net is no run of fashion_fastai: its config.json is that of another'),
    ('hf://timm/empty', 'it has no config.json')])
def test_what_is_no_run_is_refused(hub, shop, tmp_path, capsys, address, words):
    run,image = shop
    assert main(['push', str(run.path), REPO])==0
    (hub.add('timm/net', 'a')/MANIFEST).write_text('{"architecture": "resnet50"}')
    hub.add('timm/empty', 'b')
    assert main(['predict', address, str(image), '--out', str(tmp_path/'out.csv')])==2
    assert words in capsys.readouterr().err

def test_what_the_hub_refuses_to_take(hub, shop, capsys, monkeypatch):
    run,_ = shop
    assert main(['push', str(run.path), 'others/shop'])==2
    assert 'others/shop' in capsys.readouterr().err
    assert main(['push', str(run.path), 'shop'])==2
    assert main(['push', str(run.path), REPO, '--example', 'none.jpg'])==2 and REPO not in hub.main
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    assert main(['push', str(run.path), REPO])==2
    assert 'the hub cannot be reached; nothing was pushed' in capsys.readouterr().err
