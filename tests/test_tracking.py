"Trackers log what the history has, on this machine, and never end a training"
import contextlib, importlib.util, json, os, signal, socket, subprocess, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
import pandas as pd, pytest
from helpers.interrupted import SMALL
from fashion_fastai.cli import main
from fashion_fastai.config import make_config
from fashion_fastai.core.errors import UsageError
from fashion_fastai.experiments.train import train
from fashion_fastai.training.checkpoint import Checkpoints
from fashion_fastai.training.interrupt import TrainingInterrupted

NAMES = 'tensorboard', 'wandb', 'mlflow'
TARGET = 'kind: (main)/..' # a name with characters that trackers and file systems reserve

def need(name):
    "Skip the test if the package of a tracker is not installed"
    if name=='mlflow': os.environ['MLFLOW_ALLOW_FILE_STORE'] = 'true' # also needed to import it
    pytest.importorskip(name)

@pytest.fixture(scope='module')
def few(sample):
    "A small table"
    table = pd.read_csv(sample, keep_default_na=False).rename(columns=dict(category=TARGET))
    table = pd.concat([table[table.split=='train'].head(32), table[table.split=='valid'].head(16)])
    table.to_csv(sample.parent/'tracked.csv', index=False)
    return sample.parent/'tracked.csv'

@pytest.fixture
def quiet(monkeypatch, tmp_path):
    "No report, no environment variables of trackers, an empty working directory, and local connections only"
    for name in ('save_figures', 'write_report'): # they take longer than the training
        monkeypatch.setattr(f'fashion_fastai.evaluation.artifacts.{name}', lambda *args: None)
    for name in [name for name in os.environ if name.startswith(('WANDB_', 'MLFLOW_'))]: monkeypatch.delenv(name)
    (tmp_path/'here').mkdir()
    monkeypatch.chdir(tmp_path/'here')
    connect = socket.socket.connect
    def connect_locally(self, address):
        local = self.family==socket.AF_UNIX or address[0] in ('127.0.0.1', 'localhost', '::1')
        assert local, f'a connection to {address}'
        return connect(self, address)
    monkeypatch.setattr(socket.socket, 'connect', connect_locally)

def config(table, *names, epochs=3):
    data = dict(path=str(table), one_of=[TARGET], any_of=['attributes'])
    training = dict(epochs=epochs, batch_size=16, unfreeze='gradual', log=list(names))
    return make_config('two-head', SMALL, dict(data=data, training=training))

def on_batch(monkeypatch, number, action):
    "Call `action` before the checkpoint of a batch; batches count from 1"
    original,batches = Checkpoints.after_batch,[]
    def after_batch(self):
        batches.append(0)
        if len(batches)==number: action()
        original(self)
    monkeypatch.setattr(Checkpoints, 'after_batch', after_batch)

def interrupt_after(monkeypatch, number): on_batch(monkeypatch, number, lambda: signal.raise_signal(signal.SIGTERM))

# what a tracker has logged: the values by name and epoch, and the settings

def logged_by_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(run/'log/tensorboard')).Reload()
    text = events.Tensors('settings/text_summary')[0].tensor_proto.string_val[0].decode()
    cells = [line.strip('|').split('|', 1) for line in text.splitlines()[2:]]
    values = {}
    for tag in events.Tags()['scalars']:
        scalars = events.Scalars(tag)
        values[tag] = {scalar.step: scalar.value for scalar in scalars}
        assert len(scalars)==len(values[tag]) # each epoch once
    return values,{name.strip(): value.strip() for name,value in cells}

def logged_by_mlflow(run):
    from mlflow import MlflowClient
    client = MlflowClient((run/'log/mlflow').as_uri())
    tracked, = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert (tracked.info.status, tracked.info.run_name)==('FINISHED', run.name)
    values = {}
    for name in tracked.data.metrics:
        history = client.get_metric_history(tracked.info.run_id, name)
        values[name.replace('kind_ _main_/_..', TARGET)] = {metric.step: metric.value for metric in history}
    return values,tracked.data.params

def wandb_records(file):
    "Read an offline file: a LevelDB log (blocks of 32 KB; checksum, length, kind) after a header of 7 bytes"
    data,at,record = file.read_bytes(),7,b''
    while at+7<=len(data):
        left = 32768-at%32768
        if left<7: at += left
        n,kind = int.from_bytes(data[at+4:at+6], 'little'),data[at+6]
        record += data[at+7:at+7+n]
        at += 7+n
        if kind in (1, 4): # whole, or its last fragment
            yield record
            record = b''

def logged_by_wandb(run):
    from wandb.proto.wandb_internal_pb2 import Record
    values,settings,ids = {},{},set()
    files = sorted(run.glob('log/wandb/offline-run-*/*.wandb'))
    for record in (Record.FromString(record) for file in files for record in wandb_records(file)):
        if record.HasField('run'):
            ids.add(record.run.run_id)
            settings |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        row = {item.key or '/'.join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for name,value in row.items(): values.setdefault(name, {})[row['epoch']] = value
    assert len(ids)==1
    return {name: value for name,value in values.items() if not name.startswith('_') and name!='epoch'},settings

LOGGED = dict(tensorboard=logged_by_tensorboard, mlflow=logged_by_mlflow, wandb=logged_by_wandb)

def check(name, run):
    "Assert that a tracker has every value of history.csv under its name, and the settings"
    values,settings = LOGGED[name](run)
    history = pd.read_csv(run/'history.csv').set_index('epoch')
    history = history.loc[:,history.notna().any()]
    assert set(values)==set(history.columns) and {f'valid/{TARGET}/accuracy','train/attributes/loss','lr'}<=set(values)
    for name,column in history.items():
        expected = column.dropna().to_dict()
        assert values[name].keys()==expected.keys()
        for epoch,value in expected.items(): assert values[name][epoch]==pytest.approx(value, rel=1e-5)
    assert str(settings['training.batch_size'])=='16' and settings['model.arch']=='resnet10t'

@pytest.mark.parametrize('name', NAMES)
def test_a_tracker_has_the_history_of_a_resumed_training(name, few, quiet, tmp_path, monkeypatch):
    need(name)
    out = tmp_path/'run'
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted):
        interrupt_after(patched, 4) # in the second of three epochs, and of three stages
        train(config(few, name), out, lambda _: None)
    train(None, out, lambda _: None, resume=True)
    check(name, out)
    assert list(Path.cwd().iterdir())==[]
    assert {path.name for path in (out/'log').iterdir()}<={name, 'trackers.json'}
    assert not [path for path in (out/'log').rglob('*') if path.suffix in ('.safetensors', '.pth', '.jpg', '.png')]

def test_several_trackers_from_the_command_line(few, quiet, tmp_path, capsys):
    for name in ('tensorboard', 'mlflow'): need(name)
    args = ['--data', str(few), '--one-of', TARGET, '--any-of', 'attributes', '--arch', 'resnet10t',
        '--weights', 'none', '--size', '32', '--epochs', '1', '--batch-size', '16']
    assert main(['train', *args, '--log', 'tensorboard', '--log', 'mlflow', '--out', str(tmp_path/'run')])==0
    assert f'log: tensorboard, tensorboard --logdir {tmp_path}/run/log/tensorboard' in capsys.readouterr().err
    for name in ('tensorboard', 'mlflow'): check(name, tmp_path/'run')
    assert main(['train', *args, '--log', 'tensorbord', '--out', str(tmp_path/'other')])==2
    assert not (tmp_path/'other').exists()

@pytest.mark.parametrize('name', NAMES)
def test_a_missing_package_is_an_error_before_anything_is_written(name, few, quiet, tmp_path, monkeypatch):
    monkeypatch.setattr('fashion_fastai.training.tracking.find_spec', lambda package: None)
    message = rf"--log {name} needs the package {name}: pip install 'fashion_fastai\[log\]'"
    with pytest.raises(UsageError, match=message):
        train(config(few, name), tmp_path/'run', lambda _: None)
    assert not (tmp_path/'run').exists()

def test_a_folder_of_that_name_is_not_a_package(few, quiet, tmp_path, monkeypatch):
    (tmp_path/'here/wandb').mkdir()
    folder = importlib.util.spec_from_loader('wandb', None) # what Python finds for a folder without an __init__.py
    monkeypatch.setattr('fashion_fastai.training.tracking.find_spec', lambda package: folder)
    with pytest.raises(UsageError, match='needs the package wandb'):
        train(config(few, 'wandb'), tmp_path/'run', lambda _: None)

# trackers that fail

INFO = dict(run_id='r1', run_uuid='r1', experiment_id='1', status='RUNNING', artifact_uri='mlflow-artifacts:/r1')
REPLIES = {'experiments/get-by-name': dict(experiment=dict(experiment_id='1', name='fashion_fastai')),
    'runs/create': dict(run=dict(info=INFO, data={})), 'runs/get': dict(run=dict(info=INFO, data={})),
    'runs/update': dict(run_info=INFO)}

class Server:
    "A minimal MLflow server; it does not answer a request if `silent(path)` is true"
    def __init__(self):
        self.requests,self.metrics,self.silent = [],{},lambda path: False
        server = self
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args): pass
            def answer(self): server.answer(self)
            do_GET = do_POST = answer
        self.http = HTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers.get('Content-Length') or 0)) or '{}')
        path = handler.path.partition('?')[0].rsplit('mlflow/')[-1]
        self.requests.append(path)
        if self.silent(path):
            handler.close_connection = True
            return
        for metric in body.get('metrics', []):
            self.metrics.setdefault(metric['key'], []).append((int(metric['step']), metric['value']))
        reply = json.dumps(REPLIES.get(path, {})).encode()
        handler.send_response(200)
        handler.send_header('Content-Type', 'application/json')
        handler.send_header('Content-Length', str(len(reply)))
        handler.end_headers()
        handler.wfile.write(reply)

@pytest.fixture
def server(quiet, monkeypatch):
    need('mlflow')
    server = Server()
    monkeypatch.setenv('MLFLOW_TRACKING_URI', f'http://127.0.0.1:{server.http.server_port}')
    monkeypatch.setenv('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '0')
    yield server
    server.http.shutdown()
    server.http.server_close()

def warnings_of(lines): return [line for line in lines if line.startswith('warning: --log mlflow: ')]

def test_rows_that_a_server_missed_are_sent_at_the_end(server, few, tmp_path):
    def silent(path): return path=='runs/log-batch' and server.requests.count(path)==3 # after the settings and an epoch
    server.silent = silent
    lines = []
    train(config(few, 'mlflow'), tmp_path/'run', lines.append)
    assert any(line.endswith('the remaining epochs are sent when the training ends') for line in warnings_of(lines))
    assert [step for step,_ in server.metrics['train/loss']]==[1,2,3] and (tmp_path/'run/metrics.json').is_file()
    assert not (tmp_path/'run/log/mlflow').exists()

def test_a_server_that_stays_silent_does_not_end_a_training(server, few, tmp_path, monkeypatch):
    server.silent = lambda path: len(server.requests)>4
    lines = []
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted):
        interrupt_after(patched, 4)
        train(config(few, 'mlflow'), tmp_path/'run', lines.append)
    train(None, tmp_path/'run', lines.append, resume=True) # not even the tracker's run can be opened
    assert len(warnings_of(lines))>=2 and lines[-1].endswith('epochs that were not sent are in history.csv')
    assert len(pd.read_csv(tmp_path/'run/history.csv'))==3 and (tmp_path/'run/metrics.json').is_file()

def test_a_server_that_never_answers_is_an_error_before_the_first_step(server, few, tmp_path):
    server.silent = lambda path: True
    with pytest.raises(UsageError, match='^--log mlflow: '):
        train(config(few, 'mlflow'), tmp_path/'run', lambda _: None)
    assert not (tmp_path/'run/history.csv').exists()

@pytest.mark.parametrize('batch', [2, 9]) # in the first epoch; in the validation of the last
def test_a_tracker_whose_process_dies_does_not_end_a_training(few, quiet, tmp_path, monkeypatch, batch):
    need('wandb')
    lines,kill = [],['pkill', '-9', '-P', str(os.getpid()), 'wandb-core'] # only a child of this process
    on_batch(monkeypatch, batch, lambda: subprocess.run(kill, check=True))
    try: train(config(few, 'wandb'), tmp_path/'run', lines.append)
    finally:
        with contextlib.suppress(ConnectionError): # otherwise wandb keeps asking the dead process
            importlib.import_module('wandb').teardown()
    assert lines[-1].startswith('warning: --log wandb: ') and (tmp_path/'run/metrics.json').is_file()
