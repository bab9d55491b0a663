"""Training images per second: ours, plain fastai, fastai as an expert sets it, and the ceiling (our network, loss and
optimiser on one ready batch).

Each trains through its own `Learner.fit` in a process of its own, because the allocator setting holds for a whole
process. They take turns.

    python benchmarks/train_throughput.py [TABLE] [--write]
"""
from bench import alternate, arguments, now, rates, report

def make_learner(name, table):
    "Return the learner of a contender, all unfrozen"
    if name in ('ours', 'ceiling'):
        from fashion_fastai.core.allocator import tune_allocator
        tune_allocator()
        from fashion_fastai.data.catalogue import read_catalogue
        from fashion_fastai.training.learner import fashion_learner
        learn = fashion_learner(read_catalogue(table))
    else:
        from peers.plain_fastai import learner
        learn = learner(table, expert=name=='expert')
    learn.create_opt()
    learn.unfreeze()
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
    learn = make_learner(name, args.table)
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
    args = arguments(__doc__, rounds=7, batches=6)
    references = ('ceiling', 'plain fastai', 'expert')
    figures = alternate(('ours', *references), prepare, args, args.rounds)
    report('train_throughput', rates(figures, references, 'training, batches of 64, 128 px'), args.write)
