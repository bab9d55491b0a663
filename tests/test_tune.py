"A search keeps its time limit, survives a kill, and writes a recipe that trains"
import math, multiprocessing, os, signal, time
import optuna, pandas as pd, pytest, typer
from fastcore.basics import noop as quiet
from fashion_fastai.commands.tune import tune_command
from fashion_fastai.config import make_config, read_recipe, setting
from fashion_fastai.data.synthetic.dataset import draw_sample
from fashion_fastai.core.errors import UsageError
from fashion_fastai.experiments.train import train
from fashion_fastai.core.lock import lock_folder
from fashion_fastai.tuning.search_space import distributions, parameters, with_changes
from fashion_fastai.training.interrupt import TrainingInterrupted
from fashion_fastai.tuning.objective import TrialCallback, run_trial
from fashion_fastai.tuning.study import next_trial, tune

@pytest.fixture(scope='module')
def table(tmp_path_factory): return draw_sample(tmp_path_factory.mktemp('data')/'sample', n=40, size=32)

@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch): monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))

@pytest.fixture
def config(table):
    options = [f'data.path={table}', 'model.arch=test_resnet', 'model.weights=none', 'image.size=32',
        'training.epochs=2', 'training.batch_size=16']
    return make_config('two-head', *map(setting, options))

def space(folder, text):
    (folder/'mine.yaml').write_text('title: mine\nsettings:\n  '+text)
    return [str(folder/'mine.yaml')]

def test_the_first_trial_is_the_recipe_as_train_trains_it(config, tmp_path):
    result = tune(config, ['rate'], tmp_path/'search', trials=1, echo=quiet)
    run = train(config, tmp_path/'run', quiet)
    assert result.baseline==pd.read_csv(run.history)['valid/loss'].iloc[-1]
    assert result.settings=={} and 'nothing was better' in str(result)
    files = {path.name for path in result.out.iterdir()}
    assert files=={'study.db','trials.csv','best.yaml','trials.png'} # too few trials for importances

def _killed_in_its_second_trial(config, out):
    def kill(self):
        if self.trial.number==1: os.kill(os.getpid(), signal.SIGKILL)
    TrialCallback.after_batch = kill
    tune(config, ['rate'], out, trials=3, echo=quiet)

def test_a_killed_search_continues_as_if_it_had_not_been_killed(config, tmp_path):
    whole = tune(config, ['rate'], tmp_path/'whole', trials=3, echo=quiet).table
    spawn = multiprocessing.get_context('spawn')
    child = spawn.Process(target=_killed_in_its_second_trial, args=(config, tmp_path/'cut'))
    child.start()
    child.join()
    assert child.exitcode==-signal.SIGKILL
    study = optuna.load_study(study_name='tune', storage=f'sqlite:///{tmp_path}/cut/study.db')
    assert [trial.state.name for trial in study.trials]==['COMPLETE','RUNNING']
    resumed = tune(config, ['rate'], tmp_path/'cut', trials=3, echo=quiet).table
    assert resumed.outcome[1]=='killed' and math.isnan(resumed.value[1])
    settled = resumed.drop(index=1).drop(columns='seconds').reset_index(drop=True)
    assert settled.equals(whole.drop(columns='seconds').reset_index(drop=True))

def test_a_signal_ends_a_search_with_a_line_that_says_how_to_continue(config, tmp_path, monkeypatch):
    message = 'stopped by SIGTERM; the same command continues'
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted, match=message) as e:
        patched.setattr(TrialCallback, 'after_batch', lambda self: os.kill(os.getpid(), signal.SIGTERM))
        tune(config, ['rate'], tmp_path/'search', trials=1, echo=quiet)
    assert e.value.code==143
    resumed = tune(config, ['rate'], tmp_path/'search', trials=1, echo=quiet)
    assert resumed.table.outcome.tolist()==['killed','complete']

def test_the_recipe_is_trained_to_its_end_however_short_the_time(config, tmp_path):
    lines = []
    result = tune(config, ['rate'], tmp_path/'search', minutes=1e-6, echo=lines.append)
    assert result.table.outcome.tolist()==['complete']
    assert lines[-3].startswith('trial 0: unchanged recipe: loss ') and 'the time is up' in lines[-2]
    again = tune(config, ['rate'], tmp_path/'search', minutes=1e-6, echo=quiet)
    assert len(again.table)==1 # no trial starts
    assert len(tune(config, ['rate'], tmp_path/'search', trials=2, echo=quiet).table)==2 # it continues with more time

def test_a_trial_that_the_clock_stopped_is_tried_again(config, tmp_path):
    params = parameters(['rate'], config)
    study = optuna.create_study()
    study.enqueue_trial({param.name: param.default for param in params})
    trial = study.ask(distributions(params))
    outcome,value,_ = run_trial(trial, config, 'loss', time.monotonic()-1, quiet)
    assert outcome=='time' and math.isnan(value)
    trial.set_user_attr('outcome', outcome)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert next_trial(study, params)==trial.params

def test_settings_that_cannot_be_trained_fail_and_the_search_continues(config, tmp_path):
    lines = []
    entries = 'model.arch: {choices: [test_resnett]}\n  training.lr: {choices: [1.0e+38]}'
    result = tune(config, space(tmp_path, entries), tmp_path/'search', echo=lines.append)
    assert sorted(result.table.outcome)==['complete','diverged','failed','failed']
    assert any('unknown architecture' in line for line in lines)
    assert result.best==0 and 'all settings of the space were tried' in lines[-2]

def test_a_recipe_that_cannot_be_trained_is_one_message_and_nothing_is_written(config, tmp_path):
    unknown = with_changes(config, {'model.arch': 'test_resnett'})
    with pytest.raises(UsageError, match='unknown architecture'): tune(unknown, ['rate'], tmp_path/'search', echo=quiet)
    assert not (tmp_path/'search').exists()

@pytest.mark.parametrize('text, message', [
    ('training.lrr: {low: 1e-4, high: 1e-2}', "mine.yaml: training.lrr: unknown key 'lrr'; did you mean lr?"),
    ('loss.smoothing: {low: 0.0, high: 2.0}', 'mine.yaml: loss.smoothing: loss.smoothing: Input should be less than 1'),
    ('training.lr: {low: 1e-4}', 'mine.yaml: settings.training.lr: give `low` and `high`'),
    ('data.valid_share: {low: 0.1, high: 0.3}', 'a search cannot change data.valid_share')])
def test_a_wrong_entry_is_named_before_anything_starts(config, tmp_path, text, message):
    with pytest.raises(UsageError) as e: tune(config, space(tmp_path, text), tmp_path/'search', echo=quiet)
    assert message in str(e.value) and not (tmp_path/'search').exists()

def test_other_mistakes_write_nothing(config, tmp_path):
    out = tmp_path/'search'
    request = dict(config=config, spaces=['rate'], out=out, echo=quiet)
    for change,message in ((dict(spaces=['rates']), "unknown space 'rates'; did you mean rate?"),
        (dict(by='category/acuracy'), 'did you mean category/accuracy'),
        (dict(spaces=['rate','loss'], by='loss'), 'the loss function differs between these trials'),
        (dict(config=with_changes(config, {'training.refit': True})), 'leaves no validation split')):
        with pytest.raises(UsageError) as e: tune(**request|change)
        assert message in str(e.value) and not out.exists()
    with lock_folder(out), pytest.raises(UsageError, match='is in use by process'):
        tune(config, ['rate'], out, echo=quiet)
    out.mkdir()
    (out/'study.db').write_text('thesis')
    with pytest.raises(UsageError, match='is not the storage of a search'): tune(config, ['rate'], out, echo=quiet)

def test_the_best_recipe_keeps_the_data_settings_of_its_base(table, tmp_path):
    options = [f'data.path={table}', 'model.arch=test_resnet', 'model.weights=none', 'image.size=32',
        'training.epochs=1', 'training.batch_size=16', 'data.taxonomy=none', 'model.derive=false']
    config = make_config('hierarchy-resnet34', *map(setting, options))
    recipe = read_recipe(str(tune(config, ['loss'], tmp_path/'search', trials=2, echo=quiet).recipe))
    assert recipe.settings.get('data')==read_recipe('hierarchy-resnet34').settings.get('data')
    assert make_config(str(tmp_path/'search/best.yaml')).training.optimizer=='sgd'

def test_the_command_prints_how_to_train_the_best_recipe(table, tmp_path, capsys):
    app = typer.Typer()
    app.command()(tune_command)
    out = tmp_path/'search'
    small = ['--arch', 'test_resnet', '--weights', 'none', '--size', '32', '--epochs', '1', '--batch-size', '16']
    search = ['--space', 'decay', '--by', 'score', '--trials', '2', '--data', str(table), '--out', str(out)]
    app([*search, *small], standalone_mode=False)
    printed = capsys.readouterr()
    best_is_new = read_recipe(str(out/'best.yaml')).figures.count('nothing was better')==0
    assert (f'train it with: fashion-fastai train --recipe {out}/best.yaml --data {table}' in printed.out)==best_is_new
    assert 'trial 1: training.weight_decay=' in printed.err
    assert make_config(str(out/'best.yaml')).image.size==32
