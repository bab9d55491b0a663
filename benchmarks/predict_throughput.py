"""Predicted images per second, from image files to probabilities: ours, fastai's get_preds (plain and as an expert
sets it), and the ceiling (the forward pass of the same network, as it was trained, on ready batches: nothing is read).

    python benchmarks/predict_throughput.py [TABLE] [--write]
"""
import time
from bench import alternate, arguments, rates, report

def ours(table, n, from_files):
    "Return a function that predicts `n` images from files, or runs only the network"
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator()
    import torch
    from fashion_fastai.config import make_config
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.evaluation.inference import predict_files
    from fashion_fastai.models.body import body_stats
    from fashion_fastai.models.fusion import fuse_conv_bn
    from fashion_fastai.models.network import create_network
    catalogue = read_catalogue(table)
    network = create_network(catalogue.schema).eval().to(memory_format=torch.channels_last)
    if from_files:
        paths = (catalogue.paths*(1+n//len(catalogue)))[:n]
        config = make_config('two-head', dict(image=dict(zip(('mean', 'std'), body_stats(network.body)))))
        fused = fuse_conv_bn(network, 128)
        return lambda: predict_files(fused, catalogue.schema, paths, config)
    x = torch.rand(64, 3, 128, 128).to(memory_format=torch.channels_last)
    def forward():
        with torch.inference_mode():
            for _ in range(n//64): network(x)
    return forward

def theirs(table, n, is_expert):
    "Return a function that predicts `n` images with fastai"
    import torch
    from peers.plain_fastai import learner
    learn = learner(table, expert=is_expert)
    frame = learn.dls.train_ds.items
    frame = frame.iloc[[i%len(frame) for i in range(n)]]
    if is_expert: learn.model.to(memory_format=torch.channels_last)
    def work():
        with learn.no_bar(): learn.get_preds(dl=learn.dls.test_dl(frame, num_workers=0))
    return work

def prepare(name, args):
    "Return a function that measures the rate of a contender, in images per second"
    n = 64*args.batches
    is_theirs = name in ('plain fastai', 'expert')
    work = theirs(args.table, n, name=='expert') if is_theirs else ours(args.table, n, name=='ours')
    def timed():
        started = time.perf_counter()
        work()
        return n/(time.perf_counter()-started)
    return timed

if __name__=='__main__':
    args = arguments(__doc__, rounds=7, batches=12)
    references = ('ceiling', 'plain fastai', 'expert')
    figures = alternate(('ours', *references), prepare, args, args.rounds)
    report('predict_throughput', rates(figures, references, 'prediction from files, batches of 64, 128 px'), args.write)
