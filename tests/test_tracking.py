"Trackers have what the history has, on this machine, and never end a training"
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

def need(name):
    "Skip the test where the package is absent"
    if name=='mlflow': os.environ['MLFLOW_ALLOW_FILE_STORE'] = 'true' # it asks when it is imported too
    pytest.importorskip('tensorboard' if name=='tensorboard' else name)

@pytest.fixture(scope='module')
def few(sample):
    "A small table, with a target whose name no file system would like"
    table = pd.read_csv(sample, keep_default_na=False).rename(columns=dict(category='kind: (main)/..'))
    table = pd.concat([table[table.split=='train'].head(32), table[table.split=='valid'].head(16)])
    table.to_csv(sample.parent/'tracked.csv', index=False)
    return sample.parent/'tracked.csv'

@pytest.fixture
def quiet(monkeypatch, tmp_path):
    "No report, no variables of the user's, an empty working folder, and no way out of this machine"
    for o in ('save_figures', 'write_report'): monkeypatch.setattr(f'fashion_fastai.evaluation.artifacts.{o}', lambda *args: None) # they take longer than the training
    for o in [o for o in os.environ if o.startswith(('WANDB_', 'MLFLOW_'))]: monkeypatch.delenv(o)
    (tmp_path/'here').mkdir()
    monkeypatch.chdir(tmp_path/'here')
    connect = socket.socket.connect
    def inside(self, address):
        assert self.family==socket.AF_UNIX or address[0] in ('127.0.0.1', 'localhost', '::1'), f'a connection to {address}'
        return connect(self, address)
    monkeypatch.setattr(socket.socket, 'connect', inside)

def config(table, *names, epochs=3):
    data = dict(path=str(table), one_of=['kind: (main)/..'], any_of=['attributes'])
    return make_config('two-head', SMALL, dict(data=data, training=dict(epochs=epochs, batch_size=16, unfreeze='gradual', log=list(names))))

def cut_after(monkeypatch, n):
    "A signal after so many batches"
    was,seen = Checkpoints.after_batch,[]
    def after_batch(self):
        seen.append(0)
        if len(seen)==n: signal.raise_signal(signal.SIGTERM)
        was(self)
    monkeypatch.setattr(Checkpoints, 'after_batch', after_batch)

# what a tracker has kept: for each name the values by epoch, and the settings

def kept_by_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(run/'log/tensorboard')).Reload()
    text = events.Tensors('settings/text_summary')[0].tensor_proto.string_val[0].decode()
    settings = {k.strip(): v.strip() for k,v in (o.strip('|').split('|', 1) for o in text.splitlines()[2:])}
    assert all(len(events.Scalars(o))==len({s.step for s in events.Scalars(o)}) for o in events.Tags()['scalars']) # each epoch once
    return {o: {s.step: s.value for s in events.Scalars(o)} for o in events.Tags()['scalars']},settings

def kept_by_mlflow(run):
    from mlflow import MlflowClient
    client = MlflowClient((run/'log/mlflow').as_uri())
    found, = client.search_runs([o.experiment_id for o in client.search_experiments()])
    assert (found.info.status, found.info.run_name)==('FINISHED', run.name)
    names = {o.replace('kind_ _main_/_..', 'kind: (main)/..'): o for o in found.data.metrics}
    return {k: {m.step: m.value for m in client.get_metric_history(found.info.run_id, o)} for k,o in names.items()},found.data.params

def wandb_records(file):
    "The records of an offline file: a LevelDB log (blocks of 32 KB; checksum, length, kind) behind a header of 7 bytes"
    data,at,parts = file.read_bytes(),7,b''
    while at+7<=len(data):
        left = 32768-at%32768
        if left<7: at += left
        n,kind = int.from_bytes(data[at+4:at+6], 'little'),data[at+6]
        parts += data[at+7:at+7+n]
        at += 7+n
        if kind in (1, 4): # whole, or the last part
            yield parts
            parts = b''

def kept_by_wandb(run):
    from wandb.proto.wandb_internal_pb2 import Record
    values,settings,ids = {},{},set()
    for file in sorted(run.glob('log/wandb/offline-run-*/*.wandb')):
        for record in map(Record.FromString, wandb_records(file)):
            if record.HasField('run'):
                ids.add(record.run.run_id)
                settings |= {o.key: json.loads(o.value_json) for o in record.run.config.update}
            row = {o.key or '/'.join(o.nested_key): json.loads(o.value_json) for o in record.history.item}
            for k,v in row.items(): values.setdefault(k, {})[row['epoch']] = v
    assert len(ids)==1
    return {k: v for k,v in values.items() if not k.startswith('_') and k!='epoch'},settings

KEPT = dict(tensorboard=kept_by_tensorboard, mlflow=kept_by_mlflow, wandb=kept_by_wandb)

def check(name, run):
    "A tracker has every number of history.csv under its name, and the settings"
    values,settings = KEPT[name](run)
    history = pd.read_csv(run/'history.csv').set_index('epoch')
    history = history.loc[:,history.notna().any()]
    assert set(values)==set(history.columns) and 'valid/kind: (main)/../accuracy' in values and 'train/attributes/loss' in values and 'lr' in values
    for k,column in history.items():
        assert values[k].keys()==column.dropna().to_dict().keys()
        for epoch,value in column.dropna().items(): assert values[k][epoch]==pytest.approx(value, rel=1e-5)
    assert str(settings['training.batch_size'])=='16' and settings['model.arch']=='resnet10t'

@pytest.mark.parametrize('name', NAMES)
def test_a_tracker_has_what_the_history_has_over_a_cut(name, few, quiet, tmp_path, monkeypatch):
    need(name)
    out = tmp_path/'run'
    with monkeypatch.context() as m, pytest.raises(TrainingInterrupted):
        cut_after(m, 4) # in the second of three epochs, and stages
        train(config(few, name), out, lambda _: None)
    train(None, out, lambda _: None, resume=True)
    check(name, out)
    assert list(Path.cwd().iterdir())==[] and {o.name for o in (out/'log').iterdir()}<={name, 'trackers.json'}
    assert not [o for o in (out/'log').rglob('*') if o.suffix in ('.safetensors', '.pth', '.jpg', '.png')]

def test_several_from_the_command_line(few, quiet, tmp_path, capsys):
    for o in ('tensorboard', 'mlflow'): need(o)
    args = ['--data', str(few), '--one-of', 'kind: (main)/..', '--any-of', 'attributes', '--arch', 'resnet10t', '--weights', 'none', '--size', '32', '--epochs', '1', '--batch-size', '16']
    assert main(['train', *args, '--log', 'tensorboard', '--log', 'mlflow', '--out', str(tmp_path/'run')])==0
    assert f'log: tensorboard, tensorboard --logdir {tmp_path}/run/log/tensorboard' in capsys.readouterr().err
    for o in ('tensorboard', 'mlflow'): check(o, tmp_path/'run')
    assert main(['train', *args, '--log', 'tensorbord', '--out', str(tmp_path/'other')])==2 and not (tmp_path/'other').exists()

@pytest.mark.parametrize('name', NAMES)
def test_a_missing_package_is_named_before_anything(name, few, quiet, tmp_path, monkeypatch):
    monkeypatch.setattr('fashion_fastai.training.tracking.find_spec', lambda o: None)
    with pytest.raises(UsageError, match=rf"--log {name} needs the package {name}: pip install 'fashion_fastai\[log\]'"): train(config(few, name), tmp_path/'run', lambda _: None)
    assert not (tmp_path/'run').exists()

def test_a_folder_of_that_name_is_no_package(few, quiet, tmp_path, monkeypatch):
    (tmp_path/'here/wandb').mkdir()
    folder = importlib.util.spec_from_loader('wandb', None) # as Python finds a folder without an __init__.py
    monkeypatch.setattr('fashion_fastai.training.tracking.find_spec', lambda o: folder)
    with pytest.raises(UsageError, match='needs the package wandb'): train(config(few, 'wandb'), tmp_path/'run', lambda _: None)

# trouble on the way

class Server:
    "As much of an MLflow server as a training asks for; it does not answer while `silent` says so"
    def __init__(self):
        this = self
        self.asked,self.metrics,self.silent = [],{},lambda n: False
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args): pass
            def answer(self):
                body = json.loads(self.rfile.read(int(self.headers.get('Content-Length') or 0)) or '{}')
                path = self.path.partition('?')[0].rsplit('mlflow/')[-1]
                this.asked.append(path)
                if this.silent(path): return self.close_connection
                for o in body.get('metrics', []): this.metrics.setdefault(o['key'], []).append((int(o['step']), o['value']))
                info = dict(run_id='r1', run_uuid='r1', experiment_id='1', status='RUNNING', artifact_uri='mlflow-artifacts:/r1')
                reply = json.dumps({'experiments/get-by-name': dict(experiment=dict(experiment_id='1', name='fashion_fastai')), 'runs/create': dict(run=dict(info=info, data={})),
                    'runs/get': dict(run=dict(info=info, data={})), 'runs/update': dict(run_info=info)}.get(path, {})).encode()
                self.send_response(200)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)
            do_GET = do_POST = answer
        self.http = HTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

@pytest.fixture
def server(quiet, monkeypatch):
    need('mlflow')
    server = Server()
    monkeypatch.setenv('MLFLOW_TRACKING_URI', f'http://127.0.0.1:{server.http.server_port}')
    monkeypatch.setenv('MLFLOW_HTTP_REQUEST_MAX_RETRIES', '0')
    yield server
    server.http.shutdown()
    server.http.server_close()

def test_a_server_that_is_silent_for_a_while_gets_all_at_the_end(server, few, tmp_path):
    told = lambda: len([o for o in server.asked if o=='runs/log-batch'])
    server.silent = lambda path: path=='runs/log-batch' and told()==3 # after the settings and an epoch
    said = []
    train(config(few, 'mlflow'), tmp_path/'run', said.append)
    assert [o for o in said if o.startswith('warning: --log mlflow: ') and o.endswith('it is told the rest when the training ends')]
    assert [o for o,_ in server.metrics['train/loss']]==[1,2,3] and (tmp_path/'run/metrics.json').is_file()
    assert not (tmp_path/'run/log/mlflow').exists()

def test_a_server_that_stays_silent_does_not_end_a_training(server, few, tmp_path, monkeypatch):
    server.silent = lambda path: len(server.asked)>4
    said = []
    with monkeypatch.context() as m, pytest.raises(TrainingInterrupted):
        cut_after(m, 4)
        train(config(few, 'mlflow'), tmp_path/'run', said.append)
    train(None, tmp_path/'run', said.append, resume=True) # it cannot even begin again
    assert len([o for o in said if o.startswith('warning: --log mlflow')])>=2 and said[-1].endswith('what it was not told is in history.csv')
    assert len(pd.read_csv(tmp_path/'run/history.csv'))==3 and (tmp_path/'run/metrics.json').is_file()

def test_a_server_that_never_answers_is_told_before_the_first_step(server, few, tmp_path):
    server.silent = lambda path: True
    with pytest.raises(UsageError, match='^--log mlflow: '): train(config(few, 'mlflow'), tmp_path/'run', lambda _: None)
    assert not (tmp_path/'run/history.csv').exists()

@pytest.mark.parametrize('batches', [2, 9]) # in the first epoch; in the validation of the last
def test_a_tracker_whose_process_dies_does_not_end_a_training(few, quiet, tmp_path, monkeypatch, batches):
    need('wandb')
    was,seen,said = Checkpoints.after_batch,[],[]
    def after_batch(self):
        seen.append(0)
        if len(seen)==batches: subprocess.run(['pkill', '-9', '-P', str(os.getpid()), 'wandb-core'], check=True) # only a child of this process
        was(self)
    monkeypatch.setattr(Checkpoints, 'after_batch', after_batch)
    try: train(config(few, 'wandb'), tmp_path/'run', said.append)
    finally:
        with contextlib.suppress(ConnectionError): importlib.import_module('wandb').teardown() # else it goes on asking the process that is gone
    assert said[-1].startswith('warning: --log wandb: ') and (tmp_path/'run/metrics.json').is_file()
