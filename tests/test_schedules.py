"The learning rate follows PyTorch's own schedulers, whatever happens to a batch"
from functools import partial
from types import SimpleNamespace
import numpy as np, pytest, torch
from fastai.callback.core import Callback, CancelBatchException, CancelStepException
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, ReduceLROnPlateau
from fashion_fastai.config import SCHEDULES, Stage, make_config, setting
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.models.losses import FashionLoss
from fashion_fastai.training.callbacks import ProgressiveResizing
from fashion_fastai.training.learner import fashion_learner
from fashion_fastai.training.stages import Plateau

@pytest.fixture
def learn(sample):
    catalogue = read_catalogue(sample)
    catalogue = catalogue.take(np.r_[catalogue.where('train')[:32], catalogue.where('valid')[:8]])
    return fashion_learner(catalogue, 'test_resnet', 64, bs=8, weights='none')

class SkipSteps(Callback):
    "Skip every third step, as fastai's `MixedPrecision` does where a float16 gradient overflows, or leave the batch"
    n = 0
    def __init__(self, order, error): self.order,self.error = order,error
    def before_step(self):
        self.n += 1
        if self.n%3==0: raise self.error

@pytest.mark.parametrize('order', [10, 70])
@pytest.mark.parametrize('error', [CancelStepException, CancelBatchException])
def test_skipped_steps_leave_the_rate(learn, order, error, monkeypatch):
    "Before and after the rate was scaled for larger batches of small images"
    rates,step = [],learn.opt.step
    def record():
        rates.append((learn.dls.train.bs, learn.opt.hypers[-1]['lr']))
        step()
    monkeypatch.setattr(learn.opt, 'step', record)
    with learn.no_logging(): learn.fit(4, 1e-3, cbs=[ProgressiveResizing(32, True), SkipSteps(order, error)])
    assert len(rates)>=6
    for bs,rate in rates: assert rate==pytest.approx(1e-3*(bs/8)**0.5, rel=1e-12)
    assert {bs for bs,_ in rates}=={8, 14, 32}
    assert [hyper['lr'] for hyper in learn.opt.hypers]==[1e-3]*4
    assert learn.recorder.lrs==[1e-3]*len(learn.recorder.lrs)

# schedules

def torch_optimizer(lr): return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)

def torch_rates(optimizer, scheduler, n):
    "Return the rates of `n` steps of a scheduler"
    rates = []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return rates

EPOCHS,BATCHES = 5,4
TORCH = { # schedule and what moves it -> scheduler of an optimiser, steps
    ('cosine', 'epoch'): (partial(CosineAnnealingLR, T_max=EPOCHS), EPOCHS),
    ('cosine', 'batch'): (partial(CosineAnnealingLR, T_max=EPOCHS*BATCHES), EPOCHS*BATCHES),
    ('exponential', 'epoch'): (partial(ExponentialLR, gamma=0.9), EPOCHS),
    ('exponential', 'batch'): (partial(ExponentialLR, gamma=0.9**(1/BATCHES)), EPOCHS*BATCHES)}

@pytest.mark.parametrize('schedule,by', TORCH)
def test_rates_are_those_of_torch(learn, schedule, by):
    "Of the body as of the heads"
    rates = []
    class RecordRates(Callback):
        order = 70
        def before_step(self): rates.append([hyper['lr'] for hyper in self.opt.hypers])
    with learn.no_logging(), learn.added_cbs(RecordRates()):
        learn.fit_stage(Stage(unfrozen=3, epochs=EPOCHS, lr=1e-2, lr_body=1e-4), schedule, by=by, gamma=0.9)
    make,n = TORCH[schedule, by]
    for group,lr in ((0, 1e-4), (-1, 1e-2)):
        optimizer = torch_optimizer(lr)
        expected = np.repeat(torch_rates(optimizer, make(optimizer), n), EPOCHS*BATCHES//n)
        assert np.array([step[group] for step in rates])==pytest.approx(expected, rel=1e-12, abs=1e-15)

def ours(losses, lr, **kwargs):
    "Return the rate after each of `losses`"
    plateau,rates = Plateau(**kwargs),[]
    recorder = SimpleNamespace(metric_names=['epoch', 'train_loss', 'valid_loss'], values=[])
    plateau.learn = SimpleNamespace(recorder=recorder, opt=SimpleNamespace(hypers=[dict(lr=lr)]))
    plateau.before_fit()
    for loss in losses:
        recorder.values.append([0., loss])
        plateau.after_epoch()
        rates.append(plateau.opt.hypers[0]['lr'])
    return rates

def torchs(losses, lr, patience, factor):
    optimizer,rates = torch_optimizer(lr),[]
    scheduler = ReduceLROnPlateau(optimizer, patience=patience, factor=factor)
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]['lr'])
    return rates

LOSSES = 1, 0.99995, 0.9999, 0.9, 0.5, 0.1, -0.1, -1, np.nan, np.inf

def test_plateau_is_that_of_torch():
    "Over random losses, among them equal, barely smaller, negative and missing ones"
    for seed in range(200):
        rng = np.random.default_rng(seed)
        losses = rng.choice(LOSSES, 80)*rng.choice([1, 0.9999, 0.8], 80)
        if seed%2: losses = 1+0.02*rng.standard_normal(80).cumsum()
        settings = dict(patience=int(rng.integers(1, 7)), factor=float(rng.choice([0.1, 0.3, 0.5])))
        lr = 10**rng.uniform(-7, -1)
        assert ours(losses, lr, **settings)==pytest.approx(torchs(losses, lr, **settings), rel=1e-12, abs=0), seed

def test_plateau_in_a_training(learn, monkeypatch):
    "With losses that do not fall, the rate of each epoch is that of PyTorch"
    original = FashionLoss.__call__
    def constant(self, *args): return 0*original(self, *args)+1
    monkeypatch.setattr(FashionLoss, '__call__', constant)
    with learn.no_logging(): learn.fit_stage(Stage(unfrozen=0, epochs=7, lr=0.1), 'plateau', patience=2, factor=0.5)
    rates = [row['lr'] for row in learn.history.rows]
    assert rates==pytest.approx([0.1, *torchs([1.]*6, 0.1, 2, 0.5)], rel=1e-12)
    assert rates[3]==0.1 and rates[4]==0.05

@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('by', ['batch', 'epoch'])
def test_impossible_schedules_are_refused(schedule, by):
    fields = [setting(f'training.schedule={schedule}'), setting(f'training.schedule_by={by}')]
    if by in SCHEDULES[schedule]: assert make_config('two-head', *fields).training.schedule_by==by
    else:
        with pytest.raises(UsageError, match=f'{schedule} moves the rate with each .*, not with each {by}'):
            make_config('two-head', *fields)
