"Prediction over a cluster: two workers of a local Ray say what one process says, a worker that is killed loses nothing, and mistakes are told before a cluster is asked"
import os, signal, threading, time
from pathlib import Path
import numpy as np, pandas as pd, psutil, pytest
from fashion_fastai.cli import main
from fashion_fastai.serving.inputs import Columns, find_image_files
from fashion_fastai.serving.ray_cluster import Workers, predict_on_cluster
from fashion_fastai.serving.predictor import Predictor
from fashion_fastai.serving import cluster

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
    found = pytest.importorskip('ray')
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    found.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=200*2**20)
    yield found
    found.shutdown()

def read(folder): return pd.concat([pd.read_parquet(o) for o in sorted(Path(folder).glob('*.parquet'))]).sort_values(['file', 'error'], ignore_index=True)

def check(found, run, sample, shop):
    "Whether answers that came in any order are those of a predictor in one process"
    expected = Predictor.load(run)(find_image_files(shop, images=sample.parent)).frame().sort_values(['file', 'error'], ignore_index=True)
    assert list(found)==list(expected)
    for o in ('file', 'category', 'attributes', 'error'): assert found[o].tolist()==expected[o].tolist()
    probs = [pd.to_numeric(o.category_probability.replace('', np.nan)) for o in (found, expected)]
    np.testing.assert_allclose(*probs, atol=2e-4) # batches are cut in other places

@pytest.mark.slow
def test_two_workers_say_what_one_process_says(ray, run, sample, shop, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, 'BLOCK', 40)
    made = predict_on_cluster(run, [str(shop)], str(tmp_path/'out'), Columns(images=str(sample.parent)), Workers(most=2), bs=32)
    assert (made.rows, made.bad)==(240, 1)
    check(read(tmp_path/'out'), run, sample, shop)

def _workers():
    "The processes of this Ray that predict"
    return [o for o in psutil.Process().children(recursive=True) if 'MapBatches(Worker)' in ' '.join(o.cmdline())]

@pytest.mark.slow
def test_a_killed_worker_loses_nothing(ray, run, sample, shop, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, 'BLOCK', 20)
    class Slow(cluster.Worker):
        def __call__(self, batch):
            time.sleep(0.5)
            return super().__call__(batch)
    Slow.__name__ = Slow.__qualname__ = 'Worker'
    monkeypatch.setattr(cluster, 'Worker', Slow)
    made,killed = [],[]
    work = threading.Thread(target=lambda: made.append(predict_on_cluster(run, [str(shop)], str(tmp_path/'out'), Columns(images=str(sample.parent)), Workers(most=2), bs=20)))
    work.start()
    while work.is_alive() and len(killed)<2:
        time.sleep(1)
        busy = [o for o in _workers() if o.pid not in killed and o.status()!=psutil.STATUS_ZOMBIE]
        if not busy: continue
        time.sleep(1)
        os.kill(busy[0].pid, signal.SIGKILL)
        killed.append(busy[0].pid)
    work.join()
    assert len(killed)==2 and (made[0].rows, made[0].bad)==(240, 1)
    check(read(tmp_path/'out'), run, sample, shop)

@pytest.mark.slow
def test_the_command_with_a_pattern(ray, run, sample, tmp_path):
    assert main(['predict', str(run), f'{sample.parent}/images/*.jpg', '--engine', 'ray', '--workers', '2', '--out', str(tmp_path/'out')])==0
    found = read(tmp_path/'out')
    assert found.file.tolist()==sorted(str(o) for o in (sample.parent/'images').glob('*.jpg'))

def test_mistakes(run, sample, shop, tmp_path, capsys):
    pytest.importorskip('ray')
    (tmp_path/'full').mkdir()
    (tmp_path/'full/a.txt').write_text('mine')
    out = tmp_path/'out'
    for args,said in (([shop, '--out', tmp_path/'full'], 'exists already'), ([tmp_path/'none.parquet', '--out', out], 'no such file'), ([shop, '--file-col', 'image', '--out', out], "unknown column 'image'"),
            ([shop, '--out', out, '--aggregate', 'mean'], '--aggregate does not go with --engine ray'), ([shop, '--out', out, '--engine', 'spark'], 'it must be local or ray')):
        assert main(['predict', str(run), '--engine', 'ray', *map(str, args)])==2
        assert said in capsys.readouterr().err and not out.exists()
    assert main(['predict', str(tmp_path), str(shop), '--engine', 'ray', '--out', str(out)])==2 and 'not a complete run' in capsys.readouterr().err
