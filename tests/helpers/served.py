"A small run that answers, requests for it, the command `serve` in a process of its own, and clients that load it"
import asyncio, base64, io, json, os, socket, subprocess, sys, threading, time
import httpx, numpy as np
from PIL import Image
from fashion_fastai.config import make_config
from fashion_fastai.embeddings.ood import fit_ood_detector, write_ood_detector
from fashion_fastai.models.inference import embed
from fashion_fastai.models.network import create_network, save_network
from fashion_fastai.run import start_run
from fashion_fastai.schema import Schema
from fashion_fastai.serving.api.app import create_api
from fashion_fastai.target import any_of, one_of

SCHEMA = Schema(targets=[one_of('category', ['dress', 'shirt', 'skirt']), any_of('attributes', ['belted', 'striped'])])
HALF = (0.5,)*3

def make_run(path, shift=0.):
    config = make_config('two-head', dict(model=dict(arch='fashion_cnn3', weights='none'), image=dict(size=32, mean=HALF, std=HALF)))
    run,network = start_run(path, config, SCHEMA),create_network(SCHEMA, 'fashion_cnn3', 32, 'none')
    for param in network.parameters(): param.data += shift
    save_network(network, run.model)
    noise = np.random.default_rng(0).integers(0, 255, (40,32,32,3), dtype=np.uint8)
    write_ood_detector(run, fit_ood_detector(embed(network.body.eval(), noise, HALF, HALF)))
    return run

def exported_run(path):
    "A run with its ONNX file beside the weights; a table of four images is made for the check"
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.serving.onnx_export import export_onnx
    folder = path.with_name(f'{path.name}-table')
    folder.mkdir(parents=True)
    for i in range(4): (folder/f'{i}.jpg').write_bytes(jpeg(i))
    (folder/'labels.csv').write_text('file,category,attributes\n'+''.join(f'{i}.jpg,dress,belted\n' for i in range(4)))
    run = make_run(path)
    export_onnx(run, run.onnx, read_catalogue(folder/'labels.csv', schema=SCHEMA))
    return run

def jpeg(seed=0, side=60):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side,side,3), dtype=np.uint8)).save(file, 'JPEG')
    return file.getvalue()

def form(*contents): return [('files', (f'{i}.jpg', content, 'image/jpeg')) for i,content in enumerate(contents)]
def base64_body(*contents): return dict(images=[dict(name=f'{i}.jpg', base64=base64.b64encode(content).decode()) for i,content in enumerate(contents)])

# ---- in this process

def in_api(service, work, **kwargs):
    "Return what `work(client)` returns, with the API in the same event loop"
    async def inside():
        api = create_api(service, **kwargs)
        async with api.router.lifespan_context(api), httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url='http://api') as client:
            return await work(client)
    return asyncio.run(inside())

def refusal(response):
    assert response.headers['content-type']=='application/problem+json', response.text
    body = response.json()
    assert set(body)=={'status', 'code', 'detail'} and body['status']==response.status_code
    return response.status_code,body['code']

# ---- a process

def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]

class Process:
    "The command in a process of its own"
    def __init__(self, path, *options, code='from fashion_fastai.cli import run_script; run_script()', port=None, python=sys.executable, **env):
        self.port = port = port or free_port()
        self.url = f'http://127.0.0.1:{port}'
        command = [python, '-c', code, 'serve', str(path), '--port', str(port), *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ|env)
    def __enter__(self):
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()
        self.wait_for(lambda: httpx.get(f'{self.url}/ready').status_code==200)
        return self
    def wait_for(self, condition, seconds=120):
        until = time.monotonic()+seconds
        while time.monotonic()<until:
            assert self.process.poll() is None, ''.join(self.lines)
            try:
                if condition(): return
            except httpx.TransportError: pass
            time.sleep(0.1)
        raise AssertionError(''.join(self.lines))
    def __exit__(self, *args):
        if self.process.poll() is None: self.process.kill()
        self.process.wait(10)
        self.reader.join(10)
    def log(self): return [json.loads(line) for line in self.lines]

class Load:
    "Clients that ask without a pause, each on one connection"
    def __init__(self, url, n=4):
        self.url,self.stopped,self.answers,self.errors = url,threading.Event(),[],[]
        self.threads = [threading.Thread(target=self.ask, args=(i,)) for i in range(n)]
        for thread in self.threads: thread.start()
    def ask(self, i):
        content = jpeg(i)
        with httpx.Client(timeout=30) as client:
            while not self.stopped.is_set():
                try: self.answers.append((time.monotonic(), client.post(f'{self.url}/v1/predict', files=form(content))))
                except httpx.TransportError as e:
                    self.errors.append((time.monotonic(), e))
                    return
    def end(self):
        self.stopped.set()
        for thread in self.threads: thread.join(60)
