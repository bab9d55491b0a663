"Fixtures of several tests: small drawn catalogues, runs that were trained on one, and the real images if available"
import contextlib, io, json, os
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from fashion_fastai.cli import main
from fashion_fastai.data.synthetic.dataset import draw_sample
from fashion_fastai.core.allocator import tune_allocator

tune_allocator() # as the command line has it; this process is for tests alone

GROUPS = dict(texture=7, sleeve=3, length=3, neckline=4, fabric=6, fit=3)
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

def draw(path, rng, size=40):
    "Write an image of noise"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)

@pytest.fixture(scope='session')
def six(tmp_path_factory):
    "A synthetic set in the format of systems A and E"
    root,rng = tmp_path_factory.mktemp('six'),np.random.default_rng(0)
    names = [f'{group}{i}  {number}' for number,(group,n) in enumerate(GROUPS.items(), 1) for i in range(n)]
    (root/'split').mkdir()
    (root/'split/list_attr_cloth.txt').write_text('26\nattribute_name  attribute_type\n'+'\n'.join(names)+'\n')
    for split,n in (('train', 24), ('val', 10), ('test', 6)):
        files = [f'img/{split}{i:05}.jpg' for i in range(n)]
        for file in files: draw(root/file, rng)
        (root/f'split/{split}.txt').write_text('\n'.join(files)+'\n')
        rows = [' '.join(str(rng.integers(0, n)) for n in GROUPS.values()) for _ in files]
        if split!='test': (root/f'split/{split}_attr.txt').write_text('\n'.join(rows)+'\n')
    return root

@pytest.fixture(scope='session')
def tree(tmp_path_factory):
    "Folders main/sub/image, the format of system C"
    root,rng = tmp_path_factory.mktemp('tree')/'set',np.random.default_rng(1)
    for main_,subs in dict(bottom=['skirt','trousers'], top=['shirt','sweater']).items():
        for sub in subs:
            for i in range(10): draw(root/main_/sub/f'{i}.jpg', rng)
    return root

@pytest.fixture(scope='session')
def finder(tmp_path_factory):
    "A table with a comma-separated column, the format of system D"
    root,rng = tmp_path_factory.mktemp('finder'),np.random.default_rng(2)
    labels = ['Dress', 'Shirt', 'Shoe', 'Bag']
    chosen = [rng.choice(labels, rng.integers(1, 3), replace=False) for _ in range(40)]
    rows = [dict(Image=f'{i}.jpg', Category=','.join(names)) for i,names in enumerate(chosen)]
    for row in rows: draw(root/'images'/row['Image'], rng)
    pd.DataFrame(rows).to_csv(root/'labels.csv', index=False)
    return root/'labels.csv'

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
