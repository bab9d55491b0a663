"The network of the best epoch is the one that is saved, scored, calibrated and reported"
import json
import numpy as np, pandas as pd, pytest
from fashion_fastai.config import Stage, make_config, setting
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.evaluation.evaluate import evaluate
from fashion_fastai.experiments.train import refit, train
from fashion_fastai.run import open_run
from fashion_fastai.training.keep_best import KeepBest
from fashion_fastai.training.learner import fashion_learner
from fashion_fastai.training.weight_averaging import EMA, SWA
import fashion_fastai.training.stages # noqa: F401 patches `fit_progressive`

STAGES = [dict(unfrozen=0, epochs=2, lr=1e-2), dict(unfrozen=3, epochs=2, lr=1.)] # the second one destroys the network

def silent(line): pass

@pytest.mark.parametrize('average', [None, EMA, SWA])
def test_the_best_epoch_of_all_stages_is_left(sample, average):
    "With the weights that were scored"
    catalogue = read_catalogue(sample)
    catalogue = catalogue.take(np.r_[catalogue.where('train')[:32], catalogue.where('valid')[:16]])
    learn = fashion_learner(catalogue, 'test_resnet', 32, bs=8, weights='none', cbs=average and average(), seed=1)
    with learn.no_logging():
        learn.fit_progressive([Stage(**stage) for stage in STAGES], keep_best=KeepBest(), seed=1)
    losses = [row['valid/loss'] for row in learn.history.rows]
    assert min(losses)<losses[-1] and learn.validate()[0]==pytest.approx(min(losses), abs=1e-5)

@pytest.fixture(scope='module')
def config(sample):
    table = pd.read_csv(sample, keep_default_na=False)
    table = pd.concat([table[table.split=='train'].head(48), table[table.split=='valid'].head(16)])
    table.to_csv(sample.parent/'keep.csv', index=False)
    fields = 'model.arch=test_resnet', 'model.weights=none', 'image.size=32', 'training.batch_size=16'
    training = dict(stages=STAGES, keep='best', monitor='valid/loss')
    return make_config('two-head', dict(data=dict(path=str(sample.parent/'keep.csv')), training=training),
        *map(setting, fields))

@pytest.fixture(scope='module')
def kept(config, tmp_path_factory):
    "A run, and the lines that its training printed"
    lines = []
    return train(config, tmp_path_factory.mktemp('keep')/'run', lines.append),lines

def test_the_run_is_that_of_the_best_epoch(kept):
    run,lines = kept
    history = pd.read_csv(run.history)
    best = history['valid/loss'].idxmin()
    metrics = json.loads(run.metrics.read_text())
    assert metrics['overall_accuracy']==pytest.approx(history['valid/overall_accuracy'][best], abs=1e-9)
    assert evaluate(open_run(run.path)).predictions.metrics('valid')['targets']['category']==metrics['targets']['category']
    text = f'epoch {best+1} of 4, with the lowest valid/loss'
    assert any(line.startswith(f'kept {text}') for line in lines)
    for name in 'report.html', 'MODEL_CARD.md': assert text in (run.path/name).read_text()
    assert open_run(run.path).config.training.kept==best+1

@pytest.mark.parametrize('monitor,near', [('valid/category/acuracy', 'valid/category/accuracy'),
    ('category/accuracy', 'valid/category/accuracy'), ('valid/overal_accuracy', 'valid/overall_accuracy'),
    ('valid/los', 'valid/loss')])
def test_an_unknown_score_is_refused_before_training(config, tmp_path, monitor, near):
    config = config.model_copy(deep=True)
    config.training.monitor = monitor
    with pytest.raises(UsageError, match=f'unknown training.monitor .*did you mean .*{near}'):
        train(config, tmp_path/'run', silent)
    assert not (tmp_path/'run').exists()

def test_a_refit_keeps_the_last_epoch(kept, tmp_path):
    lines = []
    refitted = refit(kept[0], tmp_path/'refit', lines.append)
    assert refitted.config.training.keep=='last'
    assert any('the last epoch is kept: without a validation split' in line for line in lines)

def test_settings_that_need_a_validation_split(kept):
    for needs in 'training.keep=best', 'training.schedule=plateau':
        with pytest.raises(UsageError, match='needs a validation split'):
            make_config('two-head', setting('training.refit=true'), setting(needs))
    run = open_run(kept[0].path)
    run.config.training.schedule = 'plateau'
    with pytest.raises(UsageError, match='schedule plateau follows the validation loss'): refit(run, 'none', silent)
