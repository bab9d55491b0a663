"With averaged weights, the network that was scored is the one that is saved, checkpointed and returned"
import numpy as np, pytest, torch
from fastai.callback.core import Callback, CancelEpochException, CancelFitException, CancelValidException
from fastai.callback.tracker import EarlyStoppingCallback, SaveModelCallback
from fashion_fastai.config import Stage
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.training.checkpoint import Checkpoints, newest_checkpoint
from fashion_fastai.training.interrupt import TrainingInterrupted
from fashion_fastai.training.learner import fashion_learner
from fashion_fastai.training.serialization import copy_state, read_state
import fashion_fastai.training.stages # noqa: F401 patches `fit_progressive`
from fashion_fastai.training.weight_averaging import EMA, SWA

AVERAGES = dict(ema=lambda: EMA(0.9), swa=lambda: SWA(2))

@pytest.fixture(scope='module')
def catalogue(sample):
    catalogue = read_catalogue(sample)
    return catalogue.take(np.r_[catalogue.where('train')[:32], catalogue.where('valid')[:16]])

@pytest.fixture(params=AVERAGES)
def learn(request, catalogue, tmp_path):
    learn = fashion_learner(catalogue, 'test_resnet', 32, bs=8, weights='none', cbs=AVERAGES[request.param](), lr=0.02)
    learn.path = tmp_path
    learn.unfreeze()
    return learn

def fit(learn, n_epoch, *cbs):
    with learn.no_logging(): learn.fit(n_epoch, cbs=cbs)
    return [row.get('valid/loss') for row in learn.history.rows]

def valid_loss(learn): return learn.validate()[0]

def weights(learn): return copy_state(list(learn.model.state_dict().values()))

def same(a, b): return all(torch.equal(x, y) for x,y in zip(a, b, strict=True))

def test_the_best_network_is_the_one_that_was_scored(learn):
    best = SaveModelCallback()
    losses = fit(learn, 4, best)
    assert best.best==pytest.approx(min(losses), abs=1e-6)
    assert valid_loss(learn)==pytest.approx(best.best, abs=1e-6)

@pytest.mark.parametrize('n', range(4))
def test_the_network_of_every_epoch_is_the_one_that_was_scored(learn, n):
    losses = fit(learn, 4, SaveModelCallback(every_epoch=True, with_opt=False))
    learn.load(f'model_{n}', with_opt=False, weights_only=False)
    assert valid_loss(learn)==pytest.approx(losses[n], abs=1e-6)

def test_early_stopping_leaves_the_network_that_was_scored(learn):
    losses = fit(learn, 5, EarlyStoppingCallback(min_delta=1e9, patience=2))
    assert len(losses)==3
    assert valid_loss(learn)==pytest.approx(losses[-1], abs=1e-6)

class Cancel(Callback):
    "Raise `error` in an event of the last of three epochs"
    order = 20
    def __init__(self, event, error): self.event,self.error = event,error
    def __call__(self, event_name):
        if event_name==self.event and self.epoch==2: raise self.error

def floats(learn): return [tensor for tensor in learn.model.state_dict().values() if tensor.is_floating_point()]

class Follow(Callback):
    "Compute the moving average step by step"
    order = 91
    def before_fit(self): self.n,self.mean = 0,copy_state(floats(self.learn))
    def after_step(self):
        share = 1-min(0.9, (1+self.n)/(10+self.n))
        self.n += 1
        self.mean = [torch.lerp(old, new, share) for old,new in zip(self.mean, floats(self.learn))]

@pytest.mark.parametrize('event,error', [
    ('before_train', CancelFitException), ('after_pred', CancelFitException), ('after_pred', CancelEpochException),
    ('before_validate', CancelFitException), ('before_validate', CancelValidException),
    ('after_validate', CancelFitException), ('after_epoch', CancelFitException)])
def test_a_fit_that_is_cancelled_ends_with_the_mean(catalogue, event, error):
    "Wherever it is cancelled"
    follow,learn = Follow(),fashion_learner(catalogue, 'test_resnet', 32, bs=8, weights='none', cbs=EMA(0.9), lr=0.02)
    fit(learn, 3, follow, Cancel(event, error))
    for left,mean in zip(floats(learn), follow.mean, strict=True): assert torch.allclose(left, mean, 1e-4, 1e-6)

class Predict(Callback):
    "Predict and validate after each epoch, as trackers do"
    order = 50
    def after_epoch(self):
        if hasattr(self.learn, 'gather_preds') or self.busy: return
        self.busy = True
        self.learn.get_preds(inner=True)
        self.busy = False
    def before_fit(self): self.busy = False

def test_predictions_between_the_epochs_change_nothing(catalogue):
    def trained(*cbs):
        learn = fashion_learner(catalogue, 'test_resnet', 32, bs=8, weights='none', cbs=EMA(0.9), lr=0.02, seed=1)
        with learn.no_logging(): learn.fit_progressive([Stage(unfrozen=3, epochs=3, lr=0.02)], seed=1)
        return learn
    plain,predicting = trained(),trained(Predict())
    assert same(weights(plain), weights(predicting))

STAGES = [Stage(unfrozen=0, epochs=1, lr=0.02), Stage(unfrozen=3, epochs=2, lr=0.02)]

class Signal(Callback):
    def __init__(self, batch): self.batch,self.n = batch,0
    def after_batch(self):
        self.n += 1
        if self.n==self.batch: self.checkpoints.signals.received = 15

def trained(catalogue, average, checkpoints, *cbs):
    learn = fashion_learner(catalogue, 'test_resnet', 32, bs=8, weights='none', cbs=AVERAGES[average](), seed=1)
    with learn.no_logging(), learn.added_cbs(cbs): learn.fit_progressive(STAGES, checkpoints=checkpoints, seed=1)
    return weights(learn),[row['valid/loss'] for row in learn.history.rows]

@pytest.fixture(scope='module')
def whole(catalogue):
    "Weights and losses of trainings that were not interrupted"
    return {average: trained(catalogue, average, None) for average in AVERAGES}

@pytest.mark.parametrize('average', AVERAGES)
@pytest.mark.parametrize('batch', [6, 9, 11, 13, 17])
def test_a_training_that_is_interrupted_anywhere_has_the_same_mean(catalogue, tmp_path, whole, average, batch):
    "In training and in validation, which makes the fifth and sixth batch of an epoch"
    with pytest.raises(TrainingInterrupted): trained(catalogue, average, Checkpoints(tmp_path), Signal(batch))
    resumed,losses = trained(catalogue, average, Checkpoints(tmp_path, state=newest_checkpoint(tmp_path)))
    assert same(whole[average][0], resumed) and whole[average][1]==losses

@pytest.mark.parametrize('average', AVERAGES)
def test_a_checkpoint_of_an_epoch_has_the_network_that_was_scored(catalogue, tmp_path, average):
    learn = fashion_learner(catalogue, 'test_resnet', 32, bs=8, weights='none', cbs=AVERAGES[average]())
    learn.unfreeze()
    losses = fit(learn, 2, Checkpoints(tmp_path/'checkpoint'))
    for number,loss in zip((1, 2), losses):
        learn.model.load_state_dict(read_state(tmp_path/f'checkpoint/{number:06}')['network'])
        assert valid_loss(learn)==pytest.approx(loss, abs=1e-6)
