"""Cost of the parts of a training step by torch's profiler, over some steps of an epoch of the default recipe, all
unfrozen.

    python benchmarks/profile_epoch.py [TABLE] [--write]
"""
from bench import arguments, markdown, report

OPTIMISER = 'optimiser (fastai AdamW)'
KINDS = {'convolution, backward': ('convolution_backward',),
    'convolution, forward': ('mkldnn_convolution', 'convolution'),
    'BatchNorm, backward': ('native_batch_norm_backward', 'batch_norm_backward'),
    'BatchNorm, forward': ('native_batch_norm',),
    'ReLU6, forward and backward': ('hardtanh', 'clamp'),
    OPTIMISER: ('step',),
    'augmentation (grid sample)': ('grid_sampler', 'affine_grid'),
    'linear heads': ('addmm', 'aten::mm', 'linear'),
    'losses': ('softmax', 'nll', 'binary_cross', 'log_sigmoid')}

def kind_of(name):
    "Return the kind of an operation"
    return next((kind for kind,parts in KINDS.items() if any(part in name for part in parts)), 'everything else')

def profiled_events(table, n_batches):
    "Return the profiler's events of `n_batches` training steps"
    from fastai.callback.core import Callback, CancelFitException
    from torch.profiler import ProfilerActivity, profile, record_function
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.training.learner import fashion_learner
    learn = fashion_learner(read_catalogue(table))
    learn.create_opt()
    learn.unfreeze()
    step = learn.opt.step
    def marked(*args, **kwargs):
        with record_function('optimiser step'): return step(*args, **kwargs)
    learn.opt.step = marked
    profiler = profile(activities=[ProfilerActivity.CPU])
    class Window(Callback):
        order = 100
        def after_batch(self):
            if self.iter==2: profiler.__enter__()
            if self.iter==2+n_batches:
                profiler.__exit__(None, None, None)
                raise CancelFitException
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=Window())
    return profiler.events()

def spent_by_kind(events):
    "Return the microseconds of each kind of operation"
    steps = [(event.time_range.start, event.time_range.end) for event in events if event.name=='optimiser step']
    spent = {}
    for event in events:
        in_step = any(start<=event.time_range.start<=end for start,end in steps)
        kind = OPTIMISER if in_step else kind_of(event.name)
        spent[kind] = spent.get(kind, 0)+event.self_cpu_time_total
    return spent

if __name__=='__main__':
    args = arguments(__doc__, batches=12)
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator()
    spent = spent_by_kind(profiled_events(args.table, args.batches))
    total = sum(spent.values())
    rows = [[kind, f'{spent[kind]/args.batches/1e3:.0f}', f'{spent[kind]/total:.0%}']
        for kind in sorted(spent, key=spent.get, reverse=True)]
    report('profile', markdown(['part of a step (64 images, 128 px)', 'ms', 'share'], rows), args.write)
