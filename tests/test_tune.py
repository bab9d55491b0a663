"A search keeps to its time, survives a kill, and what it finds can be trained"
import math, multiprocessing, os, signal, time
import optuna, pandas as pd, pytest, typer
from fashion_fastai.commands.tune import tune_command
from fashion_fastai.config import make_config, read_recipe, setting
from fashion_fastai.data.synthetic.dataset import draw_sample
from fashion_fastai.core.errors import UsageError
from fashion_fastai.experiments.train import train
from fashion_fastai.core.lock import lock_folder
from fashion_fastai.tuning.search_space import changed, parameters, space_of
from fashion_fastai.training.interrupt import TrainingInterrupted
from fashion_fastai.tuning.objective import TrialWatch, run_trial
from fashion_fastai.tuning.study import next_trial, tune

quiet = lambda _: None

@pytest.fixture(scope='module')
def table(tmp_path_factory): return draw_sample(tmp_path_factory.mktemp('data')/'sample', n=40, size=32)

@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch): monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))

@pytest.fixture
def config(table):
    return make_config('two-head', *map(setting, [f'data.path={table}', 'model.arch=test_resnet', 'model.weights=none', 'image.size=32', 'training.epochs=2', 'training.batch_size=16']))

def space(folder, text):
    (folder/'mine.yaml').write_text('title: mine\nsettings:\n  '+text)
    return [str(folder/'mine.yaml')]

def test_the_first_trial_is_the_recipe_as_train_trains_it(config, tmp_path):
    found = tune(config, ['rate'], tmp_path/'search', trials=1, echo=quiet)
    run = train(config, tmp_path/'run', quiet)
    assert found.own==pd.read_csv(run.history)['valid/loss'].iloc[-1]
    assert found.settings=={} and 'nothing was better' in str(found)
    assert {o.name for o in found.out.iterdir()}=={'study.db','trials.csv','best.yaml','trials.png'} # too few for importances

def _killed_in_its_second_trial(config, out):
    def kill(self):
        if self.trial.number==1: os.kill(os.getpid(), signal.SIGKILL)
    TrialWatch.after_batch = kill
    tune(config, ['rate'], out, trials=3, echo=quiet)

def test_a_killed_search_goes_on_as_if_nothing_had_been(config, tmp_path):
    whole = tune(config, ['rate'], tmp_path/'whole', trials=3, echo=quiet).table
    child = multiprocessing.get_context('spawn').Process(target=_killed_in_its_second_trial, args=(config, tmp_path/'cut'))
    child.start()
    child.join()
    assert child.exitcode==-signal.SIGKILL
    assert [o.state.name for o in optuna.load_study(study_name='tune', storage=f'sqlite:///{tmp_path}/cut/study.db').trials]==['COMPLETE','RUNNING']
    resumed = tune(config, ['rate'], tmp_path/'cut', trials=3, echo=quiet).table
    assert resumed.ended[1]=='killed' and math.isnan(resumed.value[1])
    settled = resumed.drop(index=1).drop(columns='seconds').reset_index(drop=True)
    assert settled.equals(whole.drop(columns='seconds').reset_index(drop=True))

def test_a_signal_ends_a_search_with_a_line_that_says_how_to_go_on(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted, match='stopped by SIGTERM; the same command goes on') as e:
        patched.setattr(TrialWatch, 'after_batch', lambda self: os.kill(os.getpid(), signal.SIGTERM))
        tune(config, ['rate'], tmp_path/'search', trials=1, echo=quiet)
    assert e.value.code==143
    assert tune(config, ['rate'], tmp_path/'search', trials=1, echo=quiet).table.ended.tolist()==['killed','complete']

def test_the_recipe_is_trained_to_its_end_however_short_the_time(config, tmp_path):
    said = []
    found = tune(config, ['rate'], tmp_path/'search', minutes=1e-6, echo=said.append)
    assert found.table.ended.tolist()==['complete'] and said[-3].startswith('trial 0: the recipe as it stands: loss ') and 'the time is used up' in said[-2]
    tune(config, ['rate'], tmp_path/'search', minutes=1e-6, echo=said.append)
    assert len(found.table)==1 # nothing is begun
    assert len(tune(config, ['rate'], tmp_path/'search', trials=2, echo=quiet).table)==2 # more time, and it goes on

def test_a_trial_that_the_clock_stopped_is_tried_again(config, tmp_path):
    params = parameters(['rate'], config)
    study = optuna.create_study()
    study.enqueue_trial({o.name: o.own for o in params})
    trial = study.ask(space_of(params))
    ended,value,_ = run_trial(trial, config, 'loss', time.monotonic()-1, quiet)
    assert ended=='time' and math.isnan(value)
    trial.set_user_attr('ended', ended)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert next_trial(study, params)==trial.params

def test_settings_that_cannot_be_trained_fail_and_the_search_goes_on(config, tmp_path):
    said = []
    found = tune(config, space(tmp_path, 'model.arch: {choices: [test_resnett]}\n  training.lr: {choices: [1.0e+38]}'), tmp_path/'search', echo=said.append)
    assert sorted(found.table.ended)==['complete','diverged','failed','failed']
    assert any('unknown architecture' in o for o in said) and found.best==0 and 'all settings of the space are tried' in said[-2]

def test_a_recipe_that_cannot_be_trained_is_one_message_and_nothing_is_written(config, tmp_path):
    with pytest.raises(UsageError, match='unknown architecture'): tune(changed(config, {'model.arch': 'test_resnett'}), ['rate'], tmp_path/'search', echo=quiet)
    assert not (tmp_path/'search').exists()

@pytest.mark.parametrize('text, said', [
    ('training.lrr: {low: 1e-4, high: 1e-2}', "mine.yaml: training.lrr: unknown key 'lrr'; did you mean lr?"),
    ('loss.smoothing: {low: 0.0, high: 2.0}', 'mine.yaml: loss.smoothing: loss.smoothing: Input should be less than 1'),
    ('training.lr: {low: 1e-4}', 'mine.yaml: settings.training.lr: give `low` and `high`'),
    ('data.valid_share: {low: 0.1, high: 0.3}', 'a search cannot change data.valid_share')])
def test_a_wrong_entry_is_named_before_anything_starts(config, tmp_path, text, said):
    with pytest.raises(UsageError) as e: tune(config, space(tmp_path, text), tmp_path/'search', echo=quiet)
    assert said in str(e.value) and not (tmp_path/'search').exists()

def test_other_mistakes_write_nothing(config, tmp_path):
    out = tmp_path/'search'
    for given,said in ((dict(spaces=['rates']), "unknown space 'rates'; did you mean rate?"), (dict(by='category/acuracy'), 'did you mean category/accuracy'),
        (dict(spaces=['rate','loss'], by='loss'), 'the loss itself differs between these trials'), (dict(config=changed(config, {'training.refit': True})), 'leaves nothing to compare')):
        with pytest.raises(UsageError) as e: tune(**dict(config=config, spaces=['rate'], out=out, echo=quiet)|given)
        assert said in str(e.value) and not out.exists()
    with lock_folder(out), pytest.raises(UsageError, match='is in use by process'): tune(config, ['rate'], out, echo=quiet)
    out.mkdir()
    (out/'study.db').write_text('thesis')
    with pytest.raises(UsageError, match='is no storage of a search'): tune(config, ['rate'], out, echo=quiet)

def test_what_a_recipe_says_about_tables_stays_in_it(table, tmp_path):
    config = make_config('hierarchy-resnet34', *map(setting, [f'data.path={table}', 'model.arch=test_resnet', 'model.weights=none', 'image.size=32', 'training.epochs=1', 'training.batch_size=16',
        'data.taxonomy=none', 'model.derive=false']))
    recipe = read_recipe(str(tune(config, ['loss'], tmp_path/'search', trials=2, echo=quiet).recipe))
    assert recipe.settings.get('data')==read_recipe('hierarchy-resnet34').settings.get('data')
    assert make_config(str(tmp_path/'search/best.yaml')).training.optimizer=='sgd'

def test_the_command_prints_how_to_train_what_it_found(table, tmp_path, capsys):
    app = typer.Typer()
    app.command()(tune_command)
    out = tmp_path/'search'
    app(['--space', 'decay', '--by', 'score', '--trials', '2', '--data', str(table), '--arch', 'test_resnet', '--weights', 'none', '--size', '32', '--epochs', '1', '--batch-size', '16', '--out', str(out)],
        standalone_mode=False)
    printed = capsys.readouterr()
    assert f'train it with: fashion-fastai train --recipe {out}/best.yaml --data {table}' in printed.out and 'trial 1: training.weight_decay=' in printed.err
    assert make_config(str(out/'best.yaml')).image.size==32
