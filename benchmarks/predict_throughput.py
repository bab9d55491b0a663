"""Predicted images a second, from image files to probabilities: ours, fastai's get_preds plain and as an expert sets it, and the ceiling (the forward
pass of the same network, as it was trained, over ready batches: nothing is read).

    python benchmarks/predict_throughput.py [TABLE] [--write]
"""
import time
from bench import alternate, arguments, rates, report

def ours(table, n, from_files):
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
    paths = (catalogue.paths*(1+n//len(catalogue)))[:n]
    network = create_network(catalogue.schema).eval().to(memory_format=torch.channels_last)
    config = make_config('two-head', dict(image=dict(zip(('mean', 'std'), body_stats(network.body)))))
    fast = fuse_conv_bn(network, 128)
    if from_files: return lambda: predict_files(fast, catalogue.schema, paths, config)
    x = torch.rand(64, 3, 128, 128).to(memory_format=torch.channels_last)
    def forward():
        with torch.inference_mode():
            for _ in range(n//64): network(x)
    return forward

def theirs(table, n, expert):
    from peers.plain_fastai import learner
    learn = learner(table, expert=expert)
    frame = learn.dls.train_ds.items
    frame = frame.iloc[[i%len(frame) for i in range(n)]]
    if expert:
        import torch
        learn.model.to(memory_format=torch.channels_last)
    def work():
        with learn.no_bar(): learn.get_preds(dl=learn.dls.test_dl(frame, num_workers=0))
    return work

def prepare(name, args):
    n = 64*args.batches
    work = theirs(args.table, n, name=='expert') if name in ('plain fastai', 'expert') else ours(args.table, n, name=='ours')
    def timed():
        started = time.perf_counter()
        work()
        return n/(time.perf_counter()-started)
    return timed

if __name__=='__main__':
    args = arguments(__doc__, rounds=7, batches=12)
    seen = alternate(('ours', 'ceiling', 'plain fastai', 'expert'), prepare, args, args.rounds)
    report('predict_throughput', rates(seen, ('ceiling', 'plain fastai', 'expert'), 'prediction from files, batches of 64, 128 px'), args.write)
