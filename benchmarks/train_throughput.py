"""Training images per second: ours, ours with the lowest layer group frozen and the pretrained statistics of BatchNorm
(as a plan of `train --minutes` of fewer than five epochs), plain fastai, fastai as an expert sets it, and the ceiling
(our network, loss and optimiser on one ready batch, all unfrozen).

Each trains through its own `Learner.fit` in a process of its own, because the allocator setting holds for a whole
process. They take turns.

    python benchmarks/train_throughput.py [TABLE] [--sizes 128,224] [--arch tf_efficientnet_lite0] [--write]
"""
from bench import alternate, arguments, now, rates, report

SHORT = 'ours, short plan'

def our_learner(args, is_short):
    "Return a learner of this library, as it trains by default or in a short plan"
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator()
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.training.learner import fashion_learner
    norm_stats = 'pretrained' if is_short else 'batch'
    return fashion_learner(read_catalogue(args.table), args.arch, args.size, norm_stats=norm_stats)

def make_learner(name, args):
    "Return the learner of a contender, unfrozen"
    if name in ('ours', SHORT, 'ceiling'): learn = our_learner(args, name==SHORT)
    else:
        from peers.plain_fastai import learner
        learn = learner(args.table, args.arch, args.size, expert=name=='expert')
    learn.create_opt()
    if name==SHORT: learn.freeze_to(1)
    else: learn.unfreeze()
    return learn

def ceiling(learn, n):
    "Return a function that measures the bare step, repeated on the same batch"
    import torch
    x,*ys = learn.dls.train.one_batch()
    x = x.as_subclass(torch.Tensor).contiguous(memory_format=torch.channels_last)
    learn.model.to(device=x.device, memory_format=torch.channels_last).train()
    def work():
        started = now()
        for _ in range(n):
            learn.loss_func(learn.model(x), *ys).backward()
            learn.opt.step()
            learn.opt.zero_grad()
        return n*len(x)/(now()-started)
    return work

def prepare(name, args):
    "Return a function that measures the rate of a contender, in images per second"
    learn = make_learner(name, args)
    if name=='ceiling': return ceiling(learn, args.batches)
    from fastai.callback.core import Callback, CancelFitException
    class Clock(Callback):
        "Measure from the end of the first batch to the end of batch `args.batches+1`, and end the fit"
        order = 100
        def after_batch(self):
            if self.iter==0: self.started = now()
            if self.iter<args.batches: return
            self.rate = args.batches*len(self.xb[0])/(now()-self.started)
            raise CancelFitException
    clock = Clock()
    learn.add_cb(clock)
    def work():
        with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
        return clock.rate
    return work

if __name__=='__main__':
    args = arguments(__doc__, rounds=7, batches=6, sizes='128,224', arch='tf_efficientnet_lite0')
    references,tables = ('ceiling', 'plain fastai', 'expert'),[]
    for size in map(int, args.sizes.split(',')):
        args.size = size
        figures = alternate(('ours', SHORT, *references), prepare, args, args.rounds)
        tables.append(rates(figures, references, f'{args.arch}, batches of 64, {args.size} px'))
    report('train_throughput', '\n\n'.join(tables), args.write)
