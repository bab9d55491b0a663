"""Where the time of a training step goes: the largest costs by torch's profiler, over some steps of an epoch of the default recipe, everything unfrozen.

    python benchmarks/profile_epoch.py [TABLE] [--write]
"""
from bench import arguments, markdown, report

KINDS = {'convolution, backward': ('convolution_backward',), 'convolution, forward': ('mkldnn_convolution', 'convolution'),
    'BatchNorm, backward': ('native_batch_norm_backward', 'batch_norm_backward'), 'BatchNorm, forward': ('native_batch_norm',), 'ReLU6, forward and backward': ('hardtanh', 'clamp'),
    'optimiser (fastai AdamW)': ('step',), 'augmentation (grid sample)': ('grid_sampler', 'affine_grid'), 'linear heads': ('addmm', 'aten::mm', 'linear'), 'losses': ('softmax', 'nll', 'binary_cross', 'log_sigmoid')}

def kind_of(name):
    return next((kind for kind,parts in KINDS.items() if any(o in name for o in parts)), 'everything else')

if __name__=='__main__':
    args = arguments(__doc__, batches=12)
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator()
    from fastai.callback.core import Callback, CancelFitException
    from torch.profiler import ProfilerActivity, profile, record_function
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.training.learner import fashion_learner
    learn = fashion_learner(read_catalogue(args.table))
    learn.create_opt()
    learn.unfreeze()
    step = learn.opt.step
    def marked(*a, **k):
        with record_function('optimiser step'): return step(*a, **k)
    learn.opt.step = marked
    class Window(Callback):
        order = 100
        def __init__(self): self.profile = profile(activities=[ProfilerActivity.CPU])
        def after_batch(self):
            if self.iter==2: self.profile.__enter__()
            if self.iter==2+args.batches:
                self.profile.__exit__(None, None, None)
                raise CancelFitException
    window = Window()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=window)
    events = window.profile.events()
    inside = [(o.time_range.start, o.time_range.end) for o in events if o.name=='optimiser step']
    spent = {}
    for o in events:
        kind = 'optimiser (fastai AdamW)' if any(a<=o.time_range.start<=b for a,b in inside) else kind_of(o.name)
        spent[kind] = spent.get(kind, 0)+o.self_cpu_time_total
    total = sum(spent.values())
    rows = [[kind, f'{us/args.batches/1e3:.0f}', f'{us/total:.0%}'] for kind,us in sorted(spent.items(), key=lambda o: -o[1])]
    report('profile', markdown(['part of a step (64 images, 128 px)', 'ms', 'share'], rows), args.write)
