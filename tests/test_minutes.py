"`train --minutes`: the plan is printed and kept, fits into the time, and gives way to what the user chose"
import contextlib, io, time
import pytest
from fashion_fastai.cli import main
from fashion_fastai.run import open_run

SMALL = ['--arch', 'test_resnet', '--weights', 'none', '--size', '32']

@pytest.fixture(scope='module')
def trained(sample, tmp_path_factory):
    "Run, seconds and log of a training of half a minute"
    folder = tmp_path_factory.mktemp('minutes')
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('FASHION_CACHE', str(folder/'cache'))
        monkeypatch.setattr('fashion_fastai.evaluation.artifacts.save_figures', lambda *args: None)
        log,started = io.StringIO(),time.monotonic()
        args = ['train', '--data', str(sample), *SMALL, '--minutes', '0.5', '--out', str(folder/'run')]
        with contextlib.redirect_stderr(log), contextlib.redirect_stdout(log): assert main(args)==0
    return open_run(folder/'run'),time.monotonic()-started,log.getvalue()

@pytest.mark.slow # on a machine that does nothing else
def test_it_ends_in_time(trained): assert trained[1]<30

def test_the_plan_is_printed_and_kept(trained):
    run,_,log = trained
    (stage,) = run.config.training.stages
    assert f'plan for 0.5 minutes: test_resnet at 32 px, {stage.epochs} epoch' in log
    assert run.config.image.size==32 and run.config.model.arch=='test_resnet'

@pytest.mark.parametrize('options', [['--epochs', '3'], ['--set', 'training.unfrozen=1']])
def test_what_it_plans_cannot_be_given_too(sample, tmp_path, capsys, options):
    assert main(['train', '--data', str(sample), *options, '--minutes', '1', '--out', str(tmp_path/'run')])
    assert 'training.minutes plans training.' in capsys.readouterr().err
    assert not (tmp_path/'run').exists()

def test_too_short_even_for_the_probe(sample, tmp_path, capsys):
    assert main(['train', '--data', str(sample), *SMALL, '--minutes', '0.01', '--out', str(tmp_path/'run')])
    assert 'too short even for the linear probe' in capsys.readouterr().err
