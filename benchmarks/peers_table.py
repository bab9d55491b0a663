"""Scores on the validation split for the minutes given: `fashion-fastai train`, fastai, and what else one would use

All get the same table, split, pretrained weights and minutes, and run alone, one after the other. The seconds are those
of the whole process, imports and predictions included. The scores are computed here, from the probabilities that each
writes; thresholds are fitted to one half of the rows and scored on the other. AutoGluon predicts the category alone.

Each of `timm_loop`, `hf_trainer` and `autogluon_multimodal` gets an environment of its own in the folder `--work`, of 6
GB and more; `--remove` deletes it when its runs are done. What was measured is kept there too and not measured again.

    python benchmarks/peers_table.py TABLE [--minutes 3,10] [--only ours,timm_loop] [--remove] [--write]
"""
import json, math, os, shutil, subprocess, sys, time
from pathlib import Path
from bench import RESULTS, arguments, markdown, report

HERE = Path(__file__).parent
ARCH = 'tf_efficientnet_lite0'
NAMES = dict(ours='fashion-fastai train', plain_fastai='plain fastai', expert_fastai='fastai, expert',
    timm_loop='timm loop', hf_trainer='Hugging Face Trainer', autogluon_multimodal='AutoGluon MultiModal')
COLORS = dict(ours='#1b6ca8', plain_fastai='#888888', expert_fastai='#d1752b', timm_loop='#3c8d40',
    hf_trainer='#c0a000', autogluon_multimodal='#8e4a9e')
FITTED = 'fitted' # ending of a score at cross-fitted thresholds
SCORES = {'category/accuracy': 'category accuracy', 'category/mean_class_accuracy': 'mean class accuracy',
    'attributes/samples_f1': 'samples F1', 'attributes/macro_f1': 'macro F1',
    f'attributes/samples_f1/{FITTED}': 'samples F1, fitted', f'attributes/macro_f1/{FITTED}': 'macro F1, fitted'}
PLOTTED = [name for name in SCORES if name.startswith('category') or name.endswith(FITTED)]

# environments and weights
def environment(name, work):
    "Return the Python of a peer's environment, made if it is not there"
    folder = work/name
    python,done = folder/'bin/python',folder/'installed'
    if done.is_file(): return python
    print(f'installing {name} into {folder}', flush=True)
    subprocess.run([sys.executable, '-m', 'venv', '--clear', folder], check=True)
    requirements = HERE/f'peers/requirements/{name}.txt'
    subprocess.run([python, '-m', 'pip', 'install', '--quiet', '--requirement', requirements], check=True)
    done.touch()
    return python

def write_weights(folder):
    "Write the body's weights and configuration in the layout of the hub, which timm and AutoGluon read from a folder"
    import timm, torch
    from fashion_fastai.models.weights import package_weights
    state = package_weights(ARCH).cfg['state_dict']
    folder.mkdir(parents=True, exist_ok=True)
    body = {name: values for name,values in state.items() if not name.startswith('classifier')}
    torch.save(body, folder/'pytorch_model.bin')
    cfg = timm.get_pretrained_cfg(ARCH).to_dict()
    config = dict(architecture=ARCH, num_features=body['bn2.weight'].numel(), num_classes=0, pretrained_cfg=cfg)
    (folder/'config.json').write_text(json.dumps(config, indent=1))

# runs
def command(name, python, args, minutes, folder):
    "Return the command of a contender that writes into `folder`"
    minutes = f'{minutes:g}'
    if name=='ours':
        return [python, '-m', 'fashion_fastai.cli', 'train', '--data', args.table, '--one-of', 'category',
            '--any-of', 'attributes', '--arch', ARCH, '--weights', 'package', '--minutes', minutes,
            '--out', folder/'run']
    expert = ['--expert'] if name=='expert_fastai' else []
    module = 'plain_fastai' if expert else name
    return [python, '-m', f'peers.{module}', args.table, minutes, args.work/'weights', folder/'probs.npz',
        '--size', args.size, *expert]

def run(name, args, minutes):
    "Run a contender, unless that was done, and return its folder"
    folder = args.work/'runs'/f'{name}-{minutes:g}'
    done,task = folder/'done.json',dict(table=args.table, size=args.size)
    if done.is_file() and task.items()<=json.loads(done.read_text()).items(): return folder
    has_own = (HERE/f'peers/requirements/{name}.txt').is_file()
    python = environment(name, args.work) if has_own else Path(sys.executable)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    line = [str(part) for part in command(name, python, args, minutes, folder)]
    print(' '.join(line), flush=True)
    with open(folder/'log.txt', 'w') as log:
        started = time.perf_counter()
        result = subprocess.run(line, cwd=HERE, stdout=log, stderr=log, env={**os.environ, 'HF_HUB_OFFLINE': '1'})
        seconds = time.perf_counter()-started
    if result.returncode: raise SystemExit(f'{NAMES[name]} ended with {result.returncode}; see {folder/"log.txt"}')
    done.write_text(json.dumps(dict(task, seconds=seconds)))
    return folder

# scores
def read_probs(path, table):
    "Return the probabilities that a peer wrote as predictions with the labels of `table`"
    import numpy as np, pandas as pd
    from fashion_fastai.evaluation.predictions import Predictions
    from fashion_fastai.schema import Schema
    from fashion_fastai.target import any_of, one_of
    arrays = np.load(path)
    makers = dict(category=one_of, attributes=any_of)
    targets = [make(name, arrays[f'{name}_vocab'].tolist()) for name,make in makers.items() if name in arrays]
    schema,files = Schema(targets=targets),arrays['files'].tolist()
    frame = pd.read_csv(table, dtype=str, keep_default_na=False).set_index('file').loc[files]
    probs = {name: arrays[name].astype(np.float32) for name in schema.names}
    return Predictions(schema, files, probs, schema.encode(frame))

def read_predictions_of(name, folder, table):
    "Return the predictions of a contender for the validation split"
    from fashion_fastai.evaluation.predictions import read_predictions
    if name=='ours': return read_predictions(folder/'run/predictions/valid.parquet')
    return read_probs(folder/'probs.npz', table)

def score(predictions):
    "Return the value of each of `SCORES`, NaN for a target that was not predicted"
    from fashion_fastai.evaluation.calibration import cross_fitted
    plain = predictions.metrics('valid')['targets']
    fitted = cross_fitted(predictions)[FITTED]
    values = {}
    for name in SCORES:
        target,key,*is_fitted = name.split('/')
        if target not in plain: values[name] = float('nan')
        else: values[name] = fitted[target, key] if is_fitted else plain[target][key]
    return values

def row(name, minutes, folder, table):
    "Return the minutes, seconds and scores of a run"
    seconds = json.loads((folder/'done.json').read_text())['seconds']
    return dict(name=name, minutes=minutes, seconds=seconds, **score(read_predictions_of(name, folder, table)))

# results
def table_of(rows):
    "Return a Markdown table of `rows`, by minutes"
    def cell(value): return '' if math.isnan(value) else f'{value:.3f}'
    lines = [[f'{r["minutes"]:g}', NAMES[r['name']], f'{r["seconds"]:.0f}', *[cell(r[name]) for name in SCORES]]
        for r in sorted(rows, key=lambda r: r['minutes'])]
    return markdown(['minutes', '', 'seconds', *SCORES.values()], lines)

def curves(rows, score):
    "Return the seconds and values of one score for each contender that has it"
    found = {}
    for r in sorted(rows, key=lambda r: r['seconds']):
        if math.isnan(r[score]): continue
        seconds,values = found.setdefault(r['name'], ([], []))
        seconds.append(r['seconds'])
        values.append(r[score])
    return found

def plot(rows, path):
    "Write a plot of the scores against seconds"
    import matplotlib.pyplot as plt
    fig,axes = plt.subplots(2, 2, figsize=(9, 7), layout='constrained')
    for ax,name in zip(axes.flat, PLOTTED):
        for contender,(seconds,values) in curves(rows, name).items():
            ax.plot(seconds, values, marker='o', markersize=4, color=COLORS[contender], label=NAMES[contender])
        ax.set(xlabel='seconds', title=SCORES[name])
        ax.grid(alpha=0.3)
        ax.spines[['top', 'right']].set_visible(False)
    axes[0,0].legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    fig.savefig(path, dpi=110)

def main():
    args = arguments(__doc__, minutes='3,10', only=','.join(NAMES), work='build/peers', size=128, remove=False)
    args.table,args.work = str(Path(args.table).resolve()),Path(args.work).resolve()
    if unknown:=set(args.only.split(','))-set(NAMES): raise SystemExit(f'{unknown}: choose among {", ".join(NAMES)}')
    write_weights(args.work/'weights')
    rows = []
    for name in args.only.split(','):
        for minutes in map(float, args.minutes.split(',')):
            rows.append(row(name, minutes, run(name, args, minutes), args.table))
            print(table_of(rows[-1:]), flush=True)
        if args.remove: shutil.rmtree(args.work/name, ignore_errors=True)
    if args.write: plot(rows, RESULTS.parent/'_static/peers.png')
    report('peers', f'{table_of(rows)}\n\n![Scores against seconds](_static/peers.png)', args.write)

if __name__=='__main__': main()
