"""What pays at which budget: scores on the validation split and seconds of trainings of all sizes and epochs, with
the lowest layer group frozen as in the plans of `train --minutes`. The rungs of fashion_fastai/plans/minutes.yaml
are read from this table: the least number of images from which a size beats the one below it in the same time.

    python benchmarks/minutes.py [TABLE] [--sizes 96,128,160,224] [--epochs 2,4,8,16] [--seeds 3] [--write]
"""
import json, statistics, tempfile, time
from pathlib import Path
from bench import arguments, markdown, report

SCORES = {'category': ('accuracy', 'mean_class_accuracy'), 'attributes': ('samples_f1', 'macro_f1')}

def training(table, size, epochs, seed):
    "Return the seconds of a training, its four scores and its lowest validation loss"
    import pandas as pd
    from fashion_fastai.config import make_config
    from fashion_fastai.experiments.train import train
    settings = dict(data=dict(path=table), image=dict(size=size), training=dict(epochs=epochs, unfrozen=2, seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = train(make_config('two-head', settings), Path(folder)/'run', echo=lambda line: None)
        seconds = time.perf_counter()-started
        targets = json.loads(run.metrics.read_text())['targets']
        loss = pd.read_csv(run.history)['valid/loss'].iloc[-1]
    return seconds,*[targets[name][score] for name,scores in SCORES.items() for score in scores],loss

if __name__=='__main__':
    args = arguments(__doc__, sizes='96,128,160,224', epochs='2,4,8,16', seeds=3)
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator() # as the command does
    rows = []
    for size in map(int, args.sizes.split(',')):
        for epochs in map(int, args.epochs.split(',')):
            results = [training(args.table, size, epochs, 42+number) for number in range(args.seeds)]
            seconds,*scores = map(statistics.mean, zip(*results))
            rows.append([size, epochs, f'{seconds:.0f}', *[f'{score:.3f}' for score in scores]])
            print(*rows[-1], flush=True)
    names = 'category accuracy', 'mean class accuracy', 'samples F1', 'macro F1', 'loss'
    report('minutes', markdown(['pixels', 'epochs', 'seconds', *names], rows), args.write)
