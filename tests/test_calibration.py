"What the scores and thresholds of a run promise, on random predictions with missing labels"
import json, shutil
from dataclasses import replace
import numpy as np, pandas as pd, pytest
from sklearn import metrics as sk
from fashion_fastai.cli import main
from fashion_fastai.evaluation.calibration import cross_fitted, fit_calibration, fit_thresholds, read_calibration
from fashion_fastai.evaluation.calibration_metrics import ece
from fashion_fastai.evaluation.bootstrap import bootstrap
from fashion_fastai.evaluation.predictions import Predictions, read_predictions
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of

SEEDS = range(8)

def draw(seed):
    "Predictions that are somewhat right, with labels of very different frequency, a fifth of them unknown"
    draws = np.random.default_rng(seed)
    n,n_category,n_attributes = draws.integers(40, 400),draws.integers(2, 8),draws.integers(1, 9)
    category = draws.integers(0, n_category, n)
    attributes = (draws.random((n, n_attributes))<draws.uniform(0.01, 0.5, n_attributes)).astype(np.int8)
    logits = 3*draws.standard_normal((n, n_category))+4*np.eye(n_category)[category]
    cells = 2*draws.standard_normal((n, n_attributes))+2*attributes-2
    category[draws.random(n)<0.2] = -1
    attributes[draws.random(attributes.shape)<0.2] = -1
    probs = dict(category=np.exp(logits)/np.exp(logits).sum(1, keepdims=True), attributes=1/(1+np.exp(-cells)))
    schema = Schema(targets=[one_of('category', [f'c{i}' for i in range(n_category)]), any_of('attributes', [f'a{i}' for i in range(n_attributes)])])
    return Predictions(schema, [f'{i}.jpg' for i in range(n)], {k: v.astype(np.float32) for k,v in probs.items()}, dict(category=category, attributes=attributes))

def shuffled(predictions, seed):
    order = np.random.default_rng(seed).permutation(len(predictions))
    take = lambda o: {k: v[order] for k,v in o.items()}
    return replace(predictions, files=[predictions.files[i] for i in order], probs=take(predictions.probs), truth=take(predictions.truth))

@pytest.mark.parametrize('seed', SEEDS)
def test_scores_are_those_of_scikit_learn(seed):
    o = draw(seed)
    found = o.metrics('valid')['targets']
    known = o.truth['category']>=0
    truth,said = o.truth['category'][known],o.probs['category'][known].argmax(1)
    assert found['category']['accuracy']==pytest.approx(sk.accuracy_score(truth, said))
    assert found['category']['mean_class_accuracy']==pytest.approx(sk.recall_score(truth, said, average='macro', labels=np.unique(truth)))
    for i,label in enumerate(o.schema['attributes'].vocab):
        known = o.truth['attributes'][:,i]>=0
        truth,said = o.truth['attributes'][known,i],o.probs['attributes'][known,i]>=0.5
        if truth.any(): assert found['attributes']['labels'][label]['f1']==pytest.approx(sk.f1_score(truth, said))

@pytest.mark.parametrize('seed', SEEDS)
def test_fitted_thresholds_never_worsen_f1_where_they_were_fitted(seed):
    o = draw(seed)
    plain,fitted = o.metrics('valid'),o.metrics('valid', fit_calibration(o).thresholds)
    for score in ('macro_f1', 'samples_f1'):
        if plain['targets']['attributes'][score] is not None: assert fitted['targets']['attributes'][score]>=plain['targets']['attributes'][score]-1e-12

@pytest.mark.parametrize('seed', SEEDS)
def test_a_wanted_precision_is_kept(seed):
    o = draw(seed)
    fitted = o.metrics('valid', fit_calibration(o, min_precision=0.8).thresholds)['targets']['attributes']['labels']
    assert all(label['precision'] is None or label['precision']>=0.8 for label in fitted.values())

@pytest.mark.parametrize('seed', SEEDS)
def test_the_order_of_rows_does_not_matter(seed):
    o = draw(seed)
    other = shuffled(o, seed)
    first,second = fit_calibration(o),fit_calibration(other)
    assert first.temperatures==pytest.approx(second.temperatures)
    assert first.thresholds['attributes']==pytest.approx(second.thresholds['attributes'])
    assert ece(o.schema['category'], o.probs['category'], o.truth['category'])==pytest.approx(ece(o.schema['category'], other.probs['category'], other.truth['category']))
    assert bootstrap(o, n=10).value.to_numpy()==pytest.approx(bootstrap(other, n=10).value.to_numpy(), nan_ok=True)

def test_a_rare_label_gets_no_wild_threshold():
    target,n = any_of('attributes', ['common', 'rare']),400
    draws = np.random.default_rng(0)
    truth = np.stack([draws.random(n)<0.4, np.arange(n)<1], axis=1).astype(np.int8)
    probs = np.clip(0.3*truth+0.2*draws.random((n, 2)), 0, 1)
    probs[0,1] = 0.999 # its only image: alone it would ask for a threshold near 1
    assert fit_thresholds(target, probs, truth)[1]<0.9

def test_a_run_is_calibrated_and_answers_by_it(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    out = tmp_path/'run'
    assert main(['train', '--data', str(sample), '--size', '64', '--epochs', '0', '--out', str(out)])==0
    run = open_run(out)
    calibration,predictions = read_calibration(run.calibration, run.schema),read_predictions(run.predictions('valid'))
    assert set(calibration.temperatures)=={'category'} and len(cross_fitted(predictions))
    for flags,expected in (([], calibration.apply(predictions).results(calibration.thresholds)), (['--no-calibration'], predictions.results())):
        answers = tmp_path/f'answers{len(flags)}.csv'
        assert main(['predict', str(out), str(sample), '--split', 'valid', '--out', str(answers), *flags])==0
        assert pd.read_csv(answers, keep_default_na=False).attributes.tolist()==expected.attributes.tolist()
    for name in ('report.html', 'MODEL_CARD.md', 'co_occurrence.json', 'linear_probe.json'): assert (out/name).stat().st_size>0
    capsys.readouterr()
    assert main(['evaluate', str(out), '--tta', '2', '--slice', 'category', '--out', str(tmp_path/'scores.json')])==0
    said = capsys.readouterr().out
    for part in ('majority', 'linear probe', 'fitted', 'consistent'): assert part in said, part
    assert json.loads((tmp_path/'scores.json').read_text())['fitted']['attributes']['samples_f1'] is not None
    assert main(['evaluate', str(out), '--slice', 'colour'])==2

def contents(folder):
    "Return what a folder holds: each file with its bytes and time of change, each folder with its time of change"
    paths = [folder, *sorted(folder.rglob('*'))]
    return {path: (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes() if path.is_file() else None) for path in paths}

@pytest.fixture(scope='module')
def probe(sample, tmp_path_factory):
    "Return the folder of a run whose heads were solved on a frozen body"
    folder = tmp_path_factory.mktemp('probe')
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv('FASHION_CACHE', str(folder/'cache'))
        assert main(['train', '--data', str(sample), '--size', '48', '--epochs', '0', '--out', str(folder/'run')])==0
    return folder/'run'

@pytest.mark.parametrize('flags', [[], ['--tta', '1', '--slice', 'category'], ['--enforce-taxonomy'], ['--split', 'train'], ['--ensemble-with']], ids=' '.join)
def test_evaluate_leaves_the_run_as_it_was(probe, tmp_path, monkeypatch, flags, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    run,other = tmp_path/'run',tmp_path/'other'
    for path in (run, other): shutil.copytree(probe, path)
    folders = [run, *(path for path in run.rglob('*') if path.is_dir())]
    for path in folders: path.chmod(0o555) # a user other than root cannot write here at all
    before = contents(run)
    code = main(['evaluate', str(run), *flags, *([str(other)] if flags==['--ensemble-with'] else []), '--out', str(tmp_path/'scores.json')])
    after = contents(run)
    for path in folders: path.chmod(0o755)
    assert code==0 and after==before
    assert any((tmp_path/'cache').rglob('*.parquet'))

def test_calibrate_changes_one_file(probe, tmp_path, capsys):
    out = tmp_path/'run'
    shutil.copytree(probe, out)
    run,before = open_run(out),contents(out)
    assert main(['calibrate', str(out), '--min-precision', '0.9'])==0
    said = ' '.join(capsys.readouterr().out.split())
    assert 'scored on the half that they were not fitted on' in said and str(run.calibration) in said
    after = contents(out)
    assert {path for path in after if after[path][2]!=before[path][2]}=={run.calibration} and after.keys()==before.keys()
    calibration,predictions = read_calibration(run.calibration, run.schema),read_predictions(run.predictions('valid'))
    assert json.loads(run.calibration.read_text())['targets']['attributes']['min_precision']==0.9
    assert calibration.thresholds['attributes'].tolist()==fit_calibration(predictions, 0.9).thresholds['attributes'].tolist()
    assert main(['calibrate', str(out)])==0
    assert run.calibration.read_bytes()==before[run.calibration][2] # as the training had fitted it

def test_what_calibrate_refuses(probe, tmp_path, capsys):
    out = tmp_path/'run'
    shutil.copytree(probe, out)
    before = contents(out)
    for flags,says in ((['--min-precision', '0'], 'must lie above 0'), (['--min-precision', '1.5'], 'be at most 1'), (['--f1', '--min-precision', '0.9'], 'exclude each other')):
        assert main(['calibrate', str(out), *flags])==2
        assert says in capsys.readouterr().err and contents(out)==before
    assert main(['evaluate', str(out), '--min-precision', '0.9'])==2
    assert f'fashion-fastai calibrate {out} --min-precision 0.9' in capsys.readouterr().err and contents(out)==before
    (out/'predictions'/'valid.parquet').unlink()
    assert main(['calibrate', str(out)])==2 and 'valid.parquet: there are no predictions' in capsys.readouterr().err

def test_a_refit_learns_from_valid_and_is_not_scored(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    first,second = tmp_path/'first',tmp_path/'second'
    assert main(['train', '--data', str(sample), '--size', '48', '--epochs', '1', '--out', str(first)])==0
    assert main(['train', '--refit', str(first), '--out', str(second)])==0
    assert 'can only be scored on the test split' in capsys.readouterr().err
    assert not (second/'metrics.json').exists() and (second/'calibration.json').exists() and (second/'report.html').exists()
    assert not any(o.startswith('valid/') for o in pd.read_csv(second/'history.csv').columns)
    assert main(['evaluate', str(second)])==2 and 'refitted' in capsys.readouterr().err
    assert main(['calibrate', str(second)])==2 and 'calibrate the run that it was made from' in capsys.readouterr().err
    assert main(['predict', str(second), str(sample), '--out', str(tmp_path/'answers.csv')])==0
    assert main(['train', '--refit', str(second), '--out', str(tmp_path/'third')])==2
    assert main(['train', '--refit', str(first), '--epochs', '3', '--out', str(tmp_path/'third')])==2
    assert not (tmp_path/'third').exists()
