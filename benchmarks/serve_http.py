"""Requests per second and latency over HTTP on loopback: `fashion-fastai serve` by ONNX Runtime and by torch, and the
same network behind FastAPI and PyTorch as tutorials teach it (`peers/fastapi_torch.py`). One image in a request; 1, 8
and 32 clients that ask without a pause. The servers take turns, and wait while another one is measured. The clients run
on the same cores, in this process.

    python benchmarks/serve_http.py [TABLE] [--run RUN] [--rounds 5] [--seconds 10] [--write]

Without a run, linear heads are fitted for the table (`--epochs 0`).
"""
import asyncio, contextlib, shutil, socket, statistics, subprocess, sys, tempfile, time
from collections import defaultdict
from pathlib import Path
import httpx, numpy as np, psutil
from bench import arguments, markdown, report

CLIENTS = 1, 8, 32
TOOL = [sys.executable, '-m', 'fashion_fastai.cli']

def free_port():
    "Return a port that nobody listens on"
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]

class Served:
    "A server in a process of its own"
    def __init__(self, command):
        "Start `command`, in which PORT stands for the port, and wait until it is ready"
        port = free_port()
        self.url,started = f'http://127.0.0.1:{port}',time.perf_counter()
        command = [str(port) if word=='PORT' else word for word in command]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).parent)
        while not self.is_ready():
            if self.process.poll() is not None: raise SystemExit(f'ended: {" ".join(command)}')
            time.sleep(0.01)
        self.seconds_to_ready = time.perf_counter()-started

    def is_ready(self):
        "Return whether the server says that it is ready"
        try: return httpx.get(f'{self.url}/ready', timeout=1).status_code==200
        except httpx.TransportError: return False

    def megabytes(self):
        "Return the memory of the process"
        return psutil.Process(self.process.pid).memory_info().rss/1e6

    def __enter__(self): return self
    def __exit__(self, *args):
        self.process.terminate()
        self.process.wait(60)

def bodies(table, n=64):
    "Return request bodies with images of a table, and their content type"
    from fashion_fastai.serving.inputs import find_image_files
    paths = find_image_files(table).paths[:n]
    requests = [httpx.Request('POST', 'http://x', files={'files': ('a.jpg', Path(path).read_bytes(), 'image/jpeg')},
        headers={'Content-Type': 'multipart/form-data; boundary=bench'}) for path in paths]
    return [request.read() for request in requests]

async def _client(client, url, contents, until, seconds):
    "Ask until the time is over; append the seconds of each answer"
    headers = {'Content-Type': 'multipart/form-data; boundary=bench'}
    i = len(seconds) # clients begin with different images
    while (started := time.perf_counter())<until:
        response = await client.post(url, content=contents[i%len(contents)], headers=headers)
        response.raise_for_status()
        seconds.append(time.perf_counter()-started)
        i += 1

async def _load(url, contents, n, duration):
    "Return the seconds of all answers to `n` clients, and the answers per second"
    limits,latencies = httpx.Limits(max_connections=n, max_keepalive_connections=n),[]
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        started = time.perf_counter()
        url,until = f'{url}/v1/predict',started+duration
        await asyncio.gather(*[_client(client, url, contents, until, latencies) for _ in range(n)])
        return latencies,len(latencies)/(time.perf_counter()-started)

def measure(servers, contents, args):
    "Return latencies and rates by server and number of clients; servers take turns"
    latencies,rates = defaultdict(list),defaultdict(list)
    for round_ in range(args.rounds+1):
        duration = args.seconds if round_ else 1 # the first warms up
        for name,server in servers.items():
            for n in CLIENTS:
                found,rate = asyncio.run(_load(server.url, contents, n, duration))
                if not round_: continue
                latencies[name, n] += found
                rates[name, n].append(rate)
    return latencies,rates

def table_of(servers, latencies, rates):
    "Return the results as a Markdown table"
    rows = []
    for name,server in servers.items():
        for n in CLIENTS:
            ms = [f'{1000*value:.1f}' for value in np.percentile(latencies[name, n], (50, 95, 99))]
            rows.append([name, n, f'{statistics.median(rates[name, n]):.0f}', *ms, f'{server.megabytes():.0f}',
                f'{server.seconds_to_ready:.1f}'])
    return markdown(['server', 'clients', 'requests/s', 'p50 ms', 'p95 ms', 'p99 ms', 'MB', 's to ready'], rows)

def prepared_run(args, folder):
    "Return two copies of the run: with and without `model.onnx`"
    run = args.run or f'{folder}/fitted'
    train = [*TOOL, 'train', '--data', args.table, '--epochs', '0', '--out', run]
    if not args.run: subprocess.run(train, check=True, capture_output=True)
    for name in ('onnx', 'torch'):
        shutil.copytree(run, f'{folder}/{name}')
        Path(f'{folder}/{name}/model.onnx').unlink(missing_ok=True)
    export = [*TOOL, 'export', run, '--onnx', f'{folder}/onnx/model.onnx']
    subprocess.run(export, check=True, capture_output=True)
    return f'{folder}/onnx',f'{folder}/torch'

if __name__=='__main__':
    args = arguments(__doc__, rounds=5, seconds=10., run='')
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        onnx,torch = prepared_run(args, folder)
        commands = {'serve, ONNX Runtime': [*TOOL, 'serve', onnx, '--port', 'PORT'],
            'serve, torch': [*TOOL, 'serve', torch, '--port', 'PORT'],
            'plain FastAPI and torch': [sys.executable, '-m', 'peers.fastapi_torch', torch, 'PORT']}
        servers = {name: stack.enter_context(Served(command)) for name,command in commands.items()}
        latencies,rates = measure(servers, bodies(args.table), args)
        text = table_of(servers, latencies, rates)
    report('serve_http', text, args.write)
