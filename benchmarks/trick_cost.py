"""Cost of each run of the comparison `tricks` relative to its first one: seconds for the same number of images of
every epoch, all runs in turn, medians of the ratios.

    python benchmarks/trick_cost.py [TABLE] [--rounds 5] [--images 256] [--write]
"""
import statistics, time
from bench import arguments, markdown, report

def contender(config, n_images):
    "Return a function that trains a few batches of each epoch and returns the seconds"
    from fastai.callback.core import Callback, CancelEpochException
    from fashion_fastai.experiments.prepare import prepare
    n_batches = n_images//config.training.batch_size
    class Few(Callback):
        order = 1000
        def after_batch(self):
            if self.iter==n_batches-1: raise CancelEpochException
    learn,config = prepare(config)
    learn.unfreeze()
    def work():
        started = time.perf_counter()
        with learn.no_bar(), learn.no_logging(): learn.fit(config.training.epochs, 1e-5, cbs=Few())
        return time.perf_counter()-started
    return work

if __name__=='__main__':
    args = arguments(__doc__, rounds=5, images=256)
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator() # as the command does
    from fashion_fastai.experiments.comparison import comparison_configs, read_comparison
    data = dict(path=args.table, one_of=['category'], any_of=['attributes'])
    settings = dict(data=data, training=dict(precision='float32'))
    configs = comparison_configs(read_comparison('tricks'), settings)
    contenders = {name: contender(config, args.images) for name,config in configs.items()}
    times = {name: [] for name in contenders}
    for number in range(args.rounds+1):
        for name,work in contenders.items():
            seconds = work()
            if number: times[name].append(seconds)
            print(f'round {number} of {args.rounds}: {name} {seconds:.2f} s', flush=True)
    first = next(iter(times.values()))
    rows = [[name, f'{statistics.median(a/b for a,b in zip(values, first)):.2f}'] for name,values in times.items()]
    report('trick-cost', markdown(['run', 'training time relative to the default'], rows), args.write)
