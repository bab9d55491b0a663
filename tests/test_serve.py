"The HTTP API answers as `predict` does, batches what comes together, refuses what is too much, and stops and reloads without a lost request"
import asyncio, json, os, re, signal, socket, threading, time
from pathlib import Path
import numpy as np, pytest
pytest.importorskip('fastapi')
pytest.importorskip('prometheus_client')
httpx = pytest.importorskip('httpx')
from starlette.testclient import TestClient
from fashion_fastai.cli import main
from fashion_fastai.serving.api.app import create_api
from fashion_fastai.serving.api.batching import Batching
from fashion_fastai.serving.api.limits import Limits
from fashion_fastai.serving.api.model import Fetcher
from fashion_fastai.serving.api.service import Service
from helpers.served import SCHEMA, Load, Process, base64_body, form, in_api, jpeg, make_run, refusal
from helpers.web_server import Server, bomb

@pytest.fixture(scope='module')
def run(tmp_path_factory): return make_run(tmp_path_factory.mktemp('serve')/'shop')

@pytest.fixture
def client(run):
    with TestClient(create_api(Service(run.path))) as client: yield client

def predicted(run, folder, *contents):
    "What the command `predict` writes for the same images"
    for i,content in enumerate(contents): (folder/f'{i}.jpg').write_bytes(content)
    assert main(['predict', str(run.path), *[str(folder/f'{i}.jpg') for i in range(len(contents))], '--out', str(folder/'out.jsonl')])==0
    answers = [json.loads(line) for line in (folder/'out.jsonl').read_text().splitlines()]
    return [answer|dict(file=Path(answer['file']).name) for answer in answers]

# ---- answers

def test_answers_are_those_of_predict(run, client, tmp_path):
    contents = jpeg(1), jpeg(2), b'no image', jpeg(3, 200)
    expected = predicted(run, tmp_path, *contents)
    by_form = client.post('/v1/predict/batch', files=form(*contents)).json()['answers']
    assert by_form==client.post('/v1/predict/batch', json=base64_body(*contents)).json()['answers']==expected
    assert client.post('/v1/predict', files=form(contents[0])).json()==expected[0]
    assert client.post('/v1/predict', json=base64_body(contents[0])).json()==expected[0]

def test_model_is_described(run, client):
    found = client.get('/v1/schema').json()
    assert [target['name'] for target in found['schema']['targets']]==['category', 'attributes'] and found['image']['size']==32
    assert found['model']['name']=='shop' and found['model']['digest']==client.get('/ready').json()['digest']
    assert client.get('/v1/labels').json()==dict(category=['dress','shirt','skirt'], attributes=['belted','striped'])
    assert client.get('/health').json()==dict(status='ok')

def test_the_description_of_the_api_has_examples_that_work(client):
    assert 'swagger' in client.get('/docs').text
    document = client.get('/openapi.json').json()
    for path in ('/v1/predict', '/v1/predict/batch'):
        post = document['paths'][path]['post']
        example = post['requestBody']['content']['application/json']['example']
        answer = client.post(path, json=example)
        shown = post['responses']['200']['content']['application/json']['example']
        assert answer.status_code==200 and list(answer.json())==list(shown)
        assert {'401', '408', '413', '415', '422', '429', '503'}<=set(post['responses'])
    references = set(re.findall(r'#/components/schemas/(\w+)', json.dumps(document)))
    assert references<=set(document['components']['schemas'])

# ---- batching

def batch_counts(service):
    text = service.metrics.text().decode()
    return [float(re.search(rf'fashion_batch_images_{name} (\S+)', text)[1]) for name in ('count', 'sum')]

def test_concurrent_requests_are_batched(run):
    service = Service(run.path, batching=Batching(size=8, wait=0.2))
    async def work(client):
        contents = [jpeg(i) for i in range(24)]
        alone = [(await client.post('/v1/predict', files=form(content))).json() for content in contents]
        before = batch_counts(service)
        together = await asyncio.gather(*[client.post('/v1/predict', files=form(content)) for content in contents])
        return alone,[response.json() for response in together],np.subtract(batch_counts(service), before)
    alone,together,(batches,images) = in_api(service, work)
    assert images==24 and batches<=8 # 24 one by one, 3 at best
    for one,other in zip(alone, together): assert one.keys()==other.keys() and one['category']==other['category']

# ---- refusals

def test_every_refusal_has_one_shape(run):
    limits = Limits(megabytes=0.05, megapixels=0.01, request_megabytes=0.2, files=3, queue=3)
    with TestClient(create_api(Service(run.path, limits))) as client:
        def post(path='', **kwargs): return refusal(client.post(f'/v1/predict{path}', **kwargs))
        assert post(files=form(bytes(60_000)))==(413, 'too_large')
        assert post('/batch', files=form(*[bytes(49_000)]*5))==(413, 'too_large')
        assert post(files=form(jpeg(0, 120)))==(422, 'bad_image')
        assert post(files=form(b'no image'))==(422, 'bad_image')
        assert post(files=form(bomb()))==(422, 'bad_image')
        assert post(files=form(jpeg(), jpeg()))==(422, 'too_many_images')
        assert post('/batch', files=form(*[b'x']*4))==(422, 'invalid_body')
        assert post('/batch', json=base64_body(*[b'x']*4))==(422, 'too_many_images')
        assert post(files=[('image', ('a.jpg', jpeg()))])==(422, 'invalid_body')
        assert post(json=dict(images=[]))==(422, 'invalid_body')
        assert post(json=dict(images=[dict(url='https://shop.example/1.jpg')]))==(422, 'no_addresses')
        assert post(content=b'{', headers={'content-type': 'application/json'})==(422, 'invalid_body')
        assert post(content=jpeg(), headers={'content-type': 'image/jpeg'})==(415, 'unsupported_type')
        assert refusal(client.get('/v1/predict'))==(405, 'method_not_allowed') and refusal(client.get('/x'))==(404, 'not_found')
        answers = client.post('/v1/predict/batch', files=form(jpeg(), jpeg(0, 120))).json()['answers']
        assert not answers[0]['error'] and 'at most 0.01 are read' in answers[1]['error']

def test_a_full_queue_and_a_late_answer_are_refused(run, monkeypatch):
    service = Service(run.path, Limits(files=2, queue=2, seconds=0.3))
    gate = threading.Event()
    decode = service.model.decode
    monkeypatch.setattr(service.model, 'decode', lambda *args: gate.wait(5) and decode(*args))
    async def work(client):
        pending = [asyncio.create_task(client.post('/v1/predict', files=form(jpeg()))) for _ in range(3)]
        late = [refusal(response) for response in await asyncio.gather(*pending)]
        gate.set()
        return late,(await client.post('/v1/predict', files=form(jpeg()))).status_code
    late,after = in_api(service, work)
    assert sorted(late)==[(429, 'queue_full'), (503, 'timeout'), (503, 'timeout')] and after==200 and service.in_work==0

def test_an_error_of_the_server_is_not_shown(run, monkeypatch, caplog):
    service = Service(run.path)
    monkeypatch.setattr(service.model.queue, 'compute', lambda images: 1/0)
    with TestClient(create_api(service)) as client:
        response = client.post('/v1/predict', files=form(jpeg()))
        assert refusal(response)==(500, 'internal') and 'division' not in response.text
        assert client.get('/health').status_code==200
    assert 'ZeroDivisionError' in caplog.text

def test_keys(run):
    with TestClient(create_api(Service(run.path), ['a-secret-of-the-shop', 'another-secret-of-it'])) as client:
        for path in ('/v1/labels', '/v1/schema', '/metrics'):
            assert refusal(client.get(path))==(401, 'unauthorized')
            assert refusal(client.get(path, headers={'Authorization': 'Bearer wrong'}))==(401, 'unauthorized')
            assert client.get(path, headers={'Authorization': 'Bearer another-secret-of-it'}).status_code==200
        refused = client.post('/v1/predict', files=form(jpeg()))
        assert refusal(refused)==(401, 'unauthorized') and refused.headers['www-authenticate']=='Bearer'
        assert client.get('/health').status_code==client.get('/ready').status_code==200

@pytest.mark.parametrize('origins', [[], ['https://shop.example']])
def test_pages_of_others_may_not_ask(run, origins):
    with TestClient(create_api(Service(run.path), origins=origins)) as client:
        allowed = [client.get('/v1/labels', headers={'Origin': page}).headers.get('access-control-allow-origin')
            for page in ('https://shop.example', 'https://other.example')]
    assert allowed==[*origins, *[None]*(2-len(origins))]

# ---- addresses

def test_addresses(run):
    with Server() as web:
        def asked(fetch, *urls):
            with TestClient(create_api(Service(run.path, fetch=fetch))) as client:
                return client.post('/v1/predict/batch', json=dict(images=[dict(url=url) for url in urls])).json()['answers']
        urls = f'{web.url}/ok/1.jpg', f'{web.url}/html/1', f'{web.url}/404/1', 'file:///etc/passwd'
        good,*others = asked(Fetcher(Limits(), allow_private=True), *urls)
        assert good['category'] in SCHEMA['category'].vocab and not good['error']
        assert [bool(answer['error']) for answer in others]==[True]*3
        n = sum(web.seen.values())
        private = asked(Fetcher(Limits()), urls[0], 'http://localhost:1/1.jpg', 'http://169.254.169.254/latest', f'{web.url}/to/http://10.0.0.1/')
        assert [answer['error'] for answer in private]==['its address is private']*4 and sum(web.seen.values())==n

# ---- a process

ONLY_LIGHT = '''
import atexit, sys
from fashion_fastai.cli import run_script
heavy = lambda: [name for name in ('torch', 'torchvision', 'fastai', 'timm', 'sklearn', 'scipy', 'matplotlib') if name in sys.modules]
atexit.register(lambda: print(f'{{"event": "imports", "heavy": {len(heavy())}}}', file=sys.stderr))
run_script()
'''

@pytest.fixture(scope='module')
def exported(tmp_path_factory, run):
    "A run with its ONNX file beside the weights, and another file to exchange it for"
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.serving.onnx_export import export_onnx
    folder = tmp_path_factory.mktemp('exported')
    for i in range(4): (folder/f'{i}.jpg').write_bytes(jpeg(i))
    (folder/'labels.csv').write_text('file,category,attributes\n'+''.join(f'{i}.jpg,dress,belted\n' for i in range(4)))
    catalogue = read_catalogue(folder/'labels.csv', schema=SCHEMA)
    first,second = make_run(folder/'first'),make_run(folder/'second', 0.1)
    export_onnx(first, first.onnx, catalogue)
    export_onnx(second, folder/'second.onnx', catalogue)
    return first,folder/'second.onnx'

def test_a_process_serves_reloads_and_stops_under_load(exported, tmp_path):
    run,other = exported
    with Process(run.path, code=ONLY_LIGHT) as server:
        first = httpx.get(f'{server.url}/v1/schema').json()['model']
        assert first['engine']=='onnx'
        load = Load(server.url)
        time.sleep(0.5)
        new = tmp_path/'new.onnx'
        new.write_bytes(other.read_bytes())
        os.replace(new, run.onnx)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda: httpx.get(f'{server.url}/ready').json()['digest']!=first['digest'])
        run.onnx.write_bytes(b'damaged')
        server.process.send_signal(signal.SIGHUP)
        server.wait_for(lambda: any('reload failed' in line for line in server.lines))
        assert httpx.post(f'{server.url}/v1/predict', files=form(jpeg())).status_code==200
        assert not load.errors
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30)==0
        load.end()
    log = server.log()
    assert {response.status_code for _,response in load.answers}=={200}
    served = [line for line in log if line['event']=='request' and line['path']=='/v1/predict']
    assert {line['status'] for line in served}=={200} and len(served)==len(load.answers)+1 # every request that was taken has its answer
    assert [line['event'] for line in log if line['event'] in ('started', 'reloaded', 'stopped')]==['started', 'reloaded', 'stopped']
    assert [line['heavy'] for line in log if line['event']=='imports']==[0]
    assert not any('jpg' in line for line in server.lines)

def test_a_long_body_and_a_slow_client_are_refused_early(exported):
    with Process(exported[1], '--max-seconds', '1', '--max-request-mb', '1', FASHION_API_KEYS='a-secret-of-the-shop') as server:
        host,port = server.url.removeprefix('http://').split(':')
        def raw(head, body=b''):
            with socket.create_connection((host, int(port)), 20) as sock:
                lines = ['POST /v1/predict/batch HTTP/1.1', 'Host: x', 'Content-Type: application/json', 'Authorization: Bearer a-secret-of-the-shop', *head]
                sock.sendall('\r\n'.join([*lines, '', '']).encode()+body)
                sock.settimeout(20)
                return sock.recv(4096).decode()
        assert ' 413 ' in raw(['Content-Length: 10000000000']).splitlines()[0]
        chunk = b'%x\r\n' % 2_000_000+bytes(2_000_000)+b'\r\n'
        assert ' 413 ' in raw(['Transfer-Encoding: chunked'], chunk).splitlines()[0]
        assert ' 408 ' in raw(['Content-Length: 1000'], b'{').splitlines()[0]
        assert httpx.get(f'{server.url}/v1/labels').status_code==401
        assert httpx.get(f'{server.url}/health').status_code==200

def test_mistakes(run, tmp_path, capsys, monkeypatch):
    def refused(*args):
        assert main(['serve', *map(str, args)])==2
        return capsys.readouterr().err
    assert 'no such run folder' in refused(tmp_path/'none')
    assert 'no such file' in refused(tmp_path/'none.onnx')
    assert '300 images in one request are more than the 256 of the queue' in refused(run.path, '--max-files', 300)
    with socket.socket() as busy:
        busy.bind(('127.0.0.1', 0))
        busy.listen()
        assert 'another program listens on it' in refused(run.path, '--port', busy.getsockname()[1])
    monkeypatch.setenv('FASHION_API_KEYS', 'short')
    assert 'has fewer than 16 characters' in refused(run.path)
