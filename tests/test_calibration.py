"Scores and thresholds keep their guarantees on random predictions with missing labels; a run is calibrated"
import json, shutil
from dataclasses import replace
import numpy as np, pandas as pd, pytest
from sklearn import metrics as sk
from fashion_fastai.cli import main
from fashion_fastai.evaluation.artifacts import update_documents
from fashion_fastai.evaluation.bootstrap import bootstrap
from fashion_fastai.evaluation.calibration import cross_fitted, fit_calibration, fit_thresholds, read_calibration
from fashion_fastai.evaluation.calibration_metrics import ece
from fashion_fastai.evaluation.predictions import Predictions, read_predictions
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of

SEEDS = range(8)

def draw(seed):
    "Return predictions that are partly correct, with labels of very different frequency, a fifth of them unknown"
    draws = np.random.default_rng(seed)
    n,n_category,n_attributes = draws.integers(40, 400),draws.integers(2, 8),draws.integers(1, 9)
    category = draws.integers(0, n_category, n)
    attributes = (draws.random((n, n_attributes))<draws.uniform(0.01, 0.5, n_attributes)).astype(np.int8)
    logits = 3*draws.standard_normal((n, n_category))+4*np.eye(n_category)[category]
    cells = 2*draws.standard_normal((n, n_attributes))+2*attributes-2
    category[draws.random(n)<0.2] = -1
    attributes[draws.random(attributes.shape)<0.2] = -1
    probs = dict(category=np.exp(logits)/np.exp(logits).sum(1, keepdims=True), attributes=1/(1+np.exp(-cells)))
    probs = {name: values.astype(np.float32) for name,values in probs.items()}
    targets = [one_of('category', [f'c{i}' for i in range(n_category)]),
        any_of('attributes', [f'a{i}' for i in range(n_attributes)])]
    truth = dict(category=category, attributes=attributes)
    return Predictions(Schema(targets=targets), [f'{i}.jpg' for i in range(n)], probs, truth)

def shuffled(predictions, seed):
    order = np.random.default_rng(seed).permutation(len(predictions))
    def take(arrays): return {name: values[order] for name,values in arrays.items()}
    files = [predictions.files[i] for i in order]
    return replace(predictions, files=files, probs=take(predictions.probs), truth=take(predictions.truth))

@pytest.mark.parametrize('seed', SEEDS)
def test_scores_are_those_of_scikit_learn(seed):
    predictions = draw(seed)
    scores,probs,codes = predictions.metrics('valid')['targets'],predictions.probs,predictions.truth
    known = codes['category']>=0
    truth,predicted = codes['category'][known],probs['category'][known].argmax(1)
    recall = sk.recall_score(truth, predicted, average='macro', labels=np.unique(truth))
    assert scores['category']['accuracy']==pytest.approx(sk.accuracy_score(truth, predicted))
    assert scores['category']['mean_class_accuracy']==pytest.approx(recall)
    for i,label in enumerate(predictions.schema['attributes'].vocab):
        known = codes['attributes'][:,i]>=0
        truth,predicted = codes['attributes'][known,i],probs['attributes'][known,i]>=0.5
        f1 = scores['attributes']['labels'][label]['f1']
        if truth.any(): assert f1==pytest.approx(sk.f1_score(truth, predicted))

@pytest.mark.parametrize('seed', SEEDS)
def test_fitted_thresholds_never_worsen_f1_where_they_were_fitted(seed):
    predictions = draw(seed)
    plain = predictions.metrics('valid')['targets']['attributes']
    fitted = predictions.metrics('valid', fit_calibration(predictions).thresholds)['targets']['attributes']
    for score in ('macro_f1', 'samples_f1'):
        if plain[score] is not None: assert fitted[score]>=plain[score]-1e-12

@pytest.mark.parametrize('seed', SEEDS)
def test_the_order_of_rows_does_not_matter(seed):
    predictions = draw(seed)
    other,category = shuffled(predictions, seed),predictions.schema['category']
    first,second = fit_calibration(predictions),fit_calibration(other)
    assert first.temperatures==pytest.approx(second.temperatures)
    assert first.thresholds['attributes']==pytest.approx(second.thresholds['attributes'])
    errors = [ece(category, some.probs['category'], some.truth['category']) for some in (predictions, other)]
    assert errors[0]==pytest.approx(errors[1])
    values = [bootstrap(some, n=10).value.to_numpy() for some in (predictions, other)]
    assert values[0]==pytest.approx(values[1], nan_ok=True)

def test_a_rare_label_gets_no_extreme_threshold():
    target,n = any_of('attributes', ['common', 'rare']),400
    draws = np.random.default_rng(0)
    truth = np.stack([draws.random(n)<0.4, np.arange(n)<1], axis=1).astype(np.int8)
    probs = np.clip(0.3*truth+0.2*draws.random((n, 2)), 0, 1)
    probs[0,1] = 0.999 # its only image: alone it would get a threshold near 1
    assert fit_thresholds(target, probs, truth)[1]<0.9

def test_a_run_is_calibrated_and_predicts_with_it(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    out = tmp_path/'run'
    assert main(['train', '--data', str(sample), '--size', '64', '--epochs', '0', '--out', str(out)])==0
    run = open_run(out)
    calibration,predictions = read_calibration(run.calibration, run.schema),read_predictions(run.predictions('valid'))
    assert set(calibration.temperatures)=={'category'} and len(cross_fitted(predictions))
    calibrated = calibration.apply(predictions).results(calibration.thresholds)
    for flags,expected in (([], calibrated), (['--no-calibration'], predictions.results())):
        results = tmp_path/f'results{len(flags)}.csv'
        assert main(['predict', str(out), str(sample), '--split', 'valid', '--out', str(results), *flags])==0
        assert pd.read_csv(results, keep_default_na=False).attributes.tolist()==expected.attributes.tolist()
    for name in ('report.html', 'MODEL_CARD.md', 'co_occurrence.json', 'linear_probe.json'):
        assert (out/name).stat().st_size>0
    capsys.readouterr()
    assert main(['evaluate', str(out), '--tta', '2', '--slice', 'category', '--out', str(tmp_path/'scores.json')])==0
    output = capsys.readouterr().out
    for text in ('majority', 'linear probe', 'fitted', 'consistent'): assert text in output, text
    assert json.loads((tmp_path/'scores.json').read_text())['fitted']['attributes']['samples_f1'] is not None
    assert main(['evaluate', str(out), '--slice', 'colour'])==2

def contents(folder):
    "Return modification time, mode and bytes of each file in a folder, and of each folder"
    def state(path): return path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes() if path.is_file() else None
    return {path: state(path) for path in [folder, *sorted(folder.rglob('*'))]}

@pytest.fixture(scope='module')
def probe(sample, tmp_path_factory):
    "Return the folder of a run whose heads were fitted on a frozen body"
    folder = tmp_path_factory.mktemp('probe')
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv('FASHION_CACHE', str(folder/'cache'))
        assert main(['train', '--data', str(sample), '--size', '48', '--epochs', '0', '--out', str(folder/'run')])==0
    return folder/'run'

EVALUATE = [[], ['--tta', '1', '--slice', 'category'], ['--enforce-taxonomy'], ['--split', 'train'],
    ['--ensemble-with']]

@pytest.mark.parametrize('flags', EVALUATE, ids=' '.join)
def test_evaluate_leaves_the_run_as_it_was(probe, tmp_path, monkeypatch, flags, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    run,other = tmp_path/'run',tmp_path/'other'
    for path in (run, other): shutil.copytree(probe, path)
    folders = [run, *(path for path in run.rglob('*') if path.is_dir())]
    for path in folders: path.chmod(0o555) # a user other than root cannot write here at all
    before = contents(run)
    if flags==['--ensemble-with']: flags = [*flags, str(other)]
    code = main(['evaluate', str(run), *flags, '--out', str(tmp_path/'scores.json')])
    after = contents(run)
    for path in folders: path.chmod(0o755)
    assert code==0 and after==before
    assert any((tmp_path/'cache').rglob('*.parquet'))

def test_calibrate_changes_one_file(probe, tmp_path, capsys):
    out = tmp_path/'run'
    shutil.copytree(probe, out)
    run,before = open_run(out),contents(out)
    assert main(['calibrate', str(out), '--accept-precision', '0.9'])==0
    output = ' '.join(capsys.readouterr().out.split())
    assert 'scored on the half that they were not fitted on' in output and str(run.calibration) in output
    assert 'update_documents' in output
    after = contents(out)
    changed = {path for path in after if after[path][2]!=before[path][2]}
    assert changed=={run.calibration} and after.keys()==before.keys()
    calibration,predictions = read_calibration(run.calibration, run.schema),read_predictions(run.predictions('valid'))
    assert json.loads(run.calibration.read_text())['acceptance']['precision']==0.9
    expected = fit_calibration(predictions)
    assert calibration.thresholds['attributes'].tolist()==expected.thresholds['attributes'].tolist()
    assert main(['calibrate', str(out)])==0
    assert run.calibration.read_bytes()==before[run.calibration][2] # the same as after training

def test_report_and_card_follow_a_new_calibration(probe, tmp_path):
    out = tmp_path/'run'
    shutil.copytree(probe, out)
    card = (out/'MODEL_CARD.md').read_text()
    update_documents(out)
    assert (out/'MODEL_CARD.md').read_text()==card # nothing has changed yet
    assert main(['calibrate', str(out), '--accept-precision', '0.5', '--confidence', '0.8'])==0
    update_documents(out)
    for name in ('MODEL_CARD.md', 'report.html'):
        assert 'at least 0.5 of the accepted answers' in (out/name).read_text()

def test_what_calibrate_refuses(probe, tmp_path, capsys):
    out = tmp_path/'run'
    shutil.copytree(probe, out)
    before = contents(out)
    for flags in (['--accept-precision', '0'], ['--accept-precision', '1'], ['--accept-precision', '1.5'],
        ['--accept-precision', '0.9', '--confidence', '1'], ['--accept-precision', 'nan']):
        assert main(['calibrate', str(out), *flags])==2
        assert 'must lie between 0 and 1' in capsys.readouterr().err and contents(out)==before
    for command,flag in (('calibrate', '--min-precision'), ('calibrate', '--f1'), ('evaluate', '--accept-precision')):
        assert main([command, str(out), flag, '0.9'])==2 and contents(out)==before
    capsys.readouterr()
    (out/'predictions'/'valid.parquet').unlink()
    assert main(['calibrate', str(out)])==2 and 'valid.parquet: there are no predictions' in capsys.readouterr().err

def test_a_refit_trains_on_valid_and_is_not_scored(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    first,second = tmp_path/'first',tmp_path/'second'
    assert main(['train', '--data', str(sample), '--size', '48', '--epochs', '1', '--out', str(first)])==0
    assert main(['train', '--refit', str(first), '--out', str(second)])==0
    assert 'score the result on the test split' in capsys.readouterr().err
    assert not (second/'metrics.json').exists()
    assert (second/'calibration.json').exists() and (second/'report.html').exists()
    assert not any(column.startswith('valid/') for column in pd.read_csv(second/'history.csv').columns)
    assert main(['evaluate', str(second)])==2 and 'refitted' in capsys.readouterr().err
    assert main(['calibrate', str(second)])==2 and 'calibrate the run that it was made from' in capsys.readouterr().err
    assert main(['predict', str(second), str(sample), '--out', str(tmp_path/'results.csv')])==0
    assert main(['train', '--refit', str(second), '--out', str(tmp_path/'third')])==2
    assert main(['train', '--refit', str(first), '--epochs', '3', '--out', str(tmp_path/'third')])==2
    assert not (tmp_path/'third').exists()
