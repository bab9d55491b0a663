"""Download a table of small images from a server on this machine: seconds, a kill -9 in the middle, and resuming.

    python benchmarks/fetch.py [--write]
"""
import os, signal, subprocess, sys, tempfile, time
from pathlib import Path
import pandas as pd
from bench import arguments, markdown, report

N,DELAY = 2000,0.01 # images, and seconds that the server takes for each
SERVER = Path(__file__).parent.parent/'tests/helpers/web_server.py'
COMMAND = [sys.executable, '-c', 'from fashion_fastai.cli import run_script; run_script()', 'data', 'fetch']

def start(folder, name):
    "Start `data fetch` on the table in `folder`"
    options = ['--out', str(folder/name), '--allow-private']
    return subprocess.Popen([*COMMAND, str(folder/'shop.csv'), *options], stdout=subprocess.DEVNULL)

def n_images(folder): return sum(1 for path in (folder/'images').rglob('*.jpg') if not path.name.startswith('.'))

def timed(folder, name):
    "Return seconds and number of new images of a download that nobody disturbs"
    before,begin = n_images(folder/name),time.perf_counter()
    assert start(folder, name).wait()==0
    return time.perf_counter()-begin,n_images(folder/name)-before

def killed(folder, name):
    "Kill a download when half of the images are there; return how many are whole"
    child = start(folder, name)
    while n_images(folder/name)<N//2: time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (folder/name/'shop.csv').exists()
    return n_images(folder/name)

def measured(folder)->list[list[str]]:
    "Return the rows of the report"
    server = subprocess.Popen([sys.executable, str(SERVER), str(DELAY)], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        pd.DataFrame(dict(image_url=[f'{url}/ok/{i}.jpg' for i in range(N)])).to_csv(folder/'shop.csv', index=False)
        seconds,new = timed(folder, 'whole')
        rows = [['all', f'{new:,}', f'{seconds:.1f}'], ['killed (-9)', f'{killed(folder, "half"):,}', '']]
        for label,name in (('resumed', 'half'), ('again, all there', 'whole')):
            seconds,new = timed(folder, name)
            rows.append([label, f'{new:,}', f'{seconds:.1f}'])
        assert len(pd.read_csv(folder/'half/shop.csv'))==N
        return rows
    finally: server.terminate()

if __name__=='__main__':
    args = arguments(__doc__, rounds=1)
    with tempfile.TemporaryDirectory() as folder: rows = measured(Path(folder))
    report('fetch', markdown(['download', 'new images', 'seconds'], rows), args.write)
