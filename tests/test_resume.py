"A training that was killed is resumed, and ends as if nothing had happened"
import errno, random, signal
from pathlib import Path
import pandas as pd, pytest
from helpers.interrupted import VARIANTS, differences, outcome, processes, run_process, settings
from fashion_fastai.config import make_config, setting
from fashion_fastai.core.errors import UsageError
from fashion_fastai.experiments.resume import resumed_config
from fashion_fastai.experiments.train import refit, train
from fashion_fastai.models.losses import FashionLoss
from fashion_fastai.run import open_run
from fashion_fastai.training import serialization
from fashion_fastai.training.checkpoint import Checkpoints, checkpoint_numbers, newest_checkpoint
from fashion_fastai.training.interrupt import TrainingInterrupted

def silent(line): pass

@pytest.fixture(scope='module')
def context(): return processes()

@pytest.fixture(scope='module')
def few(sample):
    "A small table: three batches of sixteen"
    table = pd.read_csv(sample, keep_default_na=False)
    table = pd.concat([table[table.split=='train'].head(48), table[table.split=='valid'].head(16)])
    table.to_csv(sample.parent/'few.csv', index=False)
    return sample.parent/'few.csv'

@pytest.mark.parametrize('variant', ['adamw', 'moving_average', 'best_epoch'])
def test_two_kills(few, context, tmp_path, variant):
    "In the middle of the second stage, and when everything is trained but nothing is written"
    out,fields = tmp_path/'run',settings(variant, few)
    run_process(context, fields, str(tmp_path/'whole'), False, None, False)
    assert run_process(context, fields, str(out), False, (12, 0), False)
    state = newest_checkpoint(out/'checkpoint')
    assert state['at']['stage']==1 and state['at']['batch']>0 and not (out/'model.safetensors').exists()
    assert run_process(context, fields, str(out), True, 'finish_run', False)
    with pytest.raises(UsageError, match='continue it with: train --resume'): open_run(out)
    assert not run_process(context, None, str(out), True, None, False)
    assert differences(out, outcome(tmp_path/'whole'))==[]

def _last_place(out):
    "Return where the newest checkpoint of an interrupted training is"
    state = newest_checkpoint(out/'checkpoint') if (out/'checkpoint').is_dir() else None
    if state: return tuple(state['at'].values())
    return 'complete' if out.exists() else 'preparing'

@pytest.mark.slow
@pytest.mark.parametrize('variant', VARIANTS)
def test_random_kills(few, context, tmp_path, variant):
    "At five random moments, from the first line to the last; each training is resumed until it is complete"
    rng,fields,report = random.Random(variant),settings(variant, few, minutes=0.002),variant=='one_fit'
    run_process(context, fields, str(tmp_path/'whole'), False, None, report)
    expected = outcome(tmp_path/'whole')
    kills,places,trainings = 0,[],0
    while kills<5:
        out,resumed = tmp_path/f'run-{trainings}',False
        while True:
            kill = None if resumed and rng.random()<0.6 else (rng.randrange(40), rng.random()*0.3)
            if not run_process(context, fields, str(out), True, kill, report): break
            kills,resumed = kills+1,True
            places.append(_last_place(out))
        assert differences(out, expected)==[], f'after {places}'
        trainings += 1
    print(f'{variant}: {kills} kills in {trainings} trainings, last checkpoint at (stage, epoch, batch): {places}')

# what a user sees

@pytest.fixture
def config(few, monkeypatch):
    for name in ('save_figures', 'write_report'): # they take longer than the training
        monkeypatch.setattr(f'fashion_fastai.evaluation.artifacts.{name}', lambda *args: None)
    training = dict(stages=[dict(unfrozen=0, epochs=2, lr=1e-2)], batch_size=16)
    return make_config('two-head', settings('adamw', few, minutes=10), dict(training=training))

@pytest.fixture
def interrupt(monkeypatch):
    "Send a signal after so many batches, those of the validation included"
    def after(n, number=signal.SIGTERM):
        original,batches = Checkpoints.after_batch,[]
        def after_batch(self):
            batches.append(0)
            if len(batches)==n: signal.raise_signal(number)
            original(self)
        monkeypatch.setattr(Checkpoints, 'after_batch', after_batch)
    return after

@pytest.mark.parametrize('number,code,batch', [(signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 4)])
def test_a_signal_writes_a_checkpoint(config, interrupt, tmp_path, number, code, batch):
    "The message says how to resume; the fourth batch is one of the validation"
    out = tmp_path/'run'
    interrupt(batch, number)
    message = f'stopped by .*; resume with: fashion-fastai train --resume --out {out}'
    with pytest.raises(TrainingInterrupted, match=message) as error: train(config, out, silent)
    assert error.value.code==code
    assert newest_checkpoint(out/'checkpoint')['at']==dict(stage=0, epoch=0, batch=min(batch, 3))
    assert signal.getsignal(signal.SIGTERM)==signal.SIG_DFL
    train(None, out, silent, resume=True)
    train(config, tmp_path/'whole', silent)
    assert differences(out, outcome(tmp_path/'whole'))==[]

def test_an_interrupted_run_is_not_overwritten(config, interrupt, tmp_path, few):
    out = tmp_path/'run'
    interrupt(2)
    with pytest.raises(TrainingInterrupted): train(config, out, silent)
    with pytest.raises(UsageError, match='interrupted training; continue it with --resume'): train(config, out)
    with pytest.raises(UsageError, match='was started with training.seed=42, not 7'):
        train(resumed_config(out, setting('training.seed=7')), out, resume=True)
    larger = make_config('two-head', dict(data=dict(path=str(few)), model=config.model.model_dump()))
    with pytest.raises(UsageError, match='was started with image.size=32, not 128'): train(larger, out, resume=True)
    table = pd.read_csv(few, keep_default_na=False)
    table.loc[0, 'category'] = table.category[table.category!=table.category[0]].iloc[0]
    text = few.read_text()
    table.to_csv(few, index=False)
    try:
        with pytest.raises(UsageError, match='labels of the table have changed'): train(None, out, resume=True)
    finally: few.write_text(text)
    assert checkpoint_numbers(out/'checkpoint')

def test_before_the_first_checkpoint_it_starts_again(config, tmp_path):
    out = tmp_path/'run'
    def stop(*args, **kwargs): raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr('fashion_fastai.experiments.train.fit', stop)
        with pytest.raises(KeyboardInterrupt): train(config, out, silent)
    assert checkpoint_numbers(out/'checkpoint')==[] and (out/'checkpoint/resume.json').is_file()
    train(None, out, silent, resume=True)
    assert (out/'metrics.json').is_file() and not (out/'checkpoint').exists()

def test_a_damaged_checkpoint_is_skipped(config, interrupt, tmp_path):
    out,lines = tmp_path/'run',[]
    interrupt(6)
    with pytest.raises(TrainingInterrupted): train(config, out, silent)
    newest = checkpoint_numbers(out/'checkpoint')[-1]
    (out/f'checkpoint/{newest:06}/tensors.safetensors').write_bytes(b'\x80\x04.')
    train(None, out, lines.append, resume=True)
    assert any('cannot be read as a checkpoint' in line for line in lines) and open_run(out)

def test_a_full_disk(config, tmp_path, monkeypatch):
    "There is no space for the second checkpoint: the first one is left, and is resumed when there is space again"
    out,original,calls = tmp_path/'run',serialization.save_file,[]
    def full(tensors, file):
        calls.append(0)
        if len(calls)>1:
            Path(file).write_bytes(b'half')
            raise OSError(errno.ENOSPC, 'No space left on device')
        original(tensors, file)
    with monkeypatch.context() as patch:
        patch.setattr(serialization, 'save_file', full)
        with pytest.raises(TrainingInterrupted, match='the disk of .* is full; free some space; resume with') as error:
            train(config, out, silent)
    assert error.value.code==1 and checkpoint_numbers(out/'checkpoint')==[1]
    assert sorted(path.name for path in (out/'checkpoint').iterdir())==['000001', 'resume.json']
    train(None, out, silent, resume=True)
    train(config, tmp_path/'whole', silent)
    assert differences(out, outcome(tmp_path/'whole'))==[]

def test_a_loss_that_is_not_finite(config, tmp_path, monkeypatch):
    "The batch is named, and the last good checkpoint is left"
    out,original,calls = tmp_path/'run',FashionLoss.__call__,[]
    def call(self, *args):
        calls.append(0)
        return original(self, *args)*(float('nan') if len(calls)==6 else 1)
    monkeypatch.setattr(FashionLoss, '__call__', call)
    message = ('the loss is nan in epoch 2, batch 2 of 3 of the training; its images are images/'
        '.*the last good checkpoint is in')
    with pytest.raises(TrainingInterrupted, match=message) as error: train(config, out, silent)
    assert error.value.code==1 and newest_checkpoint(out/'checkpoint')['at']==dict(stage=0, epoch=1, batch=0)

def test_weights_that_overflow(config, tmp_path):
    "A learning rate far too high ends with a message, not with a model"
    config.training.stages[0].lr,config.training.schedule = 1e38,'constant'
    with pytest.raises(TrainingInterrupted, match='not finite|the loss is'): train(config, tmp_path/'run', silent)
    assert not (tmp_path/'run/model.safetensors').exists()

def test_a_refitted_run_is_resumed(config, tmp_path):
    run = train(config, tmp_path/'run', silent)
    whole = refit(run, tmp_path/'whole', silent)
    def stop(*args, **kwargs): raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr('fashion_fastai.experiments.train.finish_run', stop)
        with pytest.raises(KeyboardInterrupt): refit(run, tmp_path/'new', silent)
    new = train(None, tmp_path/'new', silent, resume=True)
    assert new.model.read_bytes()==whole.model.read_bytes()
    assert new.calibration.read_bytes()==whole.calibration.read_bytes()==run.calibration.read_bytes()

def test_no_pickle_in_a_checkpoint(config, interrupt, tmp_path):
    interrupt(2)
    with pytest.raises(TrainingInterrupted): train(config, tmp_path/'run', silent)
    suffixes = {path.suffix for path in (tmp_path/'run').rglob('*') if path.is_file()}
    assert suffixes <= {'.json', '.safetensors', '.yaml', '.csv'}
