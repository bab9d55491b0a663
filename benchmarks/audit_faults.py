"""Plant faults in three tables, audit them, and compare what is found, suggested and fixed with the truth.

    python benchmarks/audit_faults.py [--tables sample,products,drawn] [--draws 3] [--rows 0] [--write]

Faults: wrong labels (5 %), exact copies across splits (3 %), misspelt labels (two of each target), unreadable files
(1 %). products is shared/data/products/labels.csv beside the repository, or $FASHION_DATA/products/labels.csv; it has
errors of its own, which count as false alarms here. `--rows` takes so many rows of each table, 0 all.
"""
import argparse, os, shutil, tempfile, warnings
from pathlib import Path
import numpy as np, pandas as pd
from bench import markdown, report

ONE_OF = dict(sample=['category'], products=['category', 'gender', 'usage'], drawn=['category'])

def table_of(name, folder):
    "Return the path of a table"
    from fashion_fastai.data.synthetic.dataset import draw_sample, sample_catalogue_path
    if name=='sample': return sample_catalogue_path()
    if name=='drawn': return draw_sample(Path(folder)/'drawn', n=2000, size=96, seed=7)
    data = Path(os.environ.get('FASHION_DATA', Path(__file__).parents[1].parent/'shared/data'))
    return data/'products/labels.csv'

def misspell(label, rng):
    "Swap two letters of a label, or write it with a capital"
    if len(label)<5 or rng.random()<0.3: return label.capitalize()
    i = rng.integers(1, len(label)-1)
    return label[:i]+label[i+1]+label[i]+label[i+2:] if label[i]!=label[i+1] else label[:i]+label[i+1:]

def plant_labels(frame, targets, rng):
    "Change and misspell labels in place; return `row` (position), `target` and `was` of wrong ones, and misspelt names"
    wrong,names = [],{}
    for target in targets:
        vocab = sorted(set(frame[target])-{''})
        known = np.flatnonzero(frame[target]!='')
        for i in rng.choice(known, round(0.05*len(known)), replace=False):
            was = frame.loc[i, target]
            frame.loc[i, target] = rng.choice([label for label in vocab if label!=was])
            wrong.append((i, target, was))
        frequent = frame[target].value_counts().drop('', errors='ignore').head(6).index
        for label in rng.choice(frequent, min(2, len(frequent)), replace=False):
            name = misspell(label, rng)
            if name in vocab: continue
            rows = np.flatnonzero(frame[target]==label)
            frame.loc[rng.choice(rows, max(2, len(rows)//8), replace=False), target] = name
            names[target,name] = label
    return pd.DataFrame(wrong, columns=['row', 'target', 'was']), names

def plant(name, folder, seed, n):
    "Write a table with faults; return its path, targets, the clean frame, and the planted faults by kind"
    from fashion_fastai.data.catalogue import read_catalogue
    rng,source = np.random.default_rng(seed),table_of(name, folder)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        catalogue = read_catalogue(source, one_of=ONE_OF[name], any_of=['attributes'])
    if n and n<len(catalogue): catalogue = catalogue.take(np.sort(rng.choice(len(catalogue), n, replace=False)))
    frame = catalogue.frame.fillna('').astype(str).reset_index(drop=True).assign(split=catalogue.split)
    for file,path in zip(frame.file, catalogue.paths):
        (folder/file).parent.mkdir(parents=True, exist_ok=True)
        if not (folder/file).exists(): shutil.copyfile(path, folder/file)
    clean = frame.copy()
    wrong,names = plant_labels(frame, ONE_OF[name], rng)
    free = np.setdiff1d(np.arange(len(frame)), wrong.row)
    sources,broken = np.split(rng.permutation(free)[:round(0.04*len(frame))], [round(0.03*len(frame))])
    copies = frame.loc[sources].copy()
    copies['split'] = np.where(copies.split=='train', 'valid', 'train')
    copies['file'] = [str(Path(file).with_name(f'copy-{Path(file).name}')) for file in copies.file]
    for file,copy in zip(frame.file[sources], copies.file): shutil.copyfile(folder/file, folder/copy)
    for file in frame.file[broken]: (folder/file).write_bytes(b'not an image')
    frame = pd.concat([frame, copies], ignore_index=True)
    clean = pd.concat([clean, clean.loc[sources]], ignore_index=True)
    frame.to_csv(folder/'faulty.csv', index=False)
    in_train = [i if frame.split[i]=='train' else k for k,i in enumerate(sources, len(clean)-len(sources))]
    return folder/'faulty.csv', clean, dict(wrong=wrong, names=names, broken=set(broken.tolist()), copies=set(in_train))

def run_audit(table, targets):
    "Audit a table with the settings of the command"
    from fashion_fastai.audit.audit import audit
    from fashion_fastai.config import make_config
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.embeddings.embedder import body_embedder
    catalogue = read_catalogue(table, one_of=targets, any_of=['attributes'], on_bad='keep')
    return audit(catalogue, body_embedder(make_config('two-head')), echo=lambda line: None)

def share(part, whole): return len(part&whole)/len(whole) if whole else np.nan

def judged_suggestions(found, clean, faults):
    "Return suggestions about one_of targets with `right` (the label before the fault) and `planted`"
    suggestions = found.suggestions[found.suggestions.kind=='wrong_label']
    suggestions = suggestions[suggestions.target.isin(set(faults['wrong'].target))].assign(at=lambda rows: rows.row-2)
    right_names = faults['names']
    named = [right_names.get((target, label), label) for target,label in zip(suggestions.target, suggestions.suggested)]
    truth = [clean.loc[i, target] for i,target in zip(suggestions['at'], suggestions.target)]
    planted = set(zip(faults['wrong'].row, faults['wrong'].target))
    return suggestions.assign(right=np.array(named)==np.array(truth),
        planted=[pair in planted for pair in zip(suggestions['at'], suggestions.target)])

def scores_of(found, clean, faults):
    "Return recall and precision of each kind of fault, and what --fix did"
    from fashion_fastai.audit.fixes import DROPPED, cleaned_copy
    issues,suggestions = found.issues,judged_suggestions(found, clean, faults)
    wrong = set(zip(faults['wrong'].row, faults['wrong'].target))
    listed = set(zip(suggestions['at'], suggestions.target))
    pairs = {(pair['target'], frozenset((pair['label'], pair['canonical']))) for pair in found.pairs}
    names = {(target, frozenset((name, label))) for (target,name),label in faults['names'].items()}
    leaks,broken = [set(issues.row[issues.kind==kind]-2) for kind in ('leak', 'broken')]
    changes = cleaned_copy(found.catalogue, issues)[1]
    certain = faults['broken']|faults['copies']
    fixed = set(changes.row-2)
    return {'wrong labels: recall': share(listed, wrong), 'wrong labels: precision': share(wrong, listed),
        'copies across splits: recall': share(leaks, faults['copies']),
        'misspelt labels: recall': share(pairs, names), 'misspelt labels: precision': share(names, pairs),
        'unreadable files: recall': share(broken, faults['broken']),
        'unreadable files: precision': share(faults['broken'], broken),
        '--fix: share of the changes that are right': share(certain, fixed) if fixed else np.nan,
        '--fix: cells changed by a model': float((changes.after!=DROPPED).sum()),
        'suggestions that break a rule': float((suggestions.breaks_rule!='').mean()) if len(suggestions) else 0.,
        'of those, right': suggestions.right[suggestions.breaks_rule!=''].mean()}, suggestions

def calibration(suggestions):
    "Return a line for each of 10 bins of confidence"
    rows,bins = [],np.minimum(9, (suggestions.confidence*10).astype(int))
    for i in range(10):
        some = suggestions[bins==i]
        if not len(some): continue
        expected,right = some.confidence.mean(),some.right.mean()
        rows.append([f'{i/10:.1f} to {(i+1)/10:.1f}', f'{len(some):,}', f'{expected:.2f}', f'{right:.2f}'])
    return rows

def main(args):
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator()
    lines,bins = [],[]
    for name in args.tables.split(','):
        draws,judged = [],[]
        for seed in range(args.draws):
            with tempfile.TemporaryDirectory() as folder:
                table,clean,faults = plant(name, Path(folder), seed, args.rows)
                scores,suggestions = scores_of(run_audit(table, ONE_OF[name]), clean, faults)
                draws.append(scores)
                judged.append(suggestions)
                print(name, seed, {key: round(float(value), 3) for key,value in scores.items()}, flush=True)
        for key in draws[0]:
            values = [draw[key] for draw in draws if not np.isnan(draw[key])]
            if values: lines.append([name, key, f'{np.mean(values):.3f}', f'{min(values):.3f} to {max(values):.3f}'])
        bins += [[name, *row] for row in calibration(pd.concat(judged))]
    report('audit_faults', markdown(['table', f'{args.draws} draws', 'mean', 'from to'], lines), args.write)
    report('audit_calibration', markdown(['table', 'confidence', 'suggestions', 'mean', 'right'], bins), args.write)

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tables', default='sample,products,drawn')
    parser.add_argument('--draws', type=int, default=3)
    parser.add_argument('--rows', type=int, default=0)
    parser.add_argument('--write', action='store_true')
    main(parser.parse_args())
