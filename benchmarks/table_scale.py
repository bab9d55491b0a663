"""From a CSV to loaders that give batches, for tables of growing length: seconds, and memory beyond what the imports take.

Tables are drawn: 50 categories, 5 of 200 attributes in each row (so that nearly every cell is different), two rows a product. Images are read as they are needed.

    python benchmarks/table_scale.py [--write]
"""
import multiprocessing, tempfile, time
from pathlib import Path
from bench import arguments, markdown, report

def draw(n, folder):
    import numpy as np, pandas as pd
    from PIL import Image
    (folder/'images').mkdir(exist_ok=True)
    for i in range(100): Image.new('RGB', (64, 64), (2*i, i, 255-2*i)).save(folder/f'images/{i}.jpg')
    draws,words = np.random.default_rng(0),np.array([f'attribute-{i}' for i in range(200)])
    frame = pd.DataFrame(dict(file=[f'images/{i%100}.jpg' for i in range(n)], category=[f'category-{i}' for i in draws.integers(0, 50, n)],
        attributes=[' '.join(o) for o in words[draws.integers(0, 200, (n, 5))]], product=np.arange(n)//2, split=np.where(draws.random(n)<0.9, 'train', 'valid')))
    frame.to_csv(folder/'table.csv', index=False)

def memory(field): # GB
    return next(int(o.split()[1]) for o in Path('/proc/self/status').read_text().splitlines() if o.startswith(field))/1e6

def measure(table, pipe):
    import fashion_fastai.data.loaders # noqa: F401  before the memory is measured
    from fashion_fastai.data.catalogue import read_catalogue
    before,started = memory('VmRSS'),time.perf_counter()
    catalogue = read_catalogue(table, group_col='product')
    read = time.perf_counter()
    dls = catalogue.dataloaders(64, cache='none')
    made = time.perf_counter()
    dls.train.one_batch()
    pipe.send((read-started, made-read, time.perf_counter()-made, memory('VmHWM'), memory('VmHWM')-before))

if __name__=='__main__':
    args = arguments(__doc__, rounds=1)
    spawn,rows = multiprocessing.get_context('spawn'),[]
    for n in (10_000, 100_000, 1_000_000):
        with tempfile.TemporaryDirectory() as folder:
            maker = spawn.Process(target=draw, args=(n, Path(folder))) # its memory is not ours
            maker.start(); maker.join()
            ours,theirs = spawn.Pipe()
            worker = spawn.Process(target=measure, args=(f'{folder}/table.csv', theirs))
            worker.start()
            read,made,first,peak,more = ours.recv()
            worker.join()
        rows.append([f'{n:,}', f'{read:.1f}', f'{made:.1f}', f'{first:.1f}', f'{read+made:.1f}', f'{peak:.2f}', f'{more:.2f}'])
    header = ['rows', 'reading and checking (s)', 'loaders (s)', 'first batch (s)', 'CSV to loaders (s)', 'peak memory (GB)', 'beyond imports (GB)']
    report('table_scale', markdown(header, rows), args.write)
