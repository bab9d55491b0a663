"Prediction over a cluster: two workers of a local Ray agree with one process, a killed worker loses nothing, mistakes show before Ray starts"
import os, signal, threading, time
from pathlib import Path
import numpy as np, pandas as pd, psutil, pytest
from fashion_fastai.cli import main
from fashion_fastai.serving import ray_cluster
from fashion_fastai.serving.inputs import Columns, find_image_files
from fashion_fastai.serving.predictor import Predictor
from fashion_fastai.serving.ray_cluster import Workers, predict_on_cluster

@pytest.fixture
def shop(sample, tmp_path):
    "A table of 240 rows, one of them bad"
    files = pd.concat([pd.read_csv(sample).file]*2, ignore_index=True)
    files[17] = 'images/none.jpg'
    pd.DataFrame(dict(file=files, price=1.)).to_parquet(tmp_path/'shop.parquet')
    return tmp_path/'shop.parquet'

@pytest.fixture(scope='module')
def ray():
    "A Ray of this machine with room for two workers and for reading and writing"
    module = pytest.importorskip('ray')
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    module.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=200*2**20)
    yield module
    module.shutdown()

def read(folder):
    frames = [pd.read_parquet(path) for path in sorted(Path(folder).glob('*.parquet'))]
    return pd.concat(frames).sort_values(['file', 'error'], ignore_index=True)

def check(frame, run, sample, shop):
    "Check that results, which came in any order, are those of a predictor in one process"
    images = find_image_files(shop, images=sample.parent)
    expected = Predictor.load(run)(images).frame().sort_values(['file', 'error'], ignore_index=True)
    assert list(frame)==list(expected)
    for column in ('file', 'category', 'attributes', 'error'): assert frame[column].tolist()==expected[column].tolist()
    probs = [pd.to_numeric(table.category_probability.replace('', np.nan)) for table in (frame, expected)]
    np.testing.assert_allclose(*probs, atol=2e-4) # batches are cut elsewhere

@pytest.mark.slow
def test_two_workers_agree_with_one_process(ray, run, sample, shop, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, 'BLOCK', 40)
    columns = Columns(images=str(sample.parent))
    report = predict_on_cluster(run, [str(shop)], str(tmp_path/'out'), columns, Workers(most=2), bs=32)
    assert (report.rows, report.bad)==(240, 1)
    check(read(tmp_path/'out'), run, sample, shop)

def _workers():
    "Return the processes of this Ray that predict"
    children = psutil.Process().children(recursive=True)
    return [process for process in children if 'MapBatches(Worker)' in ' '.join(process.cmdline())]

@pytest.mark.slow
def test_a_killed_worker_loses_nothing(ray, run, sample, shop, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, 'BLOCK', 20)
    class Slow(ray_cluster.Worker):
        def __call__(self, batch):
            time.sleep(0.5)
            return super().__call__(batch)
    Slow.__name__ = Slow.__qualname__ = 'Worker'
    monkeypatch.setattr(ray_cluster, 'Worker', Slow)
    reports,killed = [],[]
    def predict():
        columns = Columns(images=str(sample.parent))
        reports.append(predict_on_cluster(run, [str(shop)], str(tmp_path/'out'), columns, Workers(most=2), bs=20))
    thread = threading.Thread(target=predict)
    thread.start()
    while thread.is_alive() and len(killed)<2:
        time.sleep(1)
        busy = [process for process in _workers() if process.pid not in killed and process.status()!=psutil.STATUS_ZOMBIE]
        if not busy: continue
        time.sleep(1)
        os.kill(busy[0].pid, signal.SIGKILL)
        killed.append(busy[0].pid)
    thread.join()
    assert len(killed)==2 and (reports[0].rows, reports[0].bad)==(240, 1)
    check(read(tmp_path/'out'), run, sample, shop)

@pytest.mark.slow
def test_the_command_with_a_pattern(ray, run, sample, tmp_path):
    pattern = f'{sample.parent}/images/*.jpg'
    assert main(['predict', str(run), pattern, '--engine', 'ray', '--workers', '2', '--out', str(tmp_path/'out')])==0
    assert read(tmp_path/'out').file.tolist()==sorted(map(str, (sample.parent/'images').glob('*.jpg')))

def test_mistakes(run, sample, shop, tmp_path, capsys):
    pytest.importorskip('ray')
    (tmp_path/'full').mkdir()
    (tmp_path/'full/a.txt').write_text('mine')
    out = tmp_path/'out'
    cases = {
        'exists already': [shop, '--out', tmp_path/'full'],
        'no such file': [tmp_path/'none.parquet', '--out', out],
        "unknown column 'image'": [shop, '--file-col', 'image', '--out', out],
        '--aggregate does not go with --engine ray': [shop, '--out', out, '--aggregate', 'mean'],
        'it must be local or ray': [shop, '--out', out, '--engine', 'spark'],
    }
    for message,args in cases.items():
        assert main(['predict', str(run), '--engine', 'ray', *map(str, args)])==2
        assert message in capsys.readouterr().err and not out.exists()
    assert main(['predict', str(tmp_path), str(shop), '--engine', 'ray', '--out', str(out)])==2
    assert 'not a complete run' in capsys.readouterr().err
