"""Whether memory grows from epoch to epoch, with different allocators; and peak memory of a short training against the number of images, kept in memory and mapped from disk.

    python benchmarks/memory.py [TABLE] [--most 16000] [--write]      # --most 0 leaves the second part out
"""
import ctypes.util, itertools, multiprocessing, os, tempfile
from contextlib import contextmanager
from pathlib import Path
from bench import arguments, markdown, report

def megabytes(name):
    "A field of what the system says about this process"
    return next(int(o.split()[1]) for o in Path('/proc/self/status').read_text().splitlines() if o.startswith(name))/1e3

def measure(table, n, cache, pipe):
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

def learner_of_pictures(table):
    "The default network, all of it unfrozen, on a table"
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.training.learner import fashion_learner
    return fashion_learner(read_catalogue(table).dataloaders(128)),3

def learner_of_labels(n, n_labels=1000):
    "A linear network with many labels on random numbers: what is kept of its answers is all that could grow"
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
    return FashionLearner(dls, Linear(), FashionLoss(Schema(targets=[any_of('label', [f'{i:04}' for i in range(n_labels)])])), cbs=History(), lr=1e-3),0

def growth(make, arg, ours, pipe):
    "Measure the memory of its own after each of five epochs; `ours` is false for the allocator as it comes"
    from fashion_fastai.core.allocator import tune_allocator
    if ours: tune_allocator()
    from fastai.callback.core import Callback
    from fashion_fastai.config import Stage
    import fashion_fastai.training.stages # noqa: F401  a method of the learner
    from fashion_fastai.training.checkpoint import Checkpoints
    seen = []
    class Watch(Callback):
        order = 100
        def after_epoch(self): seen.append(megabytes('RssAnon'))
    learn,unfrozen = make(arg)
    learn.add_cb(Watch())
    with tempfile.TemporaryDirectory() as folder, learn.no_bar(), learn.no_logging():
        learn.fit_progressive([Stage(unfrozen=unfrozen, epochs=5, lr=1e-3)], checkpoints=Checkpoints(folder), seed=0)
    pipe.send((seen, megabytes('VmHWM')))

@contextmanager
def environment(**names):
    "Processes that begin here have these variables"
    os.environ.update(names)
    yield
    for o in names: os.environ.pop(o)

def in_process(work, *args, **names):
    "What `work` sends from a process of its own, which has the variables `names`"
    spawn = multiprocessing.get_context('spawn')
    ours,theirs = spawn.Pipe()
    worker = spawn.Process(target=work, args=(*args, theirs))
    with environment(**names): worker.start()
    theirs.close() # else nobody would hear of a worker that died
    found = ours.recv()
    worker.join()
    return found

if __name__=='__main__':
    args = arguments(__doc__, most=16_000, rows=50_000)
    learners = (('images of the table', learner_of_pictures, args.table), (f'{args.rows:,} rows with 1,000 labels', learner_of_labels, args.rows))
    allocators = [('glibc', False, {}), ('glibc with our settings', True, {})]
    if tcmalloc:=ctypes.util.find_library('tcmalloc_minimal'): allocators.append(('tcmalloc', False, dict(LD_PRELOAD=tcmalloc)))
    rows = []
    for (name,make,arg),(allocator,ours,names) in itertools.product(learners, allocators):
        seen,peak = in_process(growth, make, arg, ours, **names)
        rows.append([name, allocator, *[f'{o:,.0f}' for o in seen], f'{seen[-1]/seen[0]-1:+.2%}', f'{peak:,.0f}'])
    report('memory-growth', markdown(['MB of its own after epoch', 'allocator', '1', '2', '3', '4', '5', 'growth', 'peak resident (MB)'], rows), args.write)
    rows = []
    for n in (args.most//16, args.most//4, args.most)*bool(args.most):
        for cache in ('ram', 'disk'):
            pixels,peak,own = in_process(measure, args.table, n, cache)
            rows.append([f'{n:,}', cache, f'{pixels:.2f}', f'{peak:.2f}', f'{own:.2f}'])
    if rows: report('memory', markdown(['images', '--cache', 'decoded images (GB)', 'peak resident (GB)', 'of its own, not mapped from files (GB)'], rows), args.write)
