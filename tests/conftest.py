"Fixtures of several tests: a small drawn catalogue, runs that were trained on it, and the real images if available"
import contextlib, io, json, os
from pathlib import Path
import pytest
from fashion_fastai.cli import main
from fashion_fastai.data.synthetic.dataset import draw_sample
from fashion_fastai.core.allocator import tune_allocator

tune_allocator() # as the command line has it; this process is for tests alone

SMALL = ['--arch', 'resnet10t', '--weights', 'none', '--size', '32', '--epochs', '1', '--batch-size', '16']

@pytest.fixture(scope='session')
def sample(tmp_path_factory):
    "The table of a small drawn catalogue"
    return draw_sample(tmp_path_factory.mktemp('data')/'sample', n=120, size=48)

@pytest.fixture(scope='session')
def run(sample, tmp_path_factory):
    "A run that was trained on it by the command line"
    out = tmp_path_factory.mktemp('runs')/'first'
    assert main(['train', '--data', str(sample), '--out', str(out), *SMALL])==0
    return out

@pytest.fixture(scope='session')
def probe_run(sample, tmp_path_factory):
    "A run without an epoch, whose heads are the linear probe of packaged weights, and what was printed meanwhile"
    folder = tmp_path_factory.mktemp('probe')
    args = ['train', '--data', str(sample), '--size', '64', '--epochs', '0', '--out', str(folder/'run')]
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.redirect_stderr(io.StringIO()) as log:
        monkeypatch.setenv('FASHION_CACHE', str(folder/'cache'))
        assert main(args)==0
    return folder/'run',log.getvalue()

@pytest.fixture(scope='session')
def products():
    "The table of the real images; tests that ask for it are skipped where it is absent"
    table = Path(os.environ.get('FASHION_DATA', Path(__file__).parents[2]/'shared/data'))/'products/labels.csv'
    if not table.is_file(): pytest.skip('the real images are not here')
    return table

@pytest.fixture
def metrics_of_run():
    "metrics.json of a run, times aside"
    def read(run):
        metrics = json.loads((Path(run)/'metrics.json').read_text())
        metrics.pop('seconds')
        return metrics
    return read
