"Frozen groups get no gradient and keep their statistics, unfrozen ones get one: for architectures of every family"
import pytest, torch
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.training.learner import fashion_learner

ARCHS = ['convnext_atto', 'swin_tiny', 'vit_tiny_patch16_224', 'resnet18', 'mobilenetv3_small_100']

def with_gradient(learn, batch):
    "Which groups get a gradient from one batch"
    learn.opt.zero_grad()
    x,*ys = batch
    learn.loss_func(learn.model.train()(x), *ys).backward()
    return [any(p.grad is not None and bool(p.grad.abs().sum()>0) for p in group) for group in learn.splitter(learn.model)]

@pytest.mark.parametrize('arch', ARCHS)
def test_gradients_follow_freezing(sample, arch):
    learn = fashion_learner(read_catalogue(sample).dataloaders(size=64, bs=4), arch, weights='none')
    batch,n = learn.dls.one_batch(),len(learn.opt.param_lists)
    for unfrozen in range(n):
        learn.freeze_to(n-1-unfrozen)
        assert with_gradient(learn, batch)==[False]*(n-1-unfrozen)+[True]*(1+unfrozen)

def test_frozen_batchnorm_keeps_its_statistics(sample):
    learn = fashion_learner(read_catalogue(sample).dataloaders(size=32, bs=16), 'resnet10t', weights='none')
    before = {k: v.clone() for k,v in learn.model.body.state_dict().items()}
    learn.fit_one_cycle(1, 1e-2)
    for name,value in learn.model.body.state_dict().items(): assert torch.equal(value, before[name]), name
    learn.unfreeze()
    learn.fit_one_cycle(1, 1e-3)
    assert not torch.equal(learn.model.body.bn1.running_mean, before['bn1.running_mean'])
