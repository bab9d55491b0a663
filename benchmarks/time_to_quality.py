"""Scores on the validation split against wall-clock seconds: `fashion-fastai train` with its defaults, plain fastai,
and fastai as an expert sets it.

Each runs alone in a process of its own, one after the other. The clock starts after the imports and counts everything
from reading the table on. Same body, 128 px, batches of 64, one frozen epoch and four unfrozen ones, thresholds of 0.5
for all. Writes a plot beside docs/results.md.

    python benchmarks/time_to_quality.py [TABLE] [--write]
"""
import json, multiprocessing, tempfile, threading, time
from pathlib import Path
from bench import RESULTS, arguments, markdown, report

SCORES = {'category/accuracy': 'category accuracy', 'category/mean_class_accuracy': 'mean class accuracy',
    'attributes/samples_f1': 'samples F1', 'attributes/macro_f1': 'macro F1'}
MAIN = ('category/accuracy', 'attributes/macro_f1')

def point(seconds, metrics):
    "Return the scores of `metrics` with their time"
    scores = {name: metrics['targets'][name.split('/')[0]][name.split('/')[1]] for name in SCORES}
    return dict(seconds=seconds, **scores)

def _watch(history, times, started, stop):
    "Append the time at which each row of `history` appears, until `stop` is set"
    while not stop.is_set():
        n_rows = len(history.read_text().splitlines())-1 if history.is_file() else 0
        while len(times)<n_rows: times.append(time.perf_counter()-started)
        stop.wait(0.1)

def ours(table, pipe):
    "Send a point for the linear probe, one for each epoch and one for the finished run"
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator() # as the command does
    import pandas as pd
    from fashion_fastai.config import make_config
    from fashion_fastai.experiments import prepare
    from fashion_fastai.experiments.train import train
    config = make_config('two-head', dict(data=dict(path=table)))
    points,times = [],[]
    stop = threading.Event()
    started = time.perf_counter()
    probe = prepare.linear_probe
    def timed_probe(*args):
        result = probe(*args)
        points.append(point(time.perf_counter()-started, result.predictions.metrics('valid')))
        return result
    prepare.linear_probe = timed_probe # the command itself has no place to note the time
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)/'run'
        watcher = threading.Thread(target=_watch, args=(run/'history.csv', times, started, stop))
        watcher.start()
        train(config, run)
        end = time.perf_counter()-started
        stop.set()
        watcher.join()
        history = pd.read_csv(run/'history.csv')
        for i,seconds in enumerate(times):
            points.append(dict(seconds=seconds, **{name: history[f'valid/{name}'][i] for name in SCORES}))
        points.append(point(end, json.loads((run/'metrics.json').read_text())))
    pipe.send(points)

def theirs(table, is_expert, pipe):
    "Send a point for each epoch of fastai"
    import numpy as np, torch
    from fastai.callback.core import Callback
    from fashion_fastai.metrics import compute_metrics
    from fashion_fastai.schema import Schema
    from fashion_fastai.target import any_of, one_of
    from peers.plain_fastai import learner
    points = []
    started = time.perf_counter()
    learn = learner(table, expert=is_expert)
    schema = Schema(targets=[one_of('category', learn.dls.vocab[0]), any_of('attributes', learn.dls.vocab[1])])
    class Score(Callback):
        "Score the predictions of each epoch"
        def before_validate(self): self.batches = []
        def after_batch(self):
            if not self.training: self.batches.append([*self.pred, *self.yb])
        def after_epoch(self):
            seconds = time.perf_counter()-started
            tensors = [torch.cat(batch).as_subclass(torch.Tensor).float().cpu().numpy() for batch in zip(*self.batches)]
            category,attributes,*truth = tensors
            probs = dict(category=category, attributes=1/(1+np.exp(-attributes)))
            codes = {name: values.astype(int) for name,values in zip(schema.names, truth)}
            points.append(point(seconds, compute_metrics(schema, probs, codes)))
    learn.add_cb(Score())
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(4, 1e-2 if is_expert else 2e-3, freeze_epochs=1)
    pipe.send(points)

def in_process(work, *args):
    "Return the points of a contender in a process of its own"
    spawn = multiprocessing.get_context('spawn')
    pipe,theirs = spawn.Pipe()
    process = spawn.Process(target=work, args=(*args, theirs))
    process.start()
    points = pipe.recv()
    process.join()
    return points

def seconds_until(points, goal):
    "Return the time at which the main scores reach those of `goal`, NaN if never"
    return next((p['seconds'] for p in points if all(p[name]>=goal[name] for name in MAIN)), float('nan'))

def plot(points, path):
    "Write a plot of the main scores against time"
    import matplotlib.pyplot as plt
    fig,axes = plt.subplots(1, 2, figsize=(9, 3.6), layout='constrained')
    longest = max(p['seconds'] for values in points.values() for p in values)
    ticks = [tick for tick in (5, 10, 20, 50, 100, 200, 500, 1000, 2000) if tick<=1.2*longest]
    for ax,score in zip(axes, MAIN):
        for (name,values),color in zip(points.items(), ('#888888', '#1b6ca8', '#d1752b')):
            times,scores = [p['seconds'] for p in values],[p[score] for p in values]
            ax.plot(times, scores, marker='o', markersize=4, color=color, label=name)
        ax.set(xscale='log', xlabel='seconds since the imports (log)', title=SCORES[score])
        ax.set_xticks(ticks, ticks)
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0].legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    fig.savefig(path, dpi=110)

def summary(points):
    "Return sentences that compare ours with both ways of fastai"
    sentences = []
    for name in ('plain fastai', 'expert'):
        end = points[name][-1]
        seconds = seconds_until(points['ours'], end)
        sentences.append(f'Ours reached the final category accuracy and macro F1 of {name} in {seconds:.1f} s, '
            f'1/{end["seconds"]/seconds:.0f} of its {end["seconds"]:.0f} s.')
    total = points['ours'][-1]['seconds']
    share = total/points['plain fastai'][-1]['seconds']
    sentences.append(f'All of ours took {total:.0f} s, {share:.2f} of the time of plain fastai.')
    return ' '.join(sentences)

if __name__=='__main__':
    args = arguments(__doc__)
    points = {'plain fastai': in_process(theirs, args.table, False), 'ours': in_process(ours, args.table),
        'expert': in_process(theirs, args.table, True)}
    rows = [[name, f'{p["seconds"]:.0f}', *[f'{p[score]:.3f}' for score in SCORES]]
        for name,values in points.items() for p in values]
    if args.write: plot(points, RESULTS.parent/'_static/time_to_quality.png')
    table = markdown(['', 'seconds', *SCORES.values()], rows)
    image = '![Scores against time](_static/time_to_quality.png)'
    report('time_to_quality', f'{table}\n\n{summary(points)}\n\n{image}', args.write)
