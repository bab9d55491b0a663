"""Growth of memory from epoch to epoch with different allocators, and peak memory of a short training by number of
images, cached in memory and mapped from disk.

    python benchmarks/memory.py [TABLE] [--most 16000] [--write]      # --most 0 leaves the second part out
"""
import ctypes.util, itertools, multiprocessing, os, tempfile
from contextlib import contextmanager
from pathlib import Path
from bench import arguments, markdown, report

def megabytes(name):
    "Return a field of /proc/self/status in MB"
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))/1e3

def measure(table, n, cache, pipe):
    "Train four batches on `n` images; send the size of the pixels, peak memory and private memory in GB"
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator()
    import numpy as np
    from fastai.callback.core import Callback, CancelFitException
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.training.learner import fashion_learner
    class Stop(Callback):
        def after_batch(self):
            if self.iter==3: raise CancelFitException
    catalogue = read_catalogue(table)
    dls = catalogue.take(np.arange(n)%len(catalogue)).dataloaders(128, cache=cache)
    learn = fashion_learner(dls)
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=Stop())
    pipe.send((dls.pixels.nbytes/1e9, megabytes('VmHWM')/1e3, megabytes('RssAnon')/1e3))

def learner_of_images(table):
    "Return a learner of the default network on a table, and how many body groups to unfreeze"
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.training.learner import fashion_learner
    return fashion_learner(read_catalogue(table).dataloaders(128)),3

def learner_of_labels(n, n_labels=1000):
    "Return a linear learner with many labels on random numbers: only what is kept of its predictions could grow"
    import torch
    from fastai.data.all import DataLoader, DataLoaders
    from fashion_fastai.models.losses import FashionLoss
    from fashion_fastai.schema import Schema
    from fashion_fastai.target import any_of
    from fashion_fastai.training.history import History
    from fashion_fastai.training.learner import FashionLearner
    class Random(torch.utils.data.Dataset):
        def __len__(self): return n//256
        def __getitem__(self, i): return torch.randn(256, 16),(torch.rand(256, n_labels)<0.01).float()
    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(16, n_labels)
        def forward(self, x): return (self.layer(x),)
    dls = DataLoaders(DataLoader(Random(), bs=None), DataLoader(Random(), bs=None))
    dls.n_inp = 1
    schema = Schema(targets=[any_of('label', [f'{i:04}' for i in range(n_labels)])])
    return FashionLearner(dls, Linear(), FashionLoss(schema), cbs=History(), lr=1e-3),0

def growth(make, arg, is_tuned, pipe):
    "Train five epochs; send the private memory after each and the peak in MB; `is_tuned`: with our allocator settings"
    from fashion_fastai.core.allocator import tune_allocator
    if is_tuned: tune_allocator()
    from fastai.callback.core import Callback
    import fashion_fastai.training.stages # noqa: F401  a method of the learner
    from fashion_fastai.config import Stage
    from fashion_fastai.training.checkpoint import Checkpoints
    sizes = []
    class Watch(Callback):
        order = 100
        def after_epoch(self): sizes.append(megabytes('RssAnon'))
    learn,unfrozen = make(arg)
    learn.add_cb(Watch())
    stage = Stage(unfrozen=unfrozen, epochs=5, lr=1e-3)
    with tempfile.TemporaryDirectory() as folder, learn.no_bar(), learn.no_logging():
        learn.fit_progressive([stage], checkpoints=Checkpoints(folder), seed=0)
    pipe.send((sizes, megabytes('VmHWM')))

@contextmanager
def environment(**variables):
    "Set environment variables for processes that start in this context"
    os.environ.update(variables)
    yield
    for name in variables: os.environ.pop(name)

def in_process(work, *args, **variables):
    "Return what `work` sends from a process of its own with the environment `variables`"
    spawn = multiprocessing.get_context('spawn')
    ours,theirs = spawn.Pipe()
    worker = spawn.Process(target=work, args=(*args, theirs))
    with environment(**variables): worker.start()
    theirs.close() # otherwise `recv` would wait for a process that died
    received = ours.recv()
    worker.join()
    return received

def measure_growth(args):
    "Return a table of memory after each epoch for two learners and all allocators"
    learners = (('images of the table', learner_of_images, args.table),
        (f'{args.rows:,} rows with 1,000 labels', learner_of_labels, args.rows))
    allocators = [('glibc', False, {}), ('glibc with our settings', True, {})]
    if tcmalloc:=ctypes.util.find_library('tcmalloc_minimal'):
        allocators.append(('tcmalloc', False, dict(LD_PRELOAD=tcmalloc)))
    rows = []
    for (name,make,arg),(allocator,is_tuned,variables) in itertools.product(learners, allocators):
        sizes,peak = in_process(growth, make, arg, is_tuned, **variables)
        shown = [f'{size:,.0f}' for size in sizes]
        rows.append([name, allocator, *shown, f'{sizes[-1]/sizes[0]-1:+.2%}', f'{peak:,.0f}'])
    header = ['private MB after epoch', 'allocator', '1', '2', '3', '4', '5', 'growth', 'peak resident (MB)']
    return markdown(header, rows)

def measure_caches(args):
    "Return a table of memory by number of images and cache"
    rows = []
    for n,cache in itertools.product((args.most//16, args.most//4, args.most), ('ram', 'disk')):
        pixels,peak,private = in_process(measure, args.table, n, cache)
        rows.append([f'{n:,}', cache, f'{pixels:.2f}', f'{peak:.2f}', f'{private:.2f}'])
    header = ['images', '--cache', 'decoded images (GB)', 'peak resident (GB)', 'private, not mapped from files (GB)']
    return markdown(header, rows)

if __name__=='__main__':
    args = arguments(__doc__, most=16_000, rows=50_000)
    report('memory-growth', measure_growth(args), args.write)
    if args.most: report('memory', measure_caches(args), args.write)
