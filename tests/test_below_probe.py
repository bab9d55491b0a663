"A training that ends below its own linear probe says so, and `training.keep: best` delivers the probe instead"
import contextlib, io, json
import numpy as np, pytest
from fashion_fastai.cli import main
from fashion_fastai.config import Stage
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.evaluation.limitations import run_warning
from fashion_fastai.run import open_run
from fashion_fastai.training.keep_best import KeepBest
from fashion_fastai.training.learner import fashion_learner
import fashion_fastai.training.stages # noqa: F401 patches `fit_progressive`

SMALL = ['train', '--size', '48', '--batch-size', '16']
RUINED = ['--epochs', '1', '--lr', '1.0']
KEPT = [*RUINED, '--set', 'training.keep=best']
GENTLE = ['--epochs', '1', '--lr', '1e-5']

@pytest.fixture(scope='module')
def trained(sample, tmp_path_factory):
    "Run, log and output of each training"
    folder,trained = tmp_path_factory.mktemp('below-probe'),{}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr('fashion_fastai.evaluation.artifacts.save_figures', lambda *args: None)
        monkeypatch.setenv('FASHION_CACHE', str(folder/'cache'))
        for name,options in dict(ruined=RUINED, kept=KEPT, gentle=GENTLE, probe=['--epochs', '0']).items():
            args = [*SMALL, '--data', str(sample), '--out', str(folder/name), *options]
            log,out = io.StringIO(),io.StringIO()
            with contextlib.redirect_stderr(log), contextlib.redirect_stdout(out): assert main(args)==0
            trained[name] = open_run(folder/name),log.getvalue(),out.getvalue().splitlines()
    return trained

def after_table(output):
    "Return the first line after the table of the scores"
    (end,) = [i for i,line in enumerate(output) if line.startswith('└')]
    return output[end+1]

def test_a_ruined_training_says_so_below_its_table(trained):
    run,_,output = trained['ruined']
    line = after_table(output)
    assert 'category/mean_class_accuracy 0.' in line and ' below the linear probe (0.' in line
    assert line.endswith('beyond noise: deliver the better network with --set training.keep=best, '
        'or train for more epochs or at a lower rate.')
    assert line in (run.path/'MODEL_CARD.md').read_text() and line in (run.path/'report.html').read_text()

def test_the_line_outlives_its_table(trained, tmp_path):
    run = open_run(trained['ruined'][0].path)
    run.config.data.path = str(tmp_path/'moved.csv')
    assert ' below the linear probe (0.' in run_warning(run)

def test_the_best_network_is_then_the_probe(trained):
    run,log,output = trained['kept']
    text = 'the network before the first epoch (the linear probe), with the lowest valid/loss'
    assert f'kept {text}, ' in log and run.config.training.kept==0
    for name in 'report.html', 'MODEL_CARD.md': assert text in (run.path/name).read_text()
    own,probe = [json.loads(file.read_text())['targets'] for file in (run.metrics, run.linear_probe)]
    for target,score in (('category', 'accuracy'), ('category', 'mean_class_accuracy'), ('attributes', 'macro_f1')):
        assert own[target][score]==pytest.approx(probe[target][score], abs=1e-6)
    assert not any('below the linear probe' in line for line in output)

def test_the_probe_is_not_compared_with_itself(trained):
    assert not any('below the linear probe' in line for line in trained['probe'][2])

def test_a_training_at_its_probe_says_nothing(trained):
    "Rates so low that nothing but noise differs"
    assert not any('below the linear probe' in line for line in trained['gentle'][2])

def test_the_start_is_scored_as_an_epoch_is(sample):
    catalogue = read_catalogue(sample)
    catalogue = catalogue.take(np.r_[catalogue.where('train')[:32], catalogue.where('valid')[:20]])
    learn = fashion_learner(catalogue, 'test_resnet', 32, bs=8, weights='none', seed=1)
    keep_best = KeepBest()
    with learn.no_logging():
        loss = learn.validate()[0]
        learn.fit_progressive([Stage(unfrozen=0, epochs=1, lr=1e-9)], keep_best=keep_best, seed=1)
    assert keep_best.start['valid/loss']==pytest.approx(loss, abs=1e-6)
    assert len(learn.history.rows)==1 and set(keep_best.start)<=set(learn.history.rows[0])
