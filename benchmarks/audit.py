"""Recall and precision of an audit on planted faults, by kind of fault; and its seconds and peak memory.

    python benchmarks/audit.py planted [TABLE] [--seeds 3] [--write]     default: the sample
    python benchmarks/audit.py scale TABLE [--rows 44000] [--write]      TABLE is repeated with noise to so many rows
"""
import argparse, json, os, shutil, subprocess, sys, tempfile
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image
from bench import markdown, report

sys.path.insert(0, str(Path(__file__).parent.parent/'tests'/'helpers'))

def run_audit(table):
    "Audit a table with columns category and attributes"
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator() # as the command does
    from fashion_fastai.audit.audit import audit
    from fashion_fastai.config import make_config
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.embeddings.embedder import body_embedder
    catalogue = read_catalogue(table, one_of=['category'], any_of=['attributes'], on_bad='keep')
    return audit(catalogue, body_embedder(make_config('two-head')), echo=lambda line: None)

# Planted faults

def pairs_in(groups):
    "Return the pairs of rows that are in one group"
    return {(a, b) for rows in groups for a in rows for b in rows if a<b}

def connected(edges):
    "Join pairs of rows `(n, 2)` into groups"
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    n = int(edges.max())+1 if len(edges) else 0
    component = connected_components(coo_array((np.ones(len(edges)), edges.T), shape=(n,n)))[1]
    rows = pd.Series(np.unique(edges))
    return [group.tolist() for _,group in rows.groupby(component[rows])]

def share(found, expected):
    "Return the share of `expected` that is in `found`"
    return len(found&expected)/max(1, len(expected))

def copy_scores(issues, truth):
    "Score pairs of copies, and conflicting labels of copies"
    copies = truth[truth.kind.isin(['exact duplicate','near duplicate','same path'])]
    expected = pairs_in(connected(copies[['row','other']].to_numpy()))
    found = issues[issues.kind.isin(['leak','duplicate','near_duplicate'])].drop_duplicates(['row','group'])
    found = pairs_in(rows.tolist() for _,rows in found.groupby('group').row)
    conflicts = issues[issues.kind=='label_conflict']
    expected_conflicts = set(truth[truth.kind=='conflict'].row)
    conflict_recall = np.nan
    if expected_conflicts: conflict_recall = share(set(conflicts.row) | set(conflicts.group), expected_conflicts)
    return {'duplicates, pairs: recall': share(found, expected), 'duplicates, pairs: precision': share(expected, found),
        'other category on a copy: recall': conflict_recall}

def audit_scores(issues, truth, n):
    "Score each kind of fault; of changed categories by the first tenth of the ranking, as a person would go through it"
    def rows(kind): return set(issues[issues.kind==kind].row)
    def planted_rows(kind): return set(truth[truth.kind==kind].row)
    wrong = issues[(issues.kind=='wrong_label') & (issues.target=='category')]
    top = set(wrong.sort_values('score', ascending=False).row.head(n//10))
    missed,outliers = rows('missed_label'),rows('no_apparel')
    flipped,dropped,strange = planted_rows('flipped'),planted_rows('dropped'),planted_rows('no garment')
    scores = copy_scores(issues, truth)
    conflicts = scores.popitem() # comes after the categories
    return scores | {'flipped categories in the first 10 % of the ranking: recall': share(top, flipped),
        'the same list: precision': share(flipped, top), conflicts[0]: conflicts[1],
        'dropped attributes named: recall': share(missed, dropped),
        'dropped attributes: precision': share(dropped, missed), 'no garment: recall': share(outliers, strange),
        'no garment: false alarms': len(outliers-strange)/(n-len(strange))}

def planted(args):
    "Report the scores over several draws of faults"
    from plant_faults import plant
    if not args.table:
        from fashion_fastai.data.synthetic.dataset import sample_catalogue_path
        args.table = str(sample_catalogue_path())
    draws = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            table,truth = plant(args.table, Path(folder)/'planted', seed=seed)
            issues = run_audit(table).issues
            issues[['row','group']] -= 1 # the list of faults counts rows from 1 after the header
            draws.append(audit_scores(issues, truth, len(pd.read_csv(table))))
    rows = []
    for name in draws[0]:
        values = [draw[name] for draw in draws]
        rows.append([name, f'{np.nanmean(values):.3f}', f'{min(values):.3f} to {max(values):.3f}'])
    report('audit_planted', markdown([f'{args.seeds} draws of faults', 'mean', 'from to'], rows), args.write)

# Seconds and memory

def vary(source, target, flip, rng):
    "Write a new image: moved, brightened and noisy, or also mirrored"
    pixels = np.asarray(Image.open(source).convert('RGB'), dtype=np.float32)
    pixels = np.roll(pixels[:,::-1] if flip else pixels, rng.integers(-25, 26, 2), (0,1))
    pixels = pixels*rng.uniform(0.75, 1.2)+rng.normal(0, 12, pixels.shape)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target, quality=88)

def repeat(table, n, folder):
    "Repeat a table to `n` rows, first with its images, then with variants of them"
    frame,images = pd.read_csv(table, dtype=str, keep_default_na=False),Path(table).parent
    rng,copies = np.random.default_rng(0),[frame]
    for file in frame.file:
        (folder/file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(images/file, folder/file)
    for k in range(1, -(-n//len(frame))):
        copy = frame.assign(file=[f'{k}/{Path(file).name}' for file in frame.file])
        (folder/str(k)).mkdir()
        for source,target in zip(frame.file[:n-k*len(frame)], copy.file): vary(images/source, folder/target, k%2, rng)
        copies.append(copy)
    pd.concat(copies, ignore_index=True)[:n].to_csv(folder/'labels.csv', index=False)
    return folder/'labels.csv'

CHILD = '''import json, resource, sys, time
sys.path.insert(0, {here!r})
from audit import run_audit
started = time.perf_counter()
issues = run_audit({table!r}).issues
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6
print(json.dumps(dict(seconds=time.perf_counter()-started, peak=peak, issues=len(issues))))
'''

def cost(table):
    "Return seconds, peak memory in GB and number of issues of an audit with an empty cache"
    code = CHILD.format(here=str(Path(__file__).parent), table=str(table))
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ|dict(FASHION_CACHE=cache)
        done = subprocess.run([sys.executable, '-c', code], env=env, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode().splitlines()[-1])

def scale(args):
    "Report the cost of a table and of the same table with more rows"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        repeated = repeat(args.table, args.rows, Path(folder))
        for n,table in ((len(pd.read_csv(args.table)), args.table), (args.rows, repeated)):
            figures = cost(table)
            rows.append([f'{n:,}', f'{figures["seconds"]:.0f}', f'{figures["peak"]:.2f}', f'{figures["issues"]:,}'])
            print(rows[-1], flush=True)
    report('audit_scale', markdown(['images', 'seconds', 'peak memory in GB', 'issues'], rows), args.write)

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['planted', 'scale'])
    parser.add_argument('table', nargs='?')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--rows', type=int, default=44000)
    parser.add_argument('--write', action='store_true')
    args = parser.parse_args()
    (planted if args.what=='planted' else scale)(args)
