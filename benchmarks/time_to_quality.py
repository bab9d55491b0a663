"""Scores on the validation split against wall-clock seconds: `fashion-fastai train` as it comes, plain fastai, and fastai as an expert sets it.

Each runs alone in a process of its own, one after the other; the clock starts when its imports are done and counts everything from reading the table on. Same body, 128 px, batches
of 64, one frozen epoch and four of everything, thresholds of 0.5 for all. Writes a plot beside docs/results.md.

    python benchmarks/time_to_quality.py [TABLE] [--write]
"""
import multiprocessing, tempfile, threading, time
from pathlib import Path
from bench import RESULTS, arguments, markdown, report

SCORES = {'category/accuracy': 'category accuracy', 'category/mean_class_accuracy': 'mean class accuracy', 'attributes/samples_f1': 'samples F1', 'attributes/macro_f1': 'macro F1'}

def _watch(history, seen, clock, done):
    "Note when each row of a history appears"
    while not done.is_set():
        n = len(history.read_text().splitlines())-1 if history.is_file() else 0
        while len(seen)<n: seen.append(clock())
        done.wait(0.1)

def ours(table, pipe):
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator() # as the command does
    import json, pandas as pd
    from fashion_fastai.config import make_config
    from fashion_fastai import experiment
    config = make_config('two-head', dict(data=dict(path=table)))
    points,seen,done,began = [],[],threading.Event(),time.perf_counter()
    clock = lambda: time.perf_counter()-began
    flat = lambda metrics: {k: metrics['targets'][k.split('/')[0]][k.split('/')[1]] for k in SCORES}
    linear_probe = experiment.linear_probe
    def noted(*args): # the stage as it is, and when it was done
        stage = linear_probe(*args)
        points.append(dict(seconds=clock(), **flat(stage.predictions.metrics('valid'))))
        return stage
    experiment.linear_probe = noted
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)/'run'
        watcher = threading.Thread(target=_watch, args=(run/'history.csv', seen, clock, done))
        watcher.start()
        experiment.train(config, run)
        end = clock()
        done.set(); watcher.join()
        rows = pd.read_csv(run/'history.csv')
        points += [dict(seconds=s, **{k: rows[f'valid/{k}'][i] for k in SCORES}) for i,s in enumerate(seen)]
        points.append(dict(seconds=end, **flat(json.loads((run/'metrics.json').read_text()))))
    pipe.send(points)

def theirs(table, expert, pipe):
    import numpy as np, torch
    from fastai.callback.core import Callback
    from fashion_fastai.schema import Schema
    from fashion_fastai.target import any_of, one_of
    from fashion_fastai.metrics import compute_metrics
    from peers.plain_fastai import learner
    points,began = [],time.perf_counter()
    learn = learner(table, expert=expert)
    schema = Schema(targets=[one_of('category', learn.dls.vocab[0]), any_of('attributes', learn.dls.vocab[1])])
    class Note(Callback):
        def before_validate(self): self.said = []
        def after_batch(self):
            if not self.training: self.said.append([*self.pred, *self.yb])
        def after_epoch(self):
            seconds,(category,attributes,*truth) = time.perf_counter()-began,[torch.cat(o).as_subclass(torch.Tensor).numpy() for o in zip(*self.said)]
            metrics = compute_metrics(schema, dict(category=category, attributes=1/(1+np.exp(-attributes))), dict(zip(schema.names, [o.astype(int) for o in truth])))
            points.append(dict(seconds=seconds, **{k: metrics['targets'][k.split('/')[0]][k.split('/')[1]] for k in SCORES}))
    learn.add_cb(Note())
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(4, 1e-2 if expert else 2e-3, freeze_epochs=1)
    pipe.send(points)

def alone(work, *args):
    "The points of a contender in a process of its own"
    spawn = multiprocessing.get_context('spawn')
    pipe,end = spawn.Pipe()
    process = spawn.Process(target=work, args=(*args, end))
    process.start()
    points = pipe.recv()
    process.join()
    return points

def first(points, wanted, scores): # seconds until all of `scores` are reached
    return next((o['seconds'] for o in points if all(o[k]>=wanted[k] for k in scores)), float('nan'))

def plot(seen, path):
    import matplotlib.pyplot as plt
    fig,axes = plt.subplots(1, 2, figsize=(9, 3.6), layout='constrained')
    for ax,score in zip(axes, ('category/accuracy', 'attributes/macro_f1')):
        for (name,points),color in zip(seen.items(), ('#888888', '#1b6ca8', '#d1752b')):
            ax.plot([o['seconds'] for o in points], [o[score] for o in points], marker='o', markersize=4, color=color, label=name)
        ax.set(xscale='log', xlabel='seconds since the imports (log)', title=SCORES[score])
        ax.set_xticks(ticks:=[o for o in (5, 10, 20, 50, 100, 200, 500, 1000, 2000) if o<=1.2*max(p['seconds'] for points in seen.values() for p in points)], ticks)
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0].legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    fig.savefig(path, dpi=110)

if __name__=='__main__':
    args = arguments(__doc__)
    seen = {'plain fastai': alone(theirs, args.table, False), 'ours': alone(ours, args.table), 'expert': alone(theirs, args.table, True)}
    rows = [[name, f'{o["seconds"]:.0f}', *[f'{o[k]:.3f}' for k in SCORES]] for name in seen for o in seen[name]]
    said = []
    for name in ('plain fastai', 'expert'):
        end = seen[name][-1]
        took = first(seen['ours'], end, ('category/accuracy', 'attributes/macro_f1'))
        said.append(f'Ours reached the final category accuracy and macro F1 of {name} in {took:.1f} s, 1/{end["seconds"]/took:.0f} of its {end["seconds"]:.0f} s.')
    last = seen['ours'][-1]
    said.append(f'All of ours took {last["seconds"]:.0f} s, {last["seconds"]/seen["plain fastai"][-1]["seconds"]:.2f} of plain fastai\'s time in the same run.')
    if args.write: plot(seen, RESULTS.parent/'_static/time_to_quality.png')
    text = markdown(['', 'seconds', *SCORES.values()], rows)+'\n\n'+' '.join(said)+'\n\n![Scores against time](_static/time_to_quality.png)'
    report('time_to_quality', text, args.write)
