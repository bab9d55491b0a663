"Ensembles: the mean of the members, each with its own settings; training images are never scored; prediction resumes"
import json
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from fashion_fastai.cli import main
from fashion_fastai.config import make_config
from fashion_fastai.core.errors import UsageError
from fashion_fastai.evaluation.calibration import Calibration, run_calibration
from fashion_fastai.models.network import create_network, save_network
from fashion_fastai.run import open_run, start_run
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of
from fashion_fastai.serving import shards
from fashion_fastai.serving.ensemble import Ensemble
from fashion_fastai.serving.predictor import Predictor

HALF = (0.5,)*3
CATEGORY,ATTRIBUTES = one_of('category', ['dress','shirt','skirt']), any_of('attributes', ['belted','striped'])
SCHEMA = Schema(targets=[CATEGORY, ATTRIBUTES, one_of('gender', ['only'])])
GAIN_TITLE = 'mean of 2 runs, and what it gains over the best of them'

def make_run(path, seed=0, size=32, schema=SCHEMA, arch='test_resnet', data=None, loss='softmax', **image):
    settings = dict(data=data or {}, model=dict(arch=arch, weights='none'), loss=dict(one_of=loss),
        image=dict(size=size, mean=HALF, std=HALF)|image)
    config = make_config('two-head', settings)
    run = start_run(path, config, schema)
    save_network(create_network(schema, arch, size, 'none', seed=seed), run.model)
    return run

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    "Return a folder of forty images, one of them broken, and a table with boxes"
    folder = tmp_path_factory.mktemp('shop')
    for i in range(40): Image.effect_noise((40+i, 50), 4*i+1).convert('RGB').save(folder/f'{i:02}.png')
    (folder/'33.png').write_bytes(b'no image')
    files = [f'{i:02}.png' for i in range(40)]
    frame = pd.DataFrame(dict(file=files, product_id=np.arange(40)//2, x1=5, y1=5, x2=30, y2=40))
    frame.to_csv(folder/'table.csv', index=False)
    return folder

@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    "Return three runs with different image settings; one is calibrated"
    folder = tmp_path_factory.mktemp('runs')
    runs = [make_run(folder/'a', 1),
        make_run(folder/'b', 2, 48, arch='test_efficientnet', fit='squash', loss='binary'),
        make_run(folder/'c', 3, 32, load_size=40, crop='box')]
    Calibration(SCHEMA, dict(category=3., gender=1.), dict(attributes=np.array([0.1,0.7]))).write(runs[0].calibration)
    return runs

def probs(results): return {name: np.nan_to_num(values, nan=-1) for name,values in results.predictions.probs.items()}

def same(a, b): return all(np.array_equal(values, probs(b)[name]) for name,values in probs(a).items())

@pytest.mark.parametrize('fitted', [True, False])
def test_the_mean_is_the_mean(runs, shop, fitted):
    alone = [Predictor.load(run.path, fitted)(shop/'table.csv', bs=16) for run in runs]
    results = Ensemble.load([run.path for run in runs], fitted)(shop/'table.csv', bs=16)
    for name,values in probs(results).items():
        mean = np.mean([probs(member)[name] for member in alone], axis=0, dtype=np.float64)
        assert np.array_equal(values, mean.astype(np.float32)), name
    assert results.bad==alone[0].bad and list(results.bad)==[33]
    assert np.allclose(results.thresholds['attributes'], [1.1/3, 1.7/3] if fitted else 0.5)

def test_a_member_alone_is_the_run_itself(runs, shop):
    for run in runs:
        alone,one = Predictor.load(run.path),Ensemble.load([run.path])
        assert same(alone(shop/'table.csv'), one(shop/'table.csv'))
        assert alone(shop/'table.csv').frame().equals(one(shop/'table.csv').frame())
        assert dict(alone(shop/'00.png'))==dict(one(shop/'00.png'))
        assert shards.predictor_key(alone)==shards.predictor_key(one)

def test_the_order_of_members_does_not_matter(runs, shop):
    paths = [run.path for run in runs]
    assert same(Ensemble.load(paths)(shop), Ensemble.load(paths[::-1])(shop))

def test_members_with_other_targets(runs, tmp_path):
    cases = {'its targets are category, not category, attributes, gender': Schema(targets=SCHEMA.targets[:1]),
        "label 3 of its target category is 'trousers', not 'skirt'":
            Schema(targets=[one_of('category', ['dress','shirt','trousers']), *SCHEMA.targets[1:]]),
        'its target attributes has 1 labels, not 2':
            Schema(targets=[SCHEMA['category'], any_of('attributes', ['belted']), SCHEMA['gender']])}
    for i,(message,schema) in enumerate(cases.items()):
        other = make_run(tmp_path/str(i), schema=schema)
        with pytest.raises(UsageError, match=message): Ensemble.load([runs[0].path, other.path])
        out = str(tmp_path/'no.csv')
        assert main(['predict', str(runs[0].path), 'none.jpg', '--ensemble-with', str(other.path), '--out', out])==2
        assert main(['evaluate', str(runs[0].path), '--ensemble-with', str(other.path)])==2
    assert not (tmp_path/'no.csv').exists()
    with pytest.raises(UsageError, match='is named twice'):
        Ensemble.load([runs[0].path, runs[1].path, runs[0].path])

# predict

def predict(runs, shop, out, *args):
    members = [arg for run in runs[1:] for arg in ('--ensemble-with', str(run.path))]
    flags = [*members, '--batch-size', '16', '--out', str(out), *args]
    return main(['predict', str(runs[0].path), str(shop/'table.csv'), *flags])

class Interrupted(Exception): pass

def interrupt(monkeypatch, batches):
    "Interrupt the prediction after a number of batches"
    stream = Ensemble.stream
    def stopped(self, images, bs=64):
        for i,results in enumerate(stream(self, images, bs)):
            if i==batches: raise Interrupted
            yield results
    monkeypatch.setattr(Ensemble, 'stream', stopped)

def test_predict_resumes_with_the_same_members_only(runs, shop, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(shards, 'SHARD_ROWS', 16)
    assert predict(runs, shop, tmp_path/'whole.csv')==0
    assert 'thresholds of the mean' in capfd.readouterr().err
    with monkeypatch.context() as broken:
        interrupt(broken, 2)
        with pytest.raises(Interrupted): predict(runs, shop, tmp_path/'a.csv')
    done = sorted((tmp_path/'a.csv.shards').glob('0*.parquet'))
    assert done
    for others in ([], runs[1:2], [runs[2], runs[1]]): # fewer members, or another order: the first has the OOD detector
        assert predict([runs[0], *others], shop, tmp_path/'a.csv')==2
        assert 'by another run' in capfd.readouterr().err
    written = done[0].stat().st_mtime_ns
    seen,stream = [],Ensemble.stream
    def counted(self, images, bs=64):
        seen.append(len(images))
        return stream(self, images, bs)
    monkeypatch.setattr(Ensemble, 'stream', counted)
    assert predict(runs, shop, tmp_path/'a.csv')==0
    assert seen[0]==40-16*len(done) and written # only what was left
    assert (tmp_path/'a.csv').read_bytes()==(tmp_path/'whole.csv').read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir())==['a.csv', 'whole.csv']

def test_predict_products_and_submissions(runs, shop, tmp_path):
    assert predict(runs, shop, tmp_path/'p.csv', '--group-col', 'product_id', '--enforce-taxonomy')==0
    assert len(pd.read_csv(tmp_path/'p.csv'))==20
    frame = pd.read_csv(shop/'table.csv')
    frame[frame.file!='33.png'].to_csv(shop/'good.csv', index=False)
    flags = ['--ensemble-with', str(runs[1].path), '--format', 'category-csv', '--out', str(tmp_path/'s.csv')]
    assert main(['predict', str(runs[0].path), str(shop/'good.csv'), *flags])==0
    assert len((tmp_path/'s.csv').read_text().splitlines())>=39

def test_a_cluster_takes_one_run(runs, shop, tmp_path, capfd):
    assert predict(runs, shop, tmp_path/'out', '--engine', 'ray')==2
    assert '--ensemble-with does not go with --engine ray' in capfd.readouterr().err

def test_an_image_that_one_member_cannot_read_has_no_result(runs, shop, tmp_path):
    frame = pd.read_csv(shop/'table.csv').head(4)
    frame.loc[1, ['x1','x2']] = 900, 950 # outside the image: an error only for the member that crops to boxes
    frame.to_csv(shop/'outside.csv', index=False)
    alone = [Predictor.load(run.path)(shop/'outside.csv').bad for run in runs]
    results = Ensemble.load([run.path for run in runs])(shop/'outside.csv')
    assert results.bad=={position: reason for bad in alone for position,reason in bad.items()}
    for values in results.predictions.probs.values():
        bad = list(results.bad)
        assert np.isnan(values[bad]).all() and np.isfinite(np.delete(values, bad, axis=0)).all()

# evaluate

@pytest.fixture(scope='module')
def trained(sample, tmp_path_factory):
    "Return two runs on the sample with different image sizes; labels of some rows are missing"
    folder,frame = tmp_path_factory.mktemp('trained'),pd.read_csv(sample, keep_default_na=False)
    frame.loc[::7, 'category'],frame.loc[3::5, 'attributes'] = '','?'
    frame.to_csv(sample.parent/'holes.csv', index=False)
    from fashion_fastai.data.from_config import catalogue_from_config
    from fashion_fastai.evaluation.evaluate import evaluate
    from fashion_fastai.evaluation.calibration import fit_calibration
    made = []
    for i,size in enumerate((32, 48)):
        data = dict(path=str(sample.parent/'holes.csv'))
        schema = catalogue_from_config(make_config('two-head', dict(data=data))).schema
        made.append(make_run(folder/f'net{size}', i, size, schema, data=data))
        predictions = evaluate(made[-1]).predictions
        made[-1].predictions('valid').parent.mkdir()
        predictions.write(made[-1].predictions('valid'))
        fit_calibration(predictions).write(made[-1].calibration)
    return made

def test_evaluate_prints_the_gain(trained, tmp_path, capfd):
    a,b = trained
    assert main(['evaluate', str(a.path), '--ensemble-with', str(b.path), '--out', str(tmp_path/'scores.json')])==0
    output = capfd.readouterr().out
    assert GAIN_TITLE in output and 'net32' in output and 'net48' in output
    assert 'fitted on the' in output and 'that all members share' in output
    written = json.loads((tmp_path/'scores.json').read_text())
    assert list(written['members'])==['net32','net48'] and written['targets'].keys()==written['fitted'].keys()
    for row in written['gain']:
        target,score = row['target'],row['score']
        best = max(scores[target][score] for scores in written['members'].values())
        assert row['gain']==pytest.approx(written['targets'][target][score]-best) and row['low']<=row['high']

def test_evaluate_and_predict_agree(trained, tmp_path):
    from fashion_fastai.evaluation.evaluate import evaluate_ensemble
    evaluation = evaluate_ensemble([open_run(run.path) for run in trained])
    ensemble = Ensemble.load([run.path for run in trained])
    results = ensemble([Path(path) for path in evaluation.rows.paths])
    for name,values in evaluation.predictions.probs.items():
        assert np.allclose(values, results.predictions.probs[name], atol=1e-5)
    assert (evaluation.predictions.truth['category']==-1).any() and 'fitted on the' in ensemble.thresholds_from

def test_evaluate_with_tta(trained):
    from fashion_fastai.evaluation.evaluate import evaluate_ensemble, evaluate
    evaluation = evaluate_ensemble(trained, n=1)
    for run,member in zip(trained, evaluation.members.values()):
        alone = run_calibration(run).apply(evaluate(run, n=1).predictions)
        assert all(np.array_equal(values, alone.probs[name]) for name,values in member.probs.items())
