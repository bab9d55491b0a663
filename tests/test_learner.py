"Everything that a fastai user does with a learner works for any combination of targets, with missing labels"
import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt, numpy as np, pandas as pd, pytest, torch
from fastai.data.all import CategoryBlock, ColReader, ColSplitter, DataBlock, MultiCategoryBlock
from fastai.vision.data import ImageBlock
from fastai.vision.augment import Resize
from fastai.callback.core import Callback
from fashion_fastai.config import Stage
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.metrics import score_names
from fashion_fastai.training.learner import fashion_learner
from fashion_fastai.training.stages import plan_stages

TARGETS = dict(category_only=(['category'], []), attributes_only=([], ['attributes']),
    both=(['category'], ['attributes']), many=(['category', 'department', 'size'], ['attributes', 'colors']))

@pytest.fixture(scope='module')
def table(sample):
    "The sample with more targets, and with missing labels in all of them"
    rng,frame = np.random.default_rng(0),pd.read_csv(sample, keep_default_na=False)
    frame['size'] = rng.choice(['s','m','l',''], len(frame))
    frame['department'] = rng.choice(['men','women'], len(frame))
    frame['colors'] = rng.choice(['red','red blue','','?','?red blue'], len(frame))
    frame.loc[::5, 'category'] = ''
    frame.to_csv(sample.parent/'mixed.csv', index=False)
    return sample.parent/'mixed.csv'

@pytest.mark.parametrize('targets', TARGETS)
def test_methods_of_a_learner(table, targets):
    one_of,any_of = TARGETS[targets]
    catalogue = read_catalogue(table, one_of=one_of, any_of=any_of)
    learn = fashion_learner(catalogue, 'resnet10t', size=32, bs=16, weights='none')
    n,names = len(learn.dls.valid_ds),one_of+any_of
    learn.lr_find(num_it=12, show_plot=False)
    learn.fine_tune(1)
    learn.freeze_to(-2)
    learn.fit_one_cycle(1, 1e-3)
    learn.fit_progressive([Stage(unfrozen=0, epochs=1, lr=1e-3), Stage(unfrozen=3, epochs=1, lr=1e-3, lr_body=1e-4)])
    assert [row['unfrozen'] for row in learn.history.rows]==[0, 3, 1, 0, 3]
    assert all(np.isfinite(row['valid/loss']) for row in learn.history.rows)
    probs,truth,codes,losses = learn.get_preds(with_decoded=True, with_loss=True)
    assert [p.shape for p in probs]==[(n, learn.schema[name].n_out) for name in names] and losses.shape==(n,)
    for target,p,decoded in zip(learn.schema, probs, codes):
        assert np.array_equal(target.decide(p.numpy()), decoded.numpy())
    averaged,_ = learn.tta(n=1)
    assert [p.shape for p in averaged]==[p.shape for p in probs]
    results = learn.predict(catalogue.paths[0])
    assert list(results)==names and all(0<=p<=1 for result in results.values() for p in result.all_probs.values())
    learn.show_results(max_n=2)
    learn.dls.show_batch(max_n=2)
    plt.close('all')

def test_history_has_means_over_the_targets_with_one_label(table):
    catalogue = read_catalogue(table, one_of=['category', 'department', 'size'], any_of=['attributes'])
    learn = fashion_learner(catalogue, 'resnet10t', size=32, bs=16, weights='none')
    learn.fit_one_cycle(1, 1e-3)
    (row,) = learn.history.rows
    names = [f'{split}/{name}' for split in ('train', 'valid') for name in score_names(learn.schema)]
    assert set(names) <= set(row)
    for split in ('train', 'valid'):
        for score in ('accuracy', 'mean_class_accuracy', 'macro_f1', 'macro_precision'):
            parts = [row[f'{split}/{target}/{score}'] for target in ('category', 'department', 'size')]
            assert np.isclose(row[f'{split}/overall_{score}'], np.mean(parts))

def test_predict_agrees_with_get_preds(table):
    catalogue = read_catalogue(table, one_of=['category'], any_of=['attributes'])
    learn = fashion_learner(catalogue, 'resnet10t', size=32, bs=16, weights='none')
    probs,_ = learn.get_preds()
    first = learn.predict(catalogue.paths[catalogue.where('valid')[0]])
    for target,p in zip(learn.schema, probs):
        assert np.allclose(list(first[target.name].all_probs.values()), p[0], atol=1e-5)

def test_unknown_labels_leave_no_gradient(table):
    "Rows whose labels are all unknown change nothing in a head"
    catalogue = read_catalogue(table, one_of=['category'], any_of=['attributes'])
    learn = fashion_learner(catalogue, 'resnet10t', size=32, bs=8, weights='none')
    x,category,attributes = learn.dls.one_batch()
    learn.opt.zero_grad()
    learn.loss_func(learn.model(x), torch.full_like(category, -1), torch.full_like(attributes, -1)).backward()
    assert all(p.grad is None or p.grad.abs().sum()==0 for p in learn.model.heads.parameters())

def test_loaders_of_a_plain_datablock(sample):
    "A fastai user may bring loaders of another `DataBlock`; `names` names their targets"
    frame = pd.read_csv(sample, keep_default_na=False)
    frame['valid'] = frame.split=='valid'
    getters = [ColReader('file', pref=f'{sample.parent}/'), ColReader('category'),
        ColReader('attributes', label_delim=' ')]
    block = DataBlock((ImageBlock, CategoryBlock, MultiCategoryBlock), n_inp=1, splitter=ColSplitter('valid'),
        item_tfms=Resize(32), getters=getters)
    learn = fashion_learner(block.dataloaders(frame, bs=16), 'resnet10t', weights='none', names=['what', 'like'])
    learn.fit_one_cycle(1, 1e-3)
    assert learn.schema.names==['what', 'like'] and 'valid/what/accuracy' in learn.history.rows[0]
    assert set(learn.predict(f'{sample.parent}/{frame.file[0]}'))=={'what', 'like'}

class Soften(Callback):
    "Soften the labels of an `any_of` target, as fastai's `MixUp` does"
    def before_batch(self): self.learn.yb = tuple(torch.where(truth>=0, truth*0.6+0.2, truth) for truth in self.yb)

def test_softened_labels_are_scored_as_labels(table):
    "A label of at least a half is present; unknown ones stay unknown"
    catalogue = read_catalogue(table, one_of=[], any_of=['attributes'])
    scores = []
    for cbs in ([], [Soften()]):
        learn = fashion_learner(catalogue, 'fashion_cnn3', size=32, bs=16, weights='none', cbs=cbs)
        learn.dls.train.draws = 1,1 # the same images in both
        learn.fit(1, 0.)
        row = learn.history.rows[0]
        scores.append([row[f'{split}/attributes/{name}'] for split in ('train', 'valid') for name in ('recall', 'auroc')])
    assert scores[0]==scores[1] and scores[0][0]>0.1

@pytest.mark.parametrize('unfreeze', ('heads_first', 'gradual', 'none', 'heads_only'))
def test_stages_have_the_requested_epochs(unfreeze):
    for epochs in range(1, 12):
        stages = plan_stages(epochs, 1e-3, 4, unfreeze)
        assert sum(stage.epochs for stage in stages)==epochs
        assert [stage.unfrozen for stage in stages]==sorted({stage.unfrozen for stage in stages})
