"""What questions that do not apply, and taxonomies, change: scores with and without, on one drawn and one real table

    python benchmarks/structure.py --products shop/labels.csv [--n 600] [--size 64] [--arch tf_efficientnet_lite0]

Each run is a linear probe on frozen features (`--epochs 0`), so the whole takes minutes.
"""
import argparse, tempfile
from pathlib import Path
import numpy as np, pandas as pd
from fashion_fastai.cli import main
from fashion_fastai.data.synthetic.attributes import LENGTHS, NECKS, SLEEVES
from fashion_fastai.data.synthetic.dataset import draw_sample
from fashion_fastai.evaluation.acceptance import accept, accepted_paths
from fashion_fastai.evaluation.calibration import read_calibration
from fashion_fastai.evaluation.evaluate import calibrate
from fashion_fastai.evaluation.predictions import held_out_predictions
from fashion_fastai.evaluation.taxonomy import (contradicting_levels, enforce_taxonomy, level_answers, path_scores,
    true_paths)
from fashion_fastai.run import open_run

BELOW = ['shorts', 'skirt', 'trousers'] # have neither sleeves nor a neckline
KINDS = dict(neckline='one_of', sleeve='one_of', cut='any_of')

def questions_table(sample):
    "Return the drawn table with three questions: two for what is worn above, one for what is worn below"
    table = pd.read_csv(sample, keep_default_na=False)
    labels,below = table.attributes.str.split(),table.category.isin(BELOW)
    def one(group): return labels.map(lambda own: next((label for label in own if label in group), ''))
    cut = labels.map(lambda own: ' '.join(label for label in own if label in (*LENGTHS, 'pockets')))
    return table.drop(columns='attributes').assign(neckline=one(NECKS), sleeve=one(SLEEVES), cut=cut.where(below, ''))

def train(table, images, out, *flags, size, arch):
    data = ['--data', str(table), '--images', str(images)]
    assert main(['train', *data, '--size', str(size), '--arch', arch, '--epochs', '0', '--out', str(out), *flags])==0
    return open_run(out)

def cells_right(run, table):
    "Return for each question the share of right answers, n/a included, and of those where it applies"
    predictions,rows = held_out_predictions(run),{}
    frame = table.set_index('file').loc[predictions.files]
    answers = read_calibration(run.calibration, run.schema).apply(predictions).results()
    for name,kind in KINDS.items():
        applies = (frame.category.isin(BELOW)==(name=='cut')).to_numpy()
        known = ~applies | (frame[name]!='').to_numpy() if kind=='one_of' else np.ones(len(frame), dtype=bool)
        def labels(cells): return cells.map(lambda cell: ' '.join(sorted(cell.split()))).to_numpy()
        wanted = np.where(applies, labels(frame[name]), 'n/a')
        right = labels(answers[name])==wanted
        scores = predictions.metrics('valid')['targets'][name]
        score = scores['accuracy' if kind=='one_of' else 'samples_f1']
        rows[name] = dict(rows=int(known.sum()), right=right[known].mean(), where_asked=right[known & applies].mean(),
            score=score, known=scores['known'], na=scores.get('not_applicable', 0))
    return pd.DataFrame(rows).T

def show_applies(folder, n, **options):
    sample = draw_sample(folder/'sample', n=n, size=64)
    table = questions_table(sample)
    table.to_csv(folder/'shop.csv', index=False)
    flags = ['--one-of', 'category,neckline,sleeve', '--any-of', 'cut']
    without = train(folder/'shop.csv', sample.parent, folder/'without', *flags, **options)
    described = ['data', 'describe', str(folder/'shop.csv'), '--images', str(sample.parent), *flags]
    assert main([*described, '--write-applies'])==0
    asked = train(folder/'shop.csv', sample.parent, folder/'asked', *flags, **options)
    for name,run in dict(without=without, asked=asked).items(): print(f'\n{name}\n{cells_right(run, table).round(3)}')

def show_tree(products, folder, n, levels, **options):
    table = pd.read_csv(products).sample(n, random_state=42)
    table.to_csv(folder/'products.csv', index=False)
    names = [level.removesuffix('*') for level in levels]
    flags = ['--one-of', ','.join(names), '--taxonomy', ','.join(levels)]
    run = train(folder/'products.csv', Path(products).parent, folder/'tree', *flags, **options)
    predictions = read_calibration(run.calibration, run.schema).apply(held_out_predictions(run))
    schema,true = run.schema,true_paths(predictions)
    answers,decoded = [level_answers(schema, p.probs) for p in (predictions, enforce_taxonomy(predictions))]
    print(f'\n{len(predictions)} rows, {len(schema.taxonomy.paths)} paths of {" > ".join(levels)}')
    pairs = contradicting_levels(schema, answers)
    print({' > '.join(pair): round(float(rows.mean()), 3) for pair,rows in pairs.items()})
    def accuracy(codes): return {level: float((codes[:,i]==true[0][:,i]).mean()) for i,level in enumerate(names)}
    both = dict(plain=answers, decoded=decoded)
    rows = {name: accuracy(codes) | path_scores(codes, *true) for name,codes in both.items()}
    for precision in (0.8, 0.9, 0.95):
        calibration = calibrate(run, precision)
        accepted = accept(calibration.acceptance, predictions, {})
        paths = accepted_paths(predictions, accepted)
        depth = np.array([len(path) for path in paths])
        codes = np.where(np.arange(len(names))<depth[:,None], answers, -1)
        share = {f'depth {i}': float((depth==i).mean()) for i in range(len(names)+1)}
        rows[f'backed off at {precision}'] = path_scores(codes, *true) | share
    print(pd.DataFrame(rows).T.round(3).to_string())

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--products', help='table of products; default: only the drawn one')
    parser.add_argument('--levels', default='gender,category*,usage*', help='of the products, the broadest first')
    parser.add_argument('--n', type=int, default=600, help='rows of each table')
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--arch', default='tf_efficientnet_lite0')
    args = parser.parse_args()
    options = dict(size=args.size, arch=args.arch)
    with tempfile.TemporaryDirectory() as name:
        if args.products: show_tree(args.products, Path(name), args.n, args.levels.split(','), **options)
        show_applies(Path(name), args.n, **options)
