"A training that was killed goes on and ends as if nothing had happened"
import errno, random, signal
from pathlib import Path
import pandas as pd, pytest
from helpers.interrupted import VARIANTS, outcome, processes, run_process, same, settings
from fashion_fastai.config import make_config, setting
from fashion_fastai.core.errors import UsageError
from fashion_fastai.experiments.train import refit, train
from fashion_fastai.experiments.resume import resumed_config
from fashion_fastai.run import open_run
from fashion_fastai.training.checkpoint import Checkpoints, checkpoint_numbers, newest_checkpoint
from fashion_fastai.training.interrupt import TrainingInterrupted

@pytest.fixture(scope='module')
def context(): return processes()

@pytest.fixture(scope='module')
def few(sample):
    "A small table: three batches of sixteen"
    table = pd.read_csv(sample, keep_default_na=False)
    table = pd.concat([table[table.split=='train'].head(48), table[table.split=='valid'].head(16)])
    table.to_csv(sample.parent/'few.csv', index=False)
    return sample.parent/'few.csv'

@pytest.mark.parametrize('variant', ['adamw', 'moving_average'])
def test_two_kills(few, context, tmp_path, variant):
    "In the middle of the second stage, and when all is trained but nothing written"
    out,fields = tmp_path/'run',settings(variant, few)
    run_process(context, fields, str(tmp_path/'whole'), False, None, False)
    assert run_process(context, fields, str(out), False, (12, 0), False)
    state = newest_checkpoint(out/'checkpoint')
    assert state['at']['stage']==1 and state['at']['batch']>0 and not (out/'model.safetensors').exists()
    assert run_process(context, fields, str(out), True, 'finish_run', False)
    with pytest.raises(UsageError, match='continue it with: train --resume'): open_run(out)
    assert not run_process(context, None, str(out), True, None, False)
    assert same(out, outcome(tmp_path/'whole'))==[]

@pytest.mark.slow
@pytest.mark.parametrize('variant', VARIANTS)
def test_random_kills(few, context, tmp_path, variant):
    "Five random moments for each variant, from the first line to the last; each training then goes on to its end"
    rng,fields,kills,places,equal = random.Random(variant),settings(variant, few, minutes=0.002),0,[],0
    run_process(context, fields, str(tmp_path/'whole'), False, None, variant=='one_fit')
    wanted = outcome(tmp_path/'whole')
    while kills<5:
        out,again = tmp_path/f'run-{equal}',False
        while run_process(context, fields, str(out), True, None if again and rng.random()<0.6 else (rng.randrange(40), rng.random()*0.3), variant=='one_fit'):
            kills,again = kills+1,True
            state = newest_checkpoint(out/'checkpoint') if (out/'checkpoint').is_dir() else None
            places.append(tuple(state['at'].values()) if state else 'complete' if out.exists() else 'preparing')
        assert same(out, wanted)==[], f'after {places}'
        equal += 1
    print(f'{variant}: {kills} kills in {equal} trainings, last checkpoint at (stage, epoch, batch): {places}; all equal')

# what a user sees

@pytest.fixture
def config(few, monkeypatch):
    for o in ('save_figures', 'write_report'): monkeypatch.setattr(f'fashion_fastai.evaluation.artifacts.{o}', lambda *args: None) # they take longer than the training
    return make_config('two-head', settings('adamw', few, minutes=10), dict(training=dict(stages=[dict(unfrozen=0, epochs=2, lr=1e-2)], batch_size=16)))

@pytest.fixture
def cut(monkeypatch):
    "Cut a training off after so many batches by a signal"
    def after(n, number=signal.SIGTERM):
        was,seen = Checkpoints.after_batch,[]
        def after_batch(self):
            seen.append(0)
            if len(seen)==n: signal.raise_signal(number)
            was(self)
        monkeypatch.setattr(Checkpoints, 'after_batch', after_batch)
    return after

@pytest.mark.parametrize('number,code,batch', [(signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 4)]) # the second one in a batch of the validation
def test_a_signal_saves_and_says_how_to_go_on(config, cut, tmp_path, number, code, batch):
    out,said = tmp_path/'run',[]
    cut(batch, number)
    with pytest.raises(TrainingInterrupted, match=f'stopped by .*; go on with: fashion-fastai train --resume --out {out}') as e: train(config, out, said.append)
    assert e.value.code==code and newest_checkpoint(out/'checkpoint')['at']==dict(stage=0, epoch=0, batch=min(batch, 3))
    assert signal.getsignal(signal.SIGTERM)==signal.SIG_DFL
    train(None, out, said.append, resume=True)
    train(config, tmp_path/'whole', said.append)
    assert same(out, outcome(tmp_path/'whole'))==[]

def test_a_run_that_was_cut_off_is_not_overwritten(config, cut, tmp_path, few):
    out = tmp_path/'run'
    cut(2)
    with pytest.raises(TrainingInterrupted): train(config, out, lambda _: None)
    with pytest.raises(UsageError, match='interrupted training; continue it with --resume'): train(config, out)
    with pytest.raises(UsageError, match='was begun with training.seed=42, and 7 is given now'): train(resumed_config(out, setting('training.seed=7')), out, resume=True)
    with pytest.raises(UsageError, match='was begun with image.size=32, and 128'): train(make_config('two-head', dict(data=dict(path=str(few)), model=config.model.model_dump())), out, resume=True)
    table = pd.read_csv(few, keep_default_na=False)
    table.loc[0, 'category'] = table.category[table.category!=table.category[0]].iloc[0]
    kept = few.read_text()
    table.to_csv(few, index=False)
    try:
        with pytest.raises(UsageError, match='the table is not what it was'): train(None, out, resume=True)
    finally: few.write_text(kept)
    assert checkpoint_numbers(out/'checkpoint')

def test_before_the_first_checkpoint_it_begins_again(config, tmp_path):
    again = tmp_path/'again'
    def stop(*args, **kwargs): raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as o:
        o.setattr('fashion_fastai.experiments.train.fit', stop)
        with pytest.raises(KeyboardInterrupt): train(config, again, lambda _: None)
    assert checkpoint_numbers(again/'checkpoint')==[] and (again/'checkpoint/begun.json').is_file()
    train(None, again, lambda _: None, resume=True)
    assert (again/'metrics.json').is_file() and not (again/'checkpoint').exists()

def test_a_damaged_checkpoint_is_passed_over(config, cut, tmp_path):
    out,said = tmp_path/'run',[]
    cut(6)
    with pytest.raises(TrainingInterrupted): train(config, out, lambda _: None)
    newest = checkpoint_numbers(out/'checkpoint')[-1]
    (out/f'checkpoint/{newest:06}/tensors.safetensors').write_bytes(b'\x80\x04.')
    train(None, out, said.append, resume=True)
    assert any('cannot be read as a checkpoint' in o for o in said) and open_run(out)

def test_a_full_disk(config, tmp_path, monkeypatch):
    "The second checkpoint finds no room: the first one is left, and is gone on with when there is room again"
    from fashion_fastai.training import serialization
    out,was,count = tmp_path/'run',serialization.save_file,[]
    def full(tensors, file):
        count.append(0)
        if len(count)>1:
            Path(file).write_bytes(b'half')
            raise OSError(errno.ENOSPC, 'No space left on device')
        was(tensors, file)
    with monkeypatch.context() as o:
        o.setattr(serialization, 'save_file', full)
        with pytest.raises(TrainingInterrupted, match='no room is left on the disk of .*; make some, then go on with') as e: train(config, out, lambda _: None)
    assert e.value.code==1 and checkpoint_numbers(out/'checkpoint')==[1]
    assert sorted(o.name for o in (out/'checkpoint').iterdir())==['000001', 'begun.json']
    train(None, out, lambda _: None, resume=True)
    train(config, tmp_path/'whole', lambda _: None)
    assert same(out, outcome(tmp_path/'whole'))==[]

def test_a_loss_that_is_not_finite(config, tmp_path, monkeypatch):
    "The batch is named, and the last good checkpoint is kept"
    from fashion_fastai.models.losses import FashionLoss
    out,was,count = tmp_path/'run',FashionLoss.__call__,[]
    def call(self, *args):
        count.append(0)
        return was(self, *args)*(float('nan') if len(count)==6 else 1)
    monkeypatch.setattr(FashionLoss, '__call__', call)
    with pytest.raises(TrainingInterrupted, match=r'the loss is nan in epoch 2, batch 2 of 3 of the training; its images are images/.*the last good checkpoint is kept') as e:
        train(config, out, lambda _: None)
    assert e.value.code==1 and newest_checkpoint(out/'checkpoint')['at']==dict(stage=0, epoch=1, batch=0)

def test_numbers_that_explode(config, tmp_path):
    "A rate far too high: it ends with a message, not with a model"
    config.training.stages[0].lr,config.training.schedule = 1e38,'constant'
    with pytest.raises(TrainingInterrupted, match='not finite|the loss is'): train(config, tmp_path/'run', lambda _: None)
    assert not (tmp_path/'run/model.safetensors').exists()

def test_a_refitted_run_goes_on(config, cut, tmp_path):
    run = train(config, tmp_path/'run', lambda _: None)
    whole = refit(run, tmp_path/'whole', lambda _: None)
    with pytest.MonkeyPatch.context() as o:
        def stop(*args, **kwargs): raise KeyboardInterrupt
        o.setattr('fashion_fastai.experiments.train.finish_run', stop)
        with pytest.raises(KeyboardInterrupt): refit(run, tmp_path/'new', lambda _: None)
    new = train(None, tmp_path/'new', lambda _: None, resume=True)
    assert new.model.read_bytes()==whole.model.read_bytes()
    assert new.calibration.read_bytes()==whole.calibration.read_bytes()==run.calibration.read_bytes()

def test_no_pickle_in_a_checkpoint(config, cut, tmp_path):
    cut(2)
    with pytest.raises(TrainingInterrupted): train(config, tmp_path/'run', lambda _: None)
    assert {o.suffix for o in (tmp_path/'run').rglob('*') if o.is_file()} <= {'.json', '.safetensors', '.yaml', '.csv'}
