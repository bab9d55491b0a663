"""From a CSV file to loaders that yield batches, for tables of growing length: seconds, and memory beyond the imports.

The tables are random: 50 categories, 5 of 200 attributes per row (so that nearly every cell is different), two rows
per product. Images are read when they are needed.

    python benchmarks/table_scale.py [--write]
"""
import multiprocessing, tempfile, time
from pathlib import Path
from bench import arguments, markdown, report

def draw(n, folder):
    "Write a random table of `n` rows and a hundred images"
    import numpy as np, pandas as pd
    from PIL import Image
    (folder/'images').mkdir(exist_ok=True)
    for i in range(100): Image.new('RGB', (64, 64), (2*i, i, 255-2*i)).save(folder/f'images/{i}.jpg')
    rng = np.random.default_rng(0)
    names = np.array([f'attribute-{i}' for i in range(200)])
    frame = pd.DataFrame(dict(file=[f'images/{i%100}.jpg' for i in range(n)],
        category=[f'category-{i}' for i in rng.integers(0, 50, n)],
        attributes=[' '.join(row) for row in names[rng.integers(0, 200, (n, 5))]],
        product=np.arange(n)//2, split=np.where(rng.random(n)<0.9, 'train', 'valid')))
    frame.to_csv(folder/'table.csv', index=False)

def gigabytes(field):
    "Return a field of /proc/self/status in GB"
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))/1e6

def measure(table, pipe):
    "Send the seconds of each step, peak memory, and peak memory beyond the imports"
    import fashion_fastai.data.loaders # noqa: F401  before the memory is measured
    from fashion_fastai.data.catalogue import read_catalogue
    imported = gigabytes('VmRSS')
    times = [time.perf_counter()]
    catalogue = read_catalogue(table, group_col='product')
    times.append(time.perf_counter())
    dls = catalogue.dataloaders(64, cache='none')
    times.append(time.perf_counter())
    dls.train.one_batch()
    times.append(time.perf_counter())
    peak = gigabytes('VmHWM')
    pipe.send((*[end-start for start,end in zip(times, times[1:])], peak, peak-imported))

def measured_row(n):
    "Return a line of the report for a table of `n` rows"
    spawn = multiprocessing.get_context('spawn')
    with tempfile.TemporaryDirectory() as folder:
        artist = spawn.Process(target=draw, args=(n, Path(folder))) # in a process of its own, for its memory
        artist.start()
        artist.join()
        ours,theirs = spawn.Pipe()
        worker = spawn.Process(target=measure, args=(f'{folder}/table.csv', theirs))
        worker.start()
        read,loaders,batch,peak,private = ours.recv()
        worker.join()
    seconds = [f'{value:.1f}' for value in (read, loaders, batch, read+loaders)]
    return [f'{n:,}', *seconds, f'{peak:.2f}', f'{private:.2f}']

if __name__=='__main__':
    args = arguments(__doc__, rounds=1)
    rows = [measured_row(n) for n in (10_000, 100_000, 1_000_000)]
    header = ['rows', 'reading and checking (s)', 'loaders (s)', 'first batch (s)', 'CSV to loaders (s)',
        'peak memory (GB)', 'beyond imports (GB)']
    report('table_scale', markdown(header, rows), args.write)
