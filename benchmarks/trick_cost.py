"""What each run of the comparison `tricks` costs against its first one: seconds of as many images of every epoch, all runs in turn, medians of the ratios.

    python benchmarks/trick_cost.py [TABLE] [--rounds 5] [--images 256] [--write]
"""
import statistics, time
from bench import arguments, markdown, report

def worker(config, images):
    "A function that trains a few batches of each epoch, and gives the seconds"
    batches = images//config.training.batch_size
    from fastai.callback.core import Callback, CancelEpochException
    from fashion_fastai.experiments.prepare import prepare
    class Few(Callback):
        order = 1000
        def after_batch(self):
            if self.iter==batches-1: raise CancelEpochException
    learn,config = prepare(config)
    learn.unfreeze()
    def work():
        began = time.perf_counter()
        with learn.no_bar(), learn.no_logging(): learn.fit(config.training.epochs, 1e-5, cbs=Few())
        return time.perf_counter()-began
    return work

if __name__=='__main__':
    args = arguments(__doc__, rounds=5, images=256)
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator() # as the command does
    from fashion_fastai.experiments.compare import read_comparison, comparison_configs
    given = dict(data=dict(path=args.table, one_of=['category'], any_of=['attributes']), training=dict(precision='float32'))
    workers = {name: worker(config, args.images) for name,config in comparison_configs(read_comparison('tricks'), given).items()}
    seen = {name: [] for name in workers}
    for number in range(args.rounds+1):
        for name,work in workers.items():
            seconds = work()
            if number: seen[name].append(seconds)
            print(f'round {number} of {args.rounds}: {name} {seconds:.2f} s', flush=True)
    first = next(iter(seen.values()))
    rows = [[name, f'{statistics.median(o/a for o,a in zip(found, first)):.2f}'] for name,found in seen.items()]
    report('trick-cost', markdown(['run', 'time of its training, the default is 1'], rows), args.write)
