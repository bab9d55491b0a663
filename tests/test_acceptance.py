"A promised precision of accepted answers holds on new images; it reaches every file, format and engine"
import json, shutil
import numpy as np, pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.evaluation.calibration import fit_calibration, read_calibration
from fashion_fastai.evaluation.coverage import as_acceptance, fit_promises
from fashion_fastai.evaluation.predictions import Predictions
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema
from fashion_fastai.serving.predictor import Predictor
from fashion_fastai.target import any_of, apply_temperature, one_of

N_FITS = 100
SCHEMA = Schema(targets=[one_of('category', list('abcd')), any_of('attributes', list('xyz'))])

def draw(seed, n, n_images=1):
    "Return predictions of an overconfident network; the images of a product share probabilities and truth"
    draws = np.random.default_rng(seed)
    true = np.repeat(draws.dirichlet(np.full(4, 0.12), n), n_images, axis=0)
    tags = np.repeat(draws.beta([.3, .3, .3], [.1, .2, .3], (n,3)), n_images, axis=0)
    def same(shape): return np.repeat(draws.random((n, shape)), n_images, axis=0)
    truth = dict(category=(same(1)>true.cumsum(1)).sum(1).clip(max=3), attributes=(same(3)<tags).astype(np.int8))
    probs = dict(category=apply_temperature(true.astype(np.float32), 0.6), attributes=tags.astype(np.float32))
    return Predictions(SCHEMA, [f'{i}.jpg' for i in range(n*n_images)], probs, truth)

NEW = draw(0, 30_000)

def broken(predictions, precision, groups=None):
    "Return for each target whether the promise fails on many new products"
    calibration = fit_calibration(predictions)
    fits,new = fit_promises(calibration.apply(predictions), precision, 0.9, groups),calibration.apply(NEW)
    thresholds = as_acceptance(fits, precision, 0.9).thresholds
    right = NEW.probs['category'].argmax(1)==NEW.truth['category']
    category = right[new.probs['category'].max(1)>=thresholds.get('category', 2)]
    labels = [NEW.truth['attributes'][NEW.probs['attributes'][:,i]>=thresholds['attributes'][label],i]
        for i,label in enumerate('xyz') if label in thresholds['attributes']]
    return len(category)>0 and category.mean()<precision, any(label.mean()<precision for label in labels)

@pytest.mark.parametrize('precision,n,n_images', [(0.9, 250, 1), (0.95, 500, 1), (0.95, 200, 3)])
def test_a_promise_is_broken_at_most_as_often_as_stated(precision, n, n_images):
    groups = np.repeat(np.arange(n), n_images)
    failed = np.mean([broken(draw(seed+1, n, n_images), precision, groups) for seed in range(N_FITS)], axis=0)
    assert (failed<=0.1+2*0.03).all(), failed # two standard errors of a share of 100 fits

def test_too_few_rows_promise_nothing_and_say_how_many_are_missing():
    few = draw(1, 40)
    fits = fit_promises(fit_calibration(few).apply(few), 0.95)
    assert np.isnan(fits['category'].threshold) and fits['category'].needed>fits['category'].known==40
    assert not as_acceptance(fits, 0.95, 0.9).thresholds['attributes']

def test_missing_labels_are_left_out():
    predictions = draw(2, 800)
    fits = fit_promises(predictions, 0.9)
    predictions.truth['category'][::2] = -1
    predictions.truth['attributes'][1::2] = -1
    half = fit_promises(predictions, 0.9)
    assert (fits['category'].known, half['category'].known)==(800, 400)
    assert half['attributes']['x'].known==400
    predictions.truth['category'][:] = -1
    assert set(fit_promises(predictions, 0.9))=={'attributes'}

@pytest.fixture(scope='module')
def promising(sample, tmp_path_factory):
    "Return a run that promises a little: its network is a linear probe on tiny images"
    folder = tmp_path_factory.mktemp('promising')
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv('FASHION_CACHE', str(folder/'cache'))
        assert main(['train', '--data', str(sample), '--size', '48', '--epochs', '0', '--out', str(folder/'run')])==0
        assert main(['calibrate', str(folder/'run'), '--accept-precision', '0.1', '--confidence', '0.7'])==0
    return folder/'run'

def through(out, sample, tmp_path, *flags, name='results.csv'):
    assert main(['predict', str(out), str(sample), '--split', 'valid', '--out', str(tmp_path/name), *flags])==0
    return pd.read_csv(tmp_path/name, keep_default_na=False) if name.endswith('.csv') else None

COLUMNS = ['category_accepted', 'attributes_accepted', 'needs_review', 'review']

def test_predict_says_what_may_go_live(promising, sample, tmp_path, capsys):
    table = through(promising, sample, tmp_path)
    run = open_run(promising)
    threshold = read_calibration(run.calibration, run.schema).acceptance.thresholds['category']
    accepted = table.category_accepted!=''
    assert accepted.any() and (table.category[accepted]==table.category_accepted[accepted]).all()
    usual = table[table.looks_like_apparel.astype(str)=='True']
    assert (usual.category_probability[usual.category_accepted!='']>=round(threshold, 4)-1e-4).all()
    assert ((table.review=='')==~table.needs_review).all()
    n_live = int((~table.needs_review).sum())
    assert f'{n_live:,} of {len(table):,} images ({n_live/len(table):.1%}) need no review' in capsys.readouterr().out
    for labels,live in zip(table.attributes, table.attributes_accepted): assert set(live.split())<=set(labels.split())

def test_every_format_carries_the_decision(promising, sample, tmp_path):
    expected = through(promising, sample, tmp_path)[COLUMNS]
    for name in ('results.parquet', 'results.jsonl'): through(promising, sample, tmp_path, name=name)
    parquet = pd.read_parquet(tmp_path/'results.parquet')
    lines = pd.read_json(tmp_path/'results.jsonl', lines=True, dtype=False)
    for table in (parquet, lines): assert table[COLUMNS].values.tolist()==expected.values.tolist()
    result = Predictor.load(promising)(sample.parent/parquet.file[0])
    assert result.needs_review==parquet.needs_review[0]
    assert ' '.join(result.accepted['attributes'])==parquet.attributes_accepted[0]

def test_without_a_promise_nothing_is_said(promising, sample, tmp_path, capsys):
    for flags in (['--no-calibration'], ['--enforce-taxonomy'], ['--group-col', 'split']):
        table = through(promising, sample, tmp_path, *flags)
        assert not set(COLUMNS) & set(table.columns)
    assert 'every answer needs a review' in capsys.readouterr().err
    plain = tmp_path/'plain'
    shutil.copytree(promising, plain)
    assert main(['calibrate', str(plain)])==0
    assert 'needs_review' not in through(plain, sample, tmp_path)

def test_an_onnx_file_accepts_the_same(promising, sample, tmp_path):
    pytest.importorskip('onnxscript')
    assert main(['export', str(promising), '--onnx', str(tmp_path/'shop.onnx')])==0
    by_run = through(promising, sample, tmp_path)
    by_file = through(tmp_path/'shop.onnx', sample, tmp_path, name='onnx.csv')
    assert (by_run[COLUMNS]==by_file[COLUMNS]).mean().min()>0.98 # the last bit of a probability may decide
    assert main(['predict', str(tmp_path/'shop.onnx'), str(sample), '--out', str(tmp_path/'x.csv'), '--no-calibration'])==0
    assert 'needs_review' not in pd.read_csv(tmp_path/'x.csv')

def test_evaluate_prints_coverage_at_three_promises(promising, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    assert main(['evaluate', str(promising), '--out', str(tmp_path/'scores.json')])==0
    assert 'AURC' in capsys.readouterr().out
    coverage = json.loads((tmp_path/'scores.json').read_text())['coverage']
    for target in ('category', 'attributes'):
        shares = [coverage[target][f'accepted at {precision}'] for precision in ('0.9', '0.95', '0.99')]
        assert len(shares)==3 and 0<coverage[target]['AURC']<1
