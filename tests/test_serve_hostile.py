"The server stays up, answers others and holds its memory whatever is sent to it, however slowly, and however it is ended"
import asyncio, base64, http.client, json, signal, socket, threading, time
import psutil, pytest
pytest.importorskip('fastapi')
pytest.importorskip('prometheus_client')
httpx = pytest.importorskip('httpx')
from starlette.testclient import TestClient
from fashion_fastai.serving.api.app import create_api
from fashion_fastai.serving.api.limits import Limits
from fashion_fastai.serving.api.service import Service
from helpers import hostile
from helpers.served import Process, form, in_api, jpeg, make_run, refusal

@pytest.fixture(scope='module')
def run(tmp_path_factory): return make_run(tmp_path_factory.mktemp('hostile')/'shop')

@pytest.fixture(scope='module')
def client(run):
    with TestClient(create_api(Service(run.path)), raise_server_exceptions=False) as client: yield client

# ---- bodies

def part(*headers, content=b'x'): return b'--X\r\n'+b''.join(header+b'\r\n' for header in headers)+b'\r\n'+content+b'\r\n'
DISPOSITION = b'Content-Disposition: form-data; name="files"; filename="%s"'
FORM = 'multipart/form-data; boundary=X'
FILE = part(DISPOSITION % b'a.jpg')
END = b'--X--\r\n'

BODIES = {
    'a character set that cannot decode': (f'{FORM}; charset=idna', part(DISPOSITION % 'ä..b'.encode())+END),
    'a character set of escapes': (f'{FORM}; charset=unicode_escape', part(DISPOSITION % b'\\ud800.jpg')+END),
    'a character set of punycode': (f'{FORM}; charset=punycode', part(DISPOSITION % b'\xff-\xff')+END),
    'a character set that is none': (f'{FORM}; charset=zip', FILE+END),
    'a file name of a megabyte': (FORM, part(DISPOSITION % (b'a'*10**6))+END),
    'a header of a megabyte': (FORM, part(DISPOSITION % b'a', b'X-Long: '+b'a'*10**6)+END),
    '100,000 headers': (FORM, part(DISPOSITION % b'a', *[b'a: b']*100_000)+END),
    'a header without an end': (FORM, b'--X\r\n'+b'a'*10**6),
    'no name': (FORM, part(b'Content-Disposition: form-data; filename="a"')+END),
    'no disposition': (FORM, part(b'Content-Type: image/jpeg')+END),
    'another boundary': (FORM, FILE.replace(b'--X', b'--Y')),
    'an empty boundary': ('multipart/form-data; boundary=', FILE+END),
    'a boundary of 10,000 letters': ('multipart/form-data; boundary='+'X'*10_000, b'--'+b'X'*10_000+b'\r\n'),
    'a text field': (FORM, part(b'Content-Disposition: form-data; name="files"')+END),
    'nothing': (FORM, b''),
    'only an end': (FORM, END),
    'a million objects': ('application/json', b'{"images": ['+b','.join([b'{}']*10**6)+b']}'),
    'a million names': ('application/json', b'{"images": [{"base64": "", '+b','.join(b'"%d": 1' % i for i in range(10**6))+b'}]}'),
    'a million brackets': ('application/json', b'['*10**6),
    'a million numbers': ('application/json', b'{"images": ['+b'1,'*10**6+b'1]}'),
    'half a surrogate': ('application/json', b'{"images": [{"base64": "", "name": "\\ud800"}]}'),
    'a number of a million digits': ('application/json', b'{"images": '+b'9'*10**6+b'}'),
    'UTF-16': ('application/json', '{"images": []}'.encode('utf-16')),
    'an address of a megabyte': ('application/json', b'{"images": [{"url": "https://'+b'a'*10**6+b'"}]}'),
}

@pytest.mark.parametrize('kind,body', BODIES.values(), ids=BODIES)
def test_bodies_that_are_refused(client, kind, body):
    for path in ('/v1/predict', '/v1/predict/batch'):
        response = client.post(path, content=body, headers={'content-type': kind})
        status,_ = refusal(response)
        assert status in (415, 422) and len(response.content)<2000

def test_an_answer_repeats_no_long_name(client):
    response = client.post('/v1/predict/batch', files=[('files', ('a'*1001, b'x'))])
    assert refusal(response)==(422, 'invalid_body')
    assert client.post('/v1/predict/batch', files=[('files', ('ä\n"☃', b'x'))]).json()['answers'][0]['file']

def test_a_body_of_many_values_is_refused_before_it_is_read(client, monkeypatch):
    "Parsing JSON takes fifty times its bytes, and stops all other requests meanwhile"
    monkeypatch.setattr('fashion_fastai.serving.api.uploads.parse_json', lambda *args: pytest.fail('it was parsed'))
    for name in ('a million objects', 'a million names', 'a million brackets', 'a million numbers'):
        assert client.post('/v1/predict/batch', content=BODIES[name][1], headers={'content-type': 'application/json'}).status_code==422

# ---- images

def contents():
    "Yield the hostile images whose content fits into a request"
    for name,(content,says) in hostile.images().items():
        if isinstance(content, bytes): yield name,content,says

def test_hostile_images(client):
    found = list(contents())
    assert len(found)>30
    for name,content,says in found:
        response = client.post('/v1/predict/batch', files=form(content))
        if response.status_code==413: continue
        (answer,) = response.json()['answers']
        if says is None: assert not answer['error'], name
        else: assert says in answer['error'] or 'megapixels' in answer['error'], (name, answer['error'])

@pytest.mark.slow
def test_a_thousand_hostile_uploads_leave_memory_flat(run, tmp_path):
    "The whole corpus of images, over and over, eight requests at a time; good requests between them are answered"
    cases = [content for _,content,_ in contents()]
    path = tmp_path/'scans.jpg'
    path.write_bytes(hostile.scans(400))
    cases.append(path.read_bytes())
    used = []
    async def work(client):
        async def one(i):
            content = cases[i%len(cases)]
            files = form(content, jpeg(i)) if i%3 else form(content)
            return (await client.post('/v1/predict/batch' if i%2 else '/v1/predict', files=files)).status_code
        statuses = []
        for start in range(0, 1000, 8):
            statuses += await asyncio.gather(*map(one, range(start, start+8)))
            assert (await client.post('/v1/predict', files=form(jpeg()))).status_code==200
            used.append(psutil.Process().memory_info().rss/1e6)
        return statuses
    service = Service(run.path, Limits(seconds=120))
    statuses = in_api(service, work)
    assert len(statuses)==1000 and set(statuses)<={200, 413, 422} and service.in_work==0 and service.memory.used==0
    half = len(used)//2
    print(f'memory in MB: first {used[0]:.0f}, at the half at most {max(used[:half]):.0f}, then at most {max(used[half:]):.0f}')
    assert max(used[half:])<max(used[:half])+50

# ---- connections

@pytest.fixture(scope='module')
def server(run):
    with Process(run.path, '--max-seconds', '2') as server: yield server

def opened(server):
    sock = socket.create_connection(('127.0.0.1', server.port), 20)
    sock.settimeout(30)
    return sock

def closed_after(sock):
    "Return what came until the server closed the connection"
    found = b''
    try:
        while chunk := sock.recv(65_536): found += chunk
    except ConnectionResetError: pass
    return found

HEAD = b'POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'

@pytest.mark.parametrize('sent', [b'', b'POST /v1', HEAD], ids=['nothing', 'half a line', 'half a head'])
def test_a_request_that_never_begins_is_ended(server, sent):
    with opened(server) as sock:
        sock.sendall(sent)
        closed_after(sock)

def test_a_head_that_trickles_is_ended(server):
    with opened(server) as sock:
        with pytest.raises(OSError):
            for _ in range(300):
                sock.sendall(b'a')
                time.sleep(0.1)

def test_the_rest_of_a_refused_body_is_not_read_for_ever(server):
    with opened(server) as sock:
        sock.sendall(HEAD+b'Content-Length: 100000000000\r\n\r\n')
        assert b' 413 ' in sock.recv(4096)
        with pytest.raises(OSError):
            for _ in range(300):
                sock.sendall(b'a')
                time.sleep(0.1)

def test_a_connection_stays_for_the_next_request(server):
    client = http.client.HTTPConnection('127.0.0.1', server.port, timeout=20)
    for pause in (0, 3, 3): # longer than --max-seconds
        time.sleep(pause)
        client.request('GET', '/health')
        assert client.getresponse().read()==b'{"status":"ok"}'
        own = client.sock.getsockname()
    assert client.sock.getsockname()==own

def test_nonsense_is_refused(server):
    for sent in (b'\0\xff\r\n\r\n', b'GET / HTTP/9.9\r\n\r\n', b'GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n', b'POST /v1/predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
            HEAD+b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', b'GET / HTTP/1.1\r\n'+b'A: '+b'a'*200_000, HEAD+b'Transfer-Encoding: chunked\r\n\r\nzz\r\n'):
        with opened(server) as sock:
            try: sock.sendall(sent)
            except OSError: pass
            closed_after(sock)
    assert httpx.get(f'{server.url}/ready').status_code==200

FEW_FILES = 'import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)); from fashion_fastai.cli import run_script; run_script()'

def test_idle_connections_do_not_lock_others_out(run):
    "More connections are opened than the process may have files, and nothing is sent"
    with Process(run.path, '--max-seconds', '2', code=FEW_FILES) as server:
        idle = [opened(server) for _ in range(300)]
        server.wait_for(lambda: httpx.get(f'{server.url}/ready', timeout=2).status_code==200, 30)
        refused = [sock for sock in idle if b' 503 ' in closed_after(sock)[:20]]
        for sock in idle: sock.close()
        assert 100<len(refused)<200 and not [line for line in server.log() if line['level']=='error']

# ---- the end of a process

class Clients:
    "Clients that count every request that was sent and not answered; half of them open a connection for each. They stop when `/ready` says so, as behind a load balancer"
    def __init__(self, server, n=8):
        self.port,self.stopped,self.is_ready,self.answered,self.lost = server.port,threading.Event(),True,[],[]
        self.threads = [threading.Thread(target=self.probe, daemon=True), *(threading.Thread(target=self.ask, args=(i%2==0,), daemon=True) for i in range(n))]
        for thread in self.threads: thread.start()
    def probe(self):
        while not self.stopped.wait(0.05):
            try: self.is_ready = httpx.get(f'http://127.0.0.1:{self.port}/ready', timeout=20).status_code==200
            except httpx.TransportError: self.is_ready = False
    def connect(self):
        client = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        try: client.connect()
        except OSError: return None # nothing was sent
        return client
    def ask(self, keeps):
        body = json.dumps(dict(images=[dict(base64=base64.b64encode(jpeg()).decode())]))
        client = None
        while not self.stopped.is_set():
            if not self.is_ready or (client := client or self.connect()) is None:
                time.sleep(0.02)
                continue
            try:
                client.request('POST', '/v1/predict', body, {'Content-Type': 'application/json'})
                response = client.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as e:
                self.lost.append(repr(e))
                client = None
                continue
            self.answered.append(response.status)
            if response.will_close or not keeps: client = client.close()
    def end(self):
        self.stopped.set()
        for thread in self.threads: thread.join(90)

def test_a_stop_loses_no_request(run):
    with Process(run.path) as server:
        clients = Clients(server)
        server.wait_for(lambda: len(clients.answered)>40)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60)==0
        clients.end()
    assert not clients.lost and set(clients.answered)=={200}
    served = [line for line in server.log() if line['event']=='request' and line['path']=='/v1/predict']
    assert len(served)==len(clients.answered)

def test_killed_and_started_again_under_load(run):
    "What was under way when it was killed is lost; after the restart at the same port all is answered"
    with Process(run.path) as server:
        clients = Clients(server)
        server.wait_for(lambda: len(clients.answered)>40)
        server.process.kill()
        server.process.wait(30)
    with Process(run.path, port=server.port) as again:
        n,n_lost = len(clients.answered),len(clients.lost)
        again.wait_for(lambda: len(clients.answered)>n+40)
        clients.end()
    assert len(clients.lost)==n_lost<=16 and set(clients.answered)=={200} # at most what each client sent, and what it sent into the backlog
