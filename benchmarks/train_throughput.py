"""Training images a second: ours, plain fastai, fastai set by an expert, and the ceiling (our network on a ready batch).

Each has a process of its own, since the allocator setting holds for a whole process. They train in short stretches, one after the other, so that a
drift of the machine hits all alike. Medians and ratios are printed as Markdown.

    python benchmarks/train_throughput.py [TABLE]     (the embedded sample without it)
"""
import argparse, multiprocessing, statistics, time

def make_learner(name, table):
    "The learner of a contender, everything thawed"
    if name in ('ours', 'ceiling'):
        from fashion_fastai.training.speed import keep_memory
        keep_memory()
        from fashion_fastai.data.catalogue import read_catalogue
        from fashion_fastai.training.learner import fashion_learner
        learn = fashion_learner(read_catalogue(table))
    else:
        from fashion_fastai.models.weights import package_weights
        from peers.plain_fastai import learner
        learn = learner(table, expert=name=='expert', overlay=package_weights('tf_efficientnet_lite0').cfg)
    import torch
    if name!='plain': learn.model.to(memory_format=torch.channels_last) # as their callback does when they fit
    learn.create_opt()
    learn.unfreeze()
    return learn

def batches_of(name, learn):
    "Batches without end; for the ceiling always the same one"
    ready = learn.dls.train.one_batch()
    while name=='ceiling': yield ready
    while True: yield from learn.dls.train

def stretch(learn, batches, n)->float:
    "Images a second over `n` training batches, loading included"
    learn.model.train()
    started,images = time.perf_counter(),0
    for _ in range(n):
        x,*ys = next(batches)
        learn.opt.zero_grad()
        learn.loss_func(learn.model(x), *ys).backward()
        learn.opt.step()
        images += len(x)
    return images/(time.perf_counter()-started)

def contender(name, table, n, pipe):
    "Train `n` batches whenever the pipe says so"
    learn = make_learner(name, table)
    batches = batches_of(name, learn)
    pipe.send('ready')
    while pipe.recv(): pipe.send(stretch(learn, batches, n))

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', nargs='?')
    parser.add_argument('--rounds', type=int, default=7, help='stretches of each contender that count')
    parser.add_argument('--batches', type=int, default=6, help='batches in a stretch')
    args = parser.parse_args()
    from fashion_fastai.data.sample import sample_catalogue_path
    table,names = str(args.table or sample_catalogue_path()),('ours', 'ceiling', 'plain', 'expert')
    spawn,pipes = multiprocessing.get_context('spawn'),{}
    for name in names:
        pipes[name],theirs = spawn.Pipe()
        spawn.Process(target=contender, args=(name, table, args.batches, theirs), daemon=True).start()
        pipes[name].recv()
    seen = {name: [] for name in names}
    for number in range(args.rounds+1):
        for name,pipe in pipes.items():
            pipe.send(True)
            rate = pipe.recv()
            if number: seen[name].append(rate) # the first round warms up
    for pipe in pipes.values(): pipe.send(False)
    middle = {name: statistics.median(o) for name,o in seen.items()}
    print('| training | images/s (median) | of the ceiling | of plain fastai |\n| --- | --- | --- | --- |')
    for name,rate in middle.items(): print(f'| {name} | {rate:.0f} | {rate/middle["ceiling"]:.2f} | {rate/middle["plain"]:.2f} |')

if __name__=='__main__': main()
