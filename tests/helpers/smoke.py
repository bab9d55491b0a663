"""Run every command of an installed wheel on small data, in a folder without the source

    python tests/helpers/smoke.py BIN [FOLDER]     BIN is the installed fashion-fastai; FOLDER is new, default: a temporary one

It needs nothing but Python. A command whose extra is not installed must say which one; whatever else fails ends with exit code 1.
"""
import functools, http.server, json, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

SMALL = '--arch test_resnet --weights none --size 32 --seed 1 --batch-size 16'.split()
TABLE,RUN = 'sample/labels.csv','runs/a'
COMPARISON = 'title: Two seeds\nruns:\n- {name: first}\n- {name: second, settings: {training: {seed: 2}}}\n'

def commands(port):
    "Return every command with its arguments, in an order in which each finds what it needs"
    train = ['--data', TABLE, *SMALL, '--epochs', '1']
    return [
        ('recipes', []), ('bodies', []),
        ('data sample', ['--out', 'sample', '--n', '120', '--size', '48']),
        ('data describe', [TABLE]),
        ('data split', [TABLE, '--out', 'split.csv']),
        ('data convert', ['tree', '--format', 'folders', '--out', 'converted.csv']),
        ('data fetch', ['addresses.csv', '--out', 'fetched', '--allow-private']),
        ('data explore', [TABLE, '--out', 'explored']),
        ('data audit', [TABLE, *SMALL[:6], '--out', 'audited']),
        ('data tasks', [TABLE, '--out', 'tasks.json']),
        ('data merge', [TABLE, 'annotated.json', '--out', 'merged.csv']),
        ('lr-find', ['--data', TABLE, *SMALL, '--plot', 'rates.png']),
        ('train', [*train, '--out', RUN]), ('train', [*train, '--out', 'runs/b', '--set', 'training.lr=0.001']),
        ('evaluate', [RUN, '--out', 'scores.json']), ('calibrate', [RUN]),
        ('predict', [RUN, 'sample/images', '--out', 'results.csv']),
        ('embed', [TABLE, '--run', RUN, '--out', 'embeddings.parquet']),
        ('similar', [RUN, 'one.jpg', '--k', '3', '--out', 'similar.png']),
        ('soup', ['runs/a', 'runs/b', '--out', 'runs/soup']),
        ('compare', ['two.yaml', *train, '--out', 'compared']),
        ('tune', [*train, '--space', 'rate', '--trials', '1', '--minutes', '5', '--out', 'tuned']),
        ('export', [RUN, '--onnx', f'{RUN}/model.onnx']),
        ('push', [RUN, 'no name of a repository']),
        ('serve', [RUN, '--port', str(port)]),
        ('app', [RUN, '--port', str(port)]),
        ('data review', [TABLE, '--audit', 'audited', '--out', 'reviewed', '--port', str(port)]),
    ]

ADDRESS = {'serve': '/ready', 'app': '/_stcore/health', 'data review': '/_stcore/health'} # commands that run until they are stopped
REFUSED = {'push'} # it needs an account: here it only says so, or what is wrong with the name
EXTRAS = {'tune': 'tune', 'export': 'onnx', 'serve': 'serve', 'app': 'app', 'data review': 'app'}

def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

def serve_files(folder):
    "Serve a folder on a thread; return the address"
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}'

def prepare(name, folder):
    "Make what a command needs and no other one has written"
    if name=='data convert':
        images = sorted((folder/'sample/images').iterdir())
        for i,image in enumerate(images[:20]):
            target = folder/'tree'/('dress' if i%2 else 'shirt')/image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, target)
    if name=='data fetch':
        images = sorted((folder/'sample/images').iterdir())[:5]
        address = serve_files(folder/'sample/images')
        (folder/'addresses.csv').write_text('\n'.join(['address,category', *(f'{address}/{image.name},dress' for image in images)])+'\n')
    if name=='data merge':
        tasks = json.loads((folder/'tasks.json').read_text())
        for task in tasks: task['annotations'] = []
        (folder/'annotated.json').write_text(json.dumps(tasks))
    if name=='similar': shutil.copy(sorted((folder/'sample/images').iterdir())[0], folder/'one.jpg')
    if name=='compare': (folder/'two.yaml').write_text(COMPARISON)

def answers(process, url, seconds):
    "Wait until a server answers; return whether it did"
    until = time.monotonic()+seconds
    while time.monotonic()<until and process.poll() is None:
        try:
            with urlopen(url, timeout=2): return True
        except (URLError, OSError): time.sleep(0.3)
    return False

def call(binary, name, args, folder, port, seconds):
    "Run a command; return what is wrong, empty if nothing is"
    environment = {key: value for key,value in os.environ.items() if key!='PYTHONPATH' or '--keep-path' in sys.argv}
    environment |= dict(FASHION_CACHE=str(folder/'cache'), COLUMNS='160')
    log = folder/'log.txt'
    with log.open('w') as out:
        process = subprocess.Popen([binary, *name.split(), *args], cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            if name in ADDRESS and answers(process, f'http://127.0.0.1:{port}{ADDRESS[name]}', seconds): process.send_signal(signal.SIGTERM)
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            code = 'no end'
    said = log.read_text(errors='replace')
    if code==2 and name in EXTRAS and f'fashion_fastai[{EXTRAS[name]}' in said: return f'needs [{EXTRAS[name]}]'
    return '' if code==(2 if name in REFUSED else 0) else f'exit code {code}:\n{said[-3000:]}'

def smoke(binary, folder, seconds=900):
    "Run all commands; return the names of those that failed"
    failed,port = [],free_port()
    for name,args in commands(port):
        prepare(name, folder)
        start = time.monotonic()
        wrong = call(binary, name, args, folder, port, seconds)
        ok = not wrong or wrong.startswith('needs')
        print(f'{name:14} {time.monotonic()-start:6.1f} s  {wrong.splitlines()[0] if wrong else "done"}', flush=True)
        if not ok:
            print(wrong, flush=True)
            failed.append(name)
    return failed

if __name__=='__main__':
    words = [word for word in sys.argv[1:] if not word.startswith('--')]
    folder = Path(words[1] if len(words)>1 else tempfile.mkdtemp(prefix='smoke-')).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    failed = smoke(str(Path(words[0]).absolute()), folder)
    print('failed: '+', '.join(failed) if failed else 'every command works')
    sys.exit(bool(failed))
