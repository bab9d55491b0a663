"""Peak memory of a short training against the number of pictures, kept in memory and mapped from disk.

    python benchmarks/memory.py [TABLE] [--write]
"""
import multiprocessing
from pathlib import Path
from bench import arguments, markdown, report

def measure(table, n, cache, pipe):
    from fashion_fastai.training.speed import keep_memory
    keep_memory()
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
    status = Path('/proc/self/status').read_text().splitlines()
    field = lambda name: next(int(o.split()[1]) for o in status if o.startswith(name))/1e6
    pipe.send((dls.pixels.nbytes/1e9, field('VmHWM'), field('RssAnon')))

if __name__=='__main__':
    args = arguments(__doc__, most=16_000)
    spawn,rows = multiprocessing.get_context('spawn'),[]
    for n in (args.most//16, args.most//4, args.most):
        for cache in ('ram', 'disk'):
            ours,theirs = spawn.Pipe()
            worker = spawn.Process(target=measure, args=(args.table, n, cache, theirs))
            worker.start()
            pixels,peak,own = ours.recv()
            worker.join()
            rows.append([f'{n:,}', cache, f'{pixels:.2f}', f'{peak:.2f}', f'{own:.2f}'])
    report('memory', markdown(['pictures', '--cache', 'decoded pictures (GB)', 'peak resident (GB)', 'of its own, not mapped from files (GB)'], rows), args.write)
