"Frozen groups get no gradient and keep their statistics, unfrozen ones get one: for architectures of every family"
import pytest, torch
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.training.learner import fashion_learner

ARCHS = ['convnext_atto', 'swin_tiny', 'vit_tiny_patch16_224', 'resnet18', 'mobilenetv3_small_100']

def groups_with_gradient(learn, batch):
    "Return which parameter groups get a gradient from one batch"
    learn.opt.zero_grad()
    x,*truth = batch
    learn.loss_func(learn.model.train()(x), *truth).backward()
    groups = learn.splitter(learn.model)
    return [any(p.grad is not None and bool(p.grad.abs().sum()>0) for p in group) for group in groups]

@pytest.mark.parametrize('arch', ARCHS)
def test_gradients_follow_freezing(sample, arch):
    learn = fashion_learner(read_catalogue(sample).dataloaders(size=64, bs=4), arch, weights='none')
    batch,n_groups = learn.dls.one_batch(),len(learn.opt.param_lists)
    for n_unfrozen in range(1, n_groups+1):
        learn.freeze_to(n_groups-n_unfrozen)
        assert groups_with_gradient(learn, batch)==[False]*(n_groups-n_unfrozen)+[True]*n_unfrozen

def test_frozen_batchnorm_keeps_its_statistics(sample):
    learn = fashion_learner(read_catalogue(sample).dataloaders(size=32, bs=16), 'resnet10t', weights='none')
    before = {name: tensor.clone() for name,tensor in learn.model.body.state_dict().items()}
    learn.fit_one_cycle(1, 1e-2)
    for name,tensor in learn.model.body.state_dict().items(): assert torch.equal(tensor, before[name]), name
    learn.unfreeze()
    learn.fit_one_cycle(1, 1e-3)
    assert not torch.equal(learn.model.body.bn1.running_mean, before['bn1.running_mean'])
