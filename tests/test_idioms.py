"What users of fastai write does what the page docs/reference/fastai.md says"
import contextlib
import io
import math
import pickle
import warnings
from functools import partial
from pathlib import Path

import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.training.learner import FashionLearner, fashion_learner
from fastai.callback.core import Callback
from helpers import idioms

EVERY = [idiom for group in idioms.IDIOMS.values() for idiom in group]

class SaliencyOfValidation(Callback):
    "Sum the gradients of the first validation batch with respect to its pixels"
    def after_pred(self):
        if self.training: return
        with torch.enable_grad():
            images = self.xb[0].clone().requires_grad_()
            (self.model(images)[0]*self.pred[0]).sum().backward()
        self.learn.saliency = float(images.grad.abs().sum())

class Network(torch.nn.Module):
    "The smallest network of several targets"
    def __init__(self, schema):
        super().__init__()
        self.heads = torch.nn.ModuleList([torch.nn.Linear(3, target.n_out) for target in schema])
    def forward(self, images): return tuple(head(images.mean((2, 3))) for head in self.heads)

def both_right(logits, category, attributes):
    "Return the share of rows in which everything is right"
    right = ((logits[1]>0)==attributes.bool()).all(1) & (logits[0].argmax(1)==category)
    return right.float().mean()

@pytest.fixture(scope='module')
def data(sample):
    "The first rows of the sample, with missing labels; the same for one target; loaders of both"
    frame = pd.read_csv(sample, keep_default_na=False)
    frame = pd.concat([rows.head(n) for n, (_, rows) in zip((24, 10), frame.groupby('split', sort=False))])
    known = frame.reset_index(drop=True)
    frame.loc[frame.index[::6], 'category'] = ''
    frame.to_csv(sample.parent/'idioms.csv', index=False)
    catalogue = read_catalogue(sample.parent/'idioms.csv')
    single = read_catalogue(sample.parent/'idioms.csv', one_of=['category'])
    return dict(catalogue=catalogue, folder=f'{sample.parent}/', frame=known.assign(is_valid=known.split=='valid'),
        dls=catalogue.dataloaders(32, 8), single=single.dataloaders(32, 8))

@pytest.fixture
def names(data, tmp_path, monkeypatch):
    "The variables of a notebook: what the two imports give, the data, and a small learner that has not been trained"
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec('from fastai.vision.all import *\nfrom fastai.callback.all import *\nfrom fashion_fastai.all import *', scope)
    small = partial(fashion_learner, arch='fashion_cnn3', weights='none', path=Path())
    block = scope['DataBlock']((scope['ImageBlock'], scope['CategoryBlock']), item_tfms=scope['Resize'](32),
        get_x=scope['ColReader']('file', pref=data['folder']), get_y=scope['ColReader']('category'))
    torch.manual_seed(0)
    learn = small(data['dls'])
    def probs_of(learn): return list(learn.predict(data['catalogue'].paths[0])['category'].all_probs.values())
    yield scope | data | dict(fashion_learner=small, FashionLearner=FashionLearner, learn=learn, block=block,
        network=Network(data['catalogue'].schema), weights=np.ones(len(data['frame'])), both_right=both_right,
        SaliencyOfValidation=SaliencyOfValidation, n_valid=len(data['dls'].valid_ds), probs_of=probs_of,
        sklearn=sklearn, warnings=warnings, math=math, pickle=pickle)
    plt.close('all')

AFTER_A_FIT = 'learn.one_batch', 'learn.recorder.plot'

@pytest.mark.parametrize('idiom', EVERY, ids=[idiom.code[:60] for idiom in EVERY])
@pytest.mark.filterwarnings('ignore')
def test_idiom(idiom, names):
    if idiom.code.startswith(AFTER_A_FIT): names['learn'].fit_one_cycle(3, 1e-3)
    names['printed'] = (log := io.StringIO()).getvalue
    with contextlib.redirect_stderr(log), contextlib.redirect_stdout(log): idioms.run(idiom, names)

def test_the_page_has_this_table():
    page = idioms.PAGE.read_text(encoding='utf-8')
    assert idioms.with_table(page)==page, 'run: python tests/helpers/idioms.py'
    assert sum(idioms.counts().values())==len(EVERY)>=60
