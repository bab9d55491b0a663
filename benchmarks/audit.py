"""What an audit finds of faults that were planted, and what it costs: recall and precision for each kind of fault, seconds and peak memory.

    python benchmarks/audit.py planted [TABLE] [--seeds 3] [--write]     faults planted into a table (the sample without one)
    python benchmarks/audit.py scale TABLE [--rows 44000] [--write]      seconds and memory on a table, repeated with noise to so many rows
"""
import argparse, json, os, shutil, subprocess, sys, tempfile
from pathlib import Path
import numpy as np, pandas as pd
from PIL import Image
from bench import markdown, report

sys.path.insert(0, str(Path(__file__).parent.parent/'tests'))

def found_in(table):
    "The audit of a table with columns category and attributes"
    from fashion_fastai.core.allocator import tune_allocator
    tune_allocator() # as the command does
    from fashion_fastai.audit.audit import audit
    from fashion_fastai.config import make_config
    from fashion_fastai.data.catalogue import read_catalogue
    from fashion_fastai.embeddings.embedder import body_embedder
    catalogue = read_catalogue(table, one_of=['category'], any_of=['attributes'], on_bad='keep')
    return audit(catalogue, body_embedder(make_config('two-head')), echo=lambda o: None)

# Planted faults

def _pairs(groups): return {(a, b) for rows in groups for a in rows for b in rows if a<b}

def _groups(edges):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    n = int(edges.max())+1 if len(edges) else 0
    part = connected_components(coo_array((np.ones(len(edges)), edges.T), shape=(n,n)))[1]
    rows = pd.Series(np.unique(edges))
    return [o.tolist() for _,o in rows.groupby(part[rows])]

def judged(issues, truth, n):
    "Recall and precision of each kind of fault; flipped labels by the first tenth of the ranking, as a person would go through it"
    of,truth_rows = lambda *kinds: issues[issues.kind.isin(kinds)], lambda *kinds: set(truth[truth.kind.isin(kinds)].row)
    copies = truth[truth.kind.isin(['exact duplicate','near duplicate','same path'])]
    wanted = _pairs(_groups(copies[['row','other']].to_numpy()))
    got = _pairs(o.tolist() for _,o in of('leak','duplicate','near_duplicate').drop_duplicates(['row','group']).groupby('group').row)
    flipped,dropped,strange = truth_rows('flipped'),truth_rows('dropped'),truth_rows('no garment')
    ranked = of('wrong_label')
    ranked = ranked[ranked.target=='category'].sort_values('score', ascending=False).row.head(n//10)
    missed,odd = set(of('missed_label').row),set(of('no_apparel').row)
    conflicts = truth_rows('conflict')
    share = lambda a,b: len(a&b)/max(1, len(b))
    return {'duplicates, pairs: recall': share(got, wanted), 'duplicates, pairs: precision': share(wanted, got),
        'flipped categories in the first 10 % of the ranking: recall': share(set(ranked), flipped), 'the same list: precision': share(flipped, set(ranked)),
        'other category on a copy: recall': share(set(of('label_conflict').row)|{o for rows in of('label_conflict').group for o in [rows]}, conflicts) if conflicts else np.nan,
        'dropped attributes named: recall': share(missed, dropped), 'dropped attributes: precision': share(dropped, missed),
        'no garment: recall': share(odd, strange), 'no garment: false alarms': len(odd-strange)/(n-len(strange))}

def planted(args):
    from plant_faults import plant
    if not args.table:
        from fashion_fastai.data.synthetic.dataset import sample_catalogue_path
        args.table = str(sample_catalogue_path())
    seen = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as folder:
            table,truth = plant(args.table, Path(folder)/'planted', seed=seed)
            seen.append(judged(found_in(table).issues, truth, len(pd.read_csv(table))))
    rows = [[o, f'{np.nanmean([s[o] for s in seen]):.3f}', f'{min(s[o] for s in seen):.3f} to {max(s[o] for s in seen):.3f}'] for o in seen[0]]
    report('audit_planted', markdown([f'{args.seeds} draws of faults', 'mean', 'from to'], rows), args.write)

# Seconds and memory

def repeated(table, n, folder):
    "`table` repeated to `n` rows; each image further on is moved, brightened and noisy, so that it is a new file"
    frame,images,rng,parts = pd.read_csv(table, dtype=str, keep_default_na=False),Path(table).parent,np.random.default_rng(0),[]
    for k in range(-(-n//len(frame))):
        part = frame.copy()
        if k:
            part['file'] = [f'{k}/{Path(o).name}' for o in frame.file]
            (folder/str(k)).mkdir()
            for source,o in zip(frame.file[:n-k*len(frame)], part.file):
                pixels = np.asarray(Image.open(images/source).convert('RGB'), dtype=np.float32)
                pixels = np.roll(pixels[:,::-1] if k%2 else pixels, rng.integers(-25, 26, 2), (0,1))*rng.uniform(0.75, 1.2)+rng.normal(0, 12, pixels.shape)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder/o, quality=88)
        else:
            for o in part.file:
                (folder/o).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(images/o, folder/o)
        parts.append(part)
    whole = pd.concat(parts, ignore_index=True)[:n]
    whole.to_csv(folder/'labels.csv', index=False)
    return folder/'labels.csv'

CHILD = '''import json, resource, sys, time
sys.path.insert(0, {here!r})
from audit import found_in
started = time.perf_counter()
found = found_in({table!r})
print(json.dumps(dict(seconds=time.perf_counter()-started, peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6, findings=len(found.findings))))
'''

def cost(table):
    "Seconds and peak memory of an audit that finds nothing in the cache"
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run([sys.executable, '-c', CHILD.format(here=str(Path(__file__).parent), table=str(table))], env=os.environ|dict(FASHION_CACHE=cache), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode().splitlines()[-1])

def scale(args):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n,table in ((len(pd.read_csv(args.table)), Path(args.table)), (args.rows, repeated(args.table, args.rows, Path(folder)))):
            seen = cost(table)
            rows.append([f'{n:,}', f'{seen["seconds"]:.0f}', f'{seen["peak"]:.2f}', f'{seen["issues"]:,}'])
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
