"""Whether a promised precision holds on images that it was not fitted on: random halves of the validation split; each
is fitted on, the other half and all rows are scored. Beside it the lowest thresholds that had the precision.

    python benchmarks/acceptance.py [TABLE] [--run runs/shop] [--halves 40] [--epochs 5] [--write]

`--run` names a run folder, or the `valid.parquet` of one; without it, a run is trained on the table.
"""
import math, tempfile
from dataclasses import replace
from pathlib import Path
import numpy as np
from bench import arguments, markdown, report

def trained_run(table, epochs):
    "Train once with the defaults; return the run folder"
    from fashion_fastai.cli import main
    out = Path(tempfile.mkdtemp())/'run'
    if main(['train', '--data', table, '--epochs', str(epochs), '--out', str(out)]): raise SystemExit('no run')
    return out

def read_held_out(path):
    "Return predictions of the validation split and their products"
    from fashion_fastai.evaluation.predictions import held_out_predictions, read_predictions
    if path.suffix=='.parquet': return read_predictions(path), None
    from fashion_fastai.evaluation.evaluate import held_out_groups
    from fashion_fastai.run import open_run
    run = open_run(path)
    return held_out_predictions(run), held_out_groups(run)

def take(predictions, rows):
    "Return some rows of predictions"
    def some(arrays): return {name: values[rows] for name,values in arrays.items()}
    files = [predictions.files[row] for row in rows]
    return replace(predictions, files=files, probs=some(predictions.probs), truth=some(predictions.truth))

def lowest(confidence, is_wrong, promise):
    "Return the lowest threshold whose precision on these answers is at least the promise; infinite if there is none"
    order = np.argsort(-confidence, kind='stable')
    right = 1-is_wrong[order].cumsum()/np.arange(1, len(order)+1)
    enough = np.flatnonzero(right>=promise)
    return float(confidence[order][enough[-1]]) if len(enough) else math.inf

def plain_acceptance(predictions, promise):
    "Return the lowest thresholds that have the precision on the rows of the fit"
    from fashion_fastai.evaluation.acceptance import Acceptance
    thresholds = {}
    for target in predictions.schema:
        probs,truth = predictions.probs[target.name],predictions.truth[target.name]
        if target.kind=='one_of':
            known = truth>=0
            found = {'': lowest(probs.max(1)[known], (probs.argmax(1)!=truth)[known], promise)}
        else:
            known = (truth>=0) & (probs>=0.5)
            found = {label: lowest(probs[known[:,i],i], truth[known[:,i],i]==0, promise)
                for i,label in enumerate(target.vocab)}
        found = {label: threshold for label,threshold in found.items() if threshold<=1}
        thresholds[target.name] = found if target.kind=='any_of' else found.get('', 1.)
    return Acceptance(precision=promise, confidence=0.9, thresholds=thresholds)

def tested_acceptance(predictions, promise, groups):
    "Return the thresholds of `calibrate --accept-precision`"
    from fashion_fastai.evaluation.coverage import as_acceptance, fit_promises
    return as_acceptance(fit_promises(predictions, promise, 0.9, groups), promise, 0.9)

def scores(acceptance, predictions, thresholds):
    "Return for each target the share accepted, the share right of these, and the lowest such share of a label"
    from fashion_fastai.evaluation.acceptance import accept
    accepted,found = accept(acceptance, predictions, thresholds),{}
    for target in predictions.schema:
        name,probs,truth = target.name,predictions.probs[target.name],predictions.truth[target.name]
        codes = target.decide(probs, thresholds.get(name, 0.5))
        answered = (truth>=0) & ((codes==1) if target.kind=='any_of' else True)
        live,right = answered & accepted[name],truth==codes
        labels = [right[:,i][live[:,i]].mean() for i in np.flatnonzero(live.any(0))] if target.kind=='any_of' else []
        share = right[live].mean() if live.any() else math.nan
        found[name] = live.sum()/answered.sum(),share,min(labels, default=share)
    return found

def measure(predictions, groups, n_halves):
    "Return a list of scores on the other half and on all rows, by method, promise and target"
    from fashion_fastai.data.splits import group_codes
    from fashion_fastai.evaluation.calibration import fit_calibration
    codes,found = group_codes(predictions.files if groups is None else groups),{}
    for seed in range(n_halves):
        in_half = np.random.default_rng(seed).permutation(codes.max()+1)<(codes.max()+1)//2
        rows,others = np.flatnonzero(in_half[codes]),np.flatnonzero(~in_half[codes])
        calibration = fit_calibration(take(predictions, rows))
        parts = take(predictions, rows),take(predictions, others),predictions
        half,other,both = map(calibration.apply, parts)
        for promise in (0.9, 0.95, 0.99):
            fits = dict(tested=tested_acceptance(half, promise, codes[rows]), plain=plain_acceptance(half, promise))
            for method,acceptance in fits.items():
                on_other,on_all = (scores(acceptance, some, calibration.thresholds) for some in (other, both))
                for name in predictions.schema.names:
                    found.setdefault((name, promise, method), []).append((*on_other[name], *on_all[name]))
    return found

def table_rows(found):
    "Return a row of text for each target, promise and method"
    rows = []
    for (name,promise,method),values in found.items():
        share,right,_,_,right_all,worst_all = np.array(values).T
        def broken(values, promise=promise): return f'{np.mean(values<promise):.0%}' # NaN: nothing was accepted
        mean = f'{np.nanmean(right):.3f}' if np.isfinite(right).any() else '–'
        rows.append([name, f'{promise:g}', method, f'{share.mean():.1%}', mean, broken(right), broken(right_all),
            broken(worst_all)])
    return sorted(rows, key=lambda row: (row[0]!='category', row[0], row[1], row[2]!='tested'))

if __name__=='__main__':
    args = arguments(__doc__, run='', halves=40, epochs=5)
    run = Path(args.run) if args.run else trained_run(args.table, args.epochs)
    predictions,groups = read_held_out(run)
    header = ['target', 'promise', 'thresholds', 'accepted', 'right on the other half', 'broken there',
        'broken on all rows', 'or for a label']
    rows = table_rows(measure(predictions, groups, args.halves))
    title = f'{args.halves} halves of {len(predictions):,} images; confidence 0.9'
    report('acceptance', f'{title}\n\n{markdown(header, rows)}', args.write)
