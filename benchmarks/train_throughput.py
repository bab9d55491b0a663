"""Training images per second: ours, ours with the lowest layer group frozen and the pretrained statistics of BatchNorm
(as a plan of `train --minutes` of fewer than five epochs), plain fastai, fastai as an expert sets it, and the ceiling
(our network, loss and optimiser on one ready batch, all unfrozen).

Each trains through its own `Learner.fit` in a process of its own, because the allocator setting holds for a whole
process. They take turns. With `--device cuda` all of them compute in 16 bits, as the GPU prefers, fastai loads with
worker processes, and the result goes to a place of its own for each architecture.

    python benchmarks/train_throughput.py [TABLE] [--sizes 128,224] [--arch tf_efficientnet_lite0] [--write]
    python benchmarks/train_throughput.py [TABLE] --device cuda --arch resnet50 --sizes 224 --weights none --bs 128
"""
from functools import partial
from bench import alternate, arguments, now, rates, report, use_device

SHORT = 'ours, short plan'

def our_learner(args, is_short):
    "Return a learner of this library, as it trains by default or in a short plan"
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator()
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.training.learner import fashion_learner
    norm_stats = 'pretrained' if is_short else 'batch'
    catalogue = read_catalogue(args.table)
    return fashion_learner(catalogue, args.arch, args.size, args.bs, args.weights, norm_stats=norm_stats)

def make_learner(name, args):
    "Return the learner of a contender, unfrozen"
    import timm
    from fashion_fastai.training.precision import fastest_precision, precision_callback
    args.precision = fastest_precision(None, args.size, use_device(args.device), measure=False)
    if name in ('ours', SHORT, 'ceiling'): learn = our_learner(args, name==SHORT)
    else:
        from peers.plain_fastai import learner
        body = timm.create_model(args.arch, num_classes=0) if args.weights=='none' else None
        learn = learner(args.table, args.arch, args.size, args.bs, name=='expert', body)
    if name!='ceiling': learn.add_cbs(precision_callback(args.precision))
    learn.create_opt()
    if name==SHORT: learn.freeze_to(1)
    else: learn.unfreeze()
    return learn

def ceiling(learn, n, precision):
    "Return a function that measures the bare step, repeated on the same batch"
    import torch
    dtype = getattr(torch, precision)
    autocast = partial(torch.autocast, learn.dls.device.type, dtype, enabled=dtype!=torch.float32)
    x,*ys = learn.dls.train.one_batch()
    x = x.as_subclass(torch.Tensor).contiguous(memory_format=torch.channels_last)
    learn.model.to(device=x.device, memory_format=torch.channels_last).train()
    def work():
        started = now()
        for _ in range(n):
            with autocast(): loss = learn.loss_func(learn.model(x), *ys)
            loss.backward()
            learn.opt.step()
            learn.opt.zero_grad()
        return n*len(x)/(now()-started)
    return work

def prepare(name, args):
    "Return a function that measures the rate of a contender, in images per second"
    learn = make_learner(name, args)
    if name=='ceiling': return ceiling(learn, args.batches, args.precision)
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
    args = arguments(__doc__, rounds=7, batches=6, sizes='128,224', arch='tf_efficientnet_lite0', weights='auto', bs=64,
        device='cpu')
    references,tables = ('ceiling', 'plain fastai', 'expert'),[]
    for size in map(int, args.sizes.split(',')):
        args.size = size
        figures = alternate(('ours', SHORT, *references), prepare, args, args.rounds)
        tables.append(rates(figures, references, f'{args.arch}, batches of {args.bs}, {args.size} px, {args.device}'))
    name = 'train_throughput' if args.device=='cpu' else f'train_throughput_{args.arch}_{args.device}'
    report(name, '\n\n'.join(tables), args.write)
