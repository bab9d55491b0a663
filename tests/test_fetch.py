"`data fetch` against a server on this machine that is slow, lies, hangs, redirects and attacks"
import os, signal, socket, subprocess, sys, time
from pathlib import Path
import pandas as pd, pytest
from helpers.web_server import Server
from fashion_fastai.cli import main
from fashion_fastai.core import web
from fashion_fastai.core.errors import UsageError
from fashion_fastai.core.web import Downloader, DownloadError
from fashion_fastai.data import fetch
from fashion_fastai.data.fetch import FetchLimits, fetch_table

real_is_public = web.is_public

@pytest.fixture
def server():
    with Server() as server: yield server

@pytest.fixture
def public(monkeypatch):
    "127.0.0.1 counts as public, and no other private address does"
    monkeypatch.setattr(web, 'is_public', lambda address: address=='127.0.0.1' or real_is_public(address))

def fetched(tmp_path, addresses, **limits):
    "Fetch a table of addresses; return the files and the reasons by address, and the report"
    pd.DataFrame(dict(image_url=addresses, category='dress')).to_csv(tmp_path/'shop.csv', index=False)
    report = fetch_table(tmp_path/'shop.csv', tmp_path/'out', limits=FetchLimits(**limits))
    table = pd.read_csv(report.table)
    for cell in table.file: assert all((tmp_path/'out'/name).is_file() for name in cell.split(';'))
    failed = pd.read_csv(report.failed) if report.failed else pd.DataFrame(columns=['image_url', 'reason'])
    return dict(zip(table.image_url, table.file)),dict(zip(failed.image_url, failed.reason)),report

def test_a_table_is_fetched_once_and_can_be_trained_on(server, public, tmp_path):
    urls = [f'{server.url}/{path}' for path in ('ok/0.jpg', 'ok/1.jpg', 'moved/2.jpg', 'chunked/3.jpg', 'busy/4.jpg', 'flaky/5.jpg', 'ok/0.jpg')]
    files,reasons,report = fetched(tmp_path, urls)
    assert not reasons and set(files)==set(urls) and (report.rows, report.new)==(7, 6)
    seen = dict(server.seen)
    assert seen['/ok/0.jpg']==1 and seen['/busy/4.jpg']==2
    again = fetched(tmp_path, urls)[2]
    assert again.new==0 and server.seen==seen
    assert main(['data', 'describe', str(report.table), '--one-of', 'category'])==0

def test_the_command_prints_what_came_and_what_failed(server, public, tmp_path, capsys):
    pd.DataFrame(dict(id=[1,2,3], photo=[f'{server.url}/ok/1.jpg', f'{server.url}/404/2.jpg', 'img/3.jpg'])).to_csv(tmp_path/'my shop.csv', index=False)
    assert main(['data', 'fetch', str(tmp_path/'my shop.csv'), '--out', str(tmp_path/'out')])==0
    said = capsys.readouterr()
    assert 'my shop.csv' in said.out and '404 Not Found' in said.err and 'my shop.failed.csv' in said.err
    assert pd.read_csv(tmp_path/'out/my shop.failed.csv').reason.tolist()==['404 Not Found', 'is no address (https://, http://, s3:// and so on)']

def test_a_cell_may_hold_several_addresses(server, public, tmp_path):
    "Feeds put all images of a product into one cell, as a list or with separators; one that fails does not cost the others"
    both,first = f'{server.url}/ok/1.jpg, {server.url}/ok/2.jpg',f'["{server.url}/ok/3.jpg", "{server.url}/404/4.jpg"]'
    files,reasons,report = fetched(tmp_path, [both, first])
    assert len(files[both].split(';'))==2 and ';' not in files[first] and reasons=={first: '404 Not Found'} and report.new==3
    assert main(['data', 'describe', str(report.table), '--one-of', 'category'])==0

ATTACKS = {'404/1': '404 Not Found', 'html/1': 'is not an image but a page of HTML', 'htmljpg/1': 'is not an image', 'bomb/1': 'megapixels', 'big/1': 'has more than 1 MB',
    'endless/1': 'has more than 1 MB', 'gzip/1': 'is compressed by the server', 'shorter/1': 'is damaged', 'loop/1': 'redirects more than 5 times', 'tomorrow/1': 'asks to wait 86,400 s',
    'to/file:///etc/passwd': 'is no address of a web server', 'to/http://169.254.169.254/latest/meta-data/': '169.254.169.254, a private address',
    'to/http://[::1]/': '::1, a private address', 'to/http://127.0.0.2:{port}/ok/1.jpg': '127.0.0.2, a private address', 'to/http://0x7f000002:{port}/ok/1.jpg': 'is at 127.0.0.2, a private address',
    'to/gopher://127.0.0.1/': 'is no address of a web server', 'to/http://user:word@127.0.0.1:{port}/ok/1.jpg': 'holds a user name'}

@pytest.mark.parametrize('path', ATTACKS)
def test_attacks_end_with_a_reason(server, public, path):
    address = f'{server.url}/{path.format(port=server.server_address[1])}'
    _,reason = attacked(address)
    assert ATTACKS[path] in reason, reason
    assert not [seen for seen in server.seen if seen.startswith('/ok')]

def attacked(address, seconds=20.):
    "Return how an address ends after one try"
    schedule = fetch.Schedule([address])
    task,error = schedule.take(),None
    try: return fetch._fetch_image(address, Downloader(1_000_000, seconds), Path('never')),''
    except DownloadError as e: error = e
    return error.again,schedule.report(task, error) or str(error)

@pytest.mark.parametrize('path', ['hang/1', 'trickle/1', 'head/1'])
def test_slow_servers_end_in_time(server, public, path):
    start = time.monotonic()
    again,reason = attacked(f'{server.url}/{path}', 0.5)
    assert again and ('took more than 0.5 s' in reason or 'does not answer' in reason) and time.monotonic()-start<10

@pytest.mark.parametrize('path, reason', [('longer/1', 'broke off after 200 of 5,000 bytes'), ('500/1', '500 Internal'), ('nonsense/1', '127.0.0.1: ')])
def test_what_may_pass_is_tried_again(server, public, path, reason):
    again,said = attacked(f'{server.url}/{path}')
    assert again and reason in said

def test_nothing_is_sent_to_a_private_address(server, tmp_path):
    with pytest.raises(UsageError, match='127.0.0.1, a private address; --allow-private would read it'): fetched(tmp_path, [f'{server.url}/ok/{i}.jpg' for i in range(3)])
    assert not server.seen
    assert len(fetched(tmp_path, [f'{server.url}/ok/{i}.jpg' for i in range(3)], allow_private=True)[0])==3

def test_a_name_that_resolves_to_a_private_address_is_refused(server, public, monkeypatch):
    "Looked up once: the second answer, that of a rebinding attack, is never asked for"
    asked = []
    def look_up(host, port, **kwargs):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (address, port)) for address in ('93.184.215.14', '10.0.0.7')]
    monkeypatch.setattr(web.socket, 'getaddrinfo', look_up)
    assert 'shop.example is at 10.0.0.7, a private address' in attacked('http://shop.example/1.jpg')[1]
    assert asked==['shop.example']

def test_a_server_gets_few_requests_at_a_time(tmp_path):
    with Server(delay=0.05) as server:
        fetched(tmp_path, [f'{server.url}/ok/{i}.jpg' for i in range(20)], allow_private=True, per_host=3)
        assert server.most_active<=3

def test_a_dead_server_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, 'MAX_FAILURES', 3)
    with socket.socket() as closed: # a port where nobody listens
        closed.bind(('127.0.0.1', 0))
        port = closed.getsockname()[1]
        with pytest.raises(UsageError, match='times in a row'): fetched(tmp_path, [f'http://127.0.0.1:{port}/{i}.jpg' for i in range(50)], allow_private=True)
    assert len(pd.read_csv(tmp_path/'out/shop.failed.csv'))==50

def test_object_stores_name_their_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 's3fs', None)
    with pytest.raises(UsageError, match='s3:// needs s3fs: pip install s3fs'): fetched(tmp_path, ['s3://bucket/1.jpg'])

def test_objects_are_read_with_fsspec(tmp_path, monkeypatch):
    import fsspec
    from helpers.web_server import jpeg
    monkeypatch.setitem(fetch.OBJECT_STORES, 'memory', 'fsspec')
    with fsspec.open('memory://bucket/1.jpg', 'wb') as file: file.write(jpeg(0))
    files,reasons,_ = fetched(tmp_path, ['memory://bucket/1.jpg', 'memory://bucket/2.jpg', 'memory::file:///etc/passwd'])
    assert list(files)==['memory://bucket/1.jpg']
    assert reasons=={'memory://bucket/2.jpg': 'no such object', 'memory::file:///etc/passwd': 'is no address (https://, http://, s3:// and so on)'}

def test_a_killed_download_is_resumed(tmp_path):
    with Server(delay=0.02) as server:
        pd.DataFrame(dict(image_url=[f'{server.url}/ok/{i}.jpg' for i in range(300)])).to_csv(tmp_path/'shop.csv', index=False)
        command = [sys.executable, '-c', 'from fashion_fastai.cli import run_script; run_script()', 'data', 'fetch', str(tmp_path/'shop.csv'), '--out', str(tmp_path/'out'), '--allow-private']
        child = subprocess.Popen(command)
        while len(server.seen)<50: time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        before = len([path for path in (tmp_path/'out/images').rglob('*.jpg') if not path.name.startswith('.')])
        assert 30<before<300 and not (tmp_path/'out/shop.csv').exists()
        report = fetch_table(tmp_path/'shop.csv', tmp_path/'out', limits=FetchLimits(allow_private=True))
        assert (report.rows, report.new)==(300, 300-before)
        assert not [path for path in (tmp_path/'out').rglob('.*')]
