"Every name that a user gives is checked where it is given, and the message offers the near name"
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from fastai.data.all import CategoryBlock, DataBlock, TransformBlock
from fashion_fastai.audit.audit import audit
from fashion_fastai.audit.labeling_queue import active_learning_queue
from fashion_fastai.config import AugmentBounds, AugmentConfig, make_config, setting
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.augment import bounded
from fashion_fastai.data.catalogue import Catalogue, make_catalogue, read_catalogue
from fashion_fastai.data.images import ImageReader
from fashion_fastai.data.sampling import class_weights, effective_counts
from fashion_fastai.evaluation.bootstrap import bootstrap
from fashion_fastai.evaluation.consistency import all_pair_counts, consistency_effect, unlikely_predictions
from fashion_fastai.evaluation.interpretation import FashionInterpretation, confident_mistakes
from fashion_fastai.evaluation.predictions import Predictions
from fashion_fastai.evaluation.slices import plot_slices, print_slices, slice_scores
from fashion_fastai.metrics import compute_metrics, score_names
from fashion_fastai.models.heads import create_neck
from fashion_fastai.models.inference import InferenceNetwork
from fashion_fastai.models.losses import FashionLoss, probabilities
from fashion_fastai.models.network import create_network
from fashion_fastai.schema import Schema
from fashion_fastai.serving.submissions import submission_lines
from fashion_fastai.target import any_of, one_of
from fashion_fastai.training.history import check_score
from fashion_fastai.training.learner import fashion_learner, schema_of
from fashion_fastai.training.stages import plan_stages
from fashion_fastai.tuning.objective import choose_objective
from fashion_fastai.tuning.search_space import parameters

CATEGORY,ATTRIBUTES = one_of('category', ['dress', 'shirt']),any_of('attributes', ['belted', 'striped', 'floral'])
SCHEMA = Schema(targets=[CATEGORY, ATTRIBUTES])
FRAME = pd.DataFrame(dict(file=list('abcdef'), category=['dress', 'shirt']*3, brand=list('xxyyzz'),
    attributes=['belted', '', 'striped', 'floral', 'belted striped', '']))

def shop():
    split = np.array(['train']*4+['valid']*2, dtype=object)
    return Catalogue(FRAME, SCHEMA, Path('.'), 'file', SCHEMA.encode(FRAME), split, FRAME.file.to_numpy(), np.arange(6)+1)

def predictions():
    rng = np.random.default_rng(0)
    probs = {target.name: rng.random((6, target.n_out), dtype=np.float32) for target in SCHEMA}
    return Predictions(SCHEMA, FRAME.file.tolist(), probs, SCHEMA.encode(FRAME))

def pair(): return all_pair_counts(SCHEMA, SCHEMA.encode(FRAME))[0]

def network(**kwargs): return create_network(SCHEMA, 'test_resnet', 32, 'none', **kwargs)

def learner(sample, **kwargs):
    return fashion_learner(read_catalogue(sample), 'test_resnet', size=32, weights='none', **kwargs)

def blocks(): # loaders of two targets, without a catalogue
    block = DataBlock([TransformBlock, CategoryBlock, CategoryBlock], n_inp=1, get_x=lambda i: torch.zeros(1),
        get_y=[lambda i: 'ab'[i%2], lambda i: 'cd'[i%2]])
    return block.dataloaders(range(8), bs=2)

WRONG_THRESHOLDS = dict(atributes=0.3)
FEATURES = np.ones((6, 4), dtype=np.float32)

NAMES = { # what is misspelt: the call, and what the message must offer
    'loss weights': (lambda: FashionLoss(SCHEMA, weights=dict(categry=1)), 'category'),
    'loss per_target': (lambda: FashionLoss(SCHEMA, per_target=dict(any=dict(gamma=1))), 'any_of'),
    'loss per_target key': (lambda: FashionLoss(SCHEMA, per_target=dict(any_of=dict(gama=1))), 'gamma'),
    'loss label_weights': (lambda: FashionLoss(SCHEMA, label_weights=dict(categry=[1,1])), 'category'),
    'loss label_weights length': (lambda: FashionLoss(SCHEMA, label_weights=dict(category=[1,1,1])), '2 numbers'),
    'loss label_weights sign': (lambda: FashionLoss(SCHEMA, label_weights=dict(category=[1,-1])), 'negative'),
    'loss counts': (lambda: FashionLoss(SCHEMA, counts=dict(atributes=[1,1,1])), 'attributes'),
    'loss counts length': (lambda: FashionLoss(SCHEMA, counts=dict(attributes=[1,1])), '3 numbers'),
    'loss one_of': (lambda: FashionLoss(SCHEMA, one_of='sofmax'), 'softmax'),
    'loss reduction': (lambda: FashionLoss(SCHEMA, reduction='meen'), 'mean'),
    'loss binary_mean': (lambda: FashionLoss(SCHEMA, binary_mean='output'), 'outputs'),
    'probabilities': (lambda: probabilities(CATEGORY, torch.zeros(1, 2), 'sofmax'), 'softmax'),
    'heads': (lambda: network(heads=dict(categry=dict(kind='mlp'))), 'category'),
    'heads kind': (lambda: network(heads=dict(category=dict(kind='mpl'))), 'mlp'),
    'heads setting': (lambda: network(heads=dict(category=dict(kind='mlp', size=[2]))), 'sizes'),
    'heads given': (lambda: network(heads=dict(attributes=dict(given='categry'))), 'categry'),
    'neck': (lambda: create_neck(8, kind='mpl'), 'mlp'),
    'arch': (lambda: create_network(SCHEMA, 'test_resnett', 32, 'none'), 'test_resnet'),
    'score of the history': (lambda: check_score(SCHEMA, 'category/acuracy'), 'category/accuracy'),
    'target of the history': (lambda: check_score(SCHEMA, 'categry/accuracy'), 'category/accuracy'),
    'score of the other kind': (lambda: check_score(SCHEMA, 'category/samples_f1'), 'category/'),
    'objective': (lambda: choose_objective('category/acuracy', make_config(), [], SCHEMA), 'category/accuracy'),
    'search space': (lambda: parameters(['rte'], make_config()), 'rate'),
    'augment_bounds': (lambda: bounded(AugmentConfig(), SCHEMA, dict(categry=AugmentBounds())), 'category'),
    'metric thresholds': (lambda: compute_metrics(SCHEMA, predictions().probs, {}, WRONG_THRESHOLDS), 'attributes'),
    'metric thresholds of one_of': (lambda: compute_metrics(SCHEMA, {}, {}, dict(category=0.3)), 'one_of'),
    'metric thresholds length': (lambda: compute_metrics(SCHEMA, {}, {}, dict(attributes=[.1,.2])), '3'),
    'metric truth': (lambda: compute_metrics(SCHEMA, predictions().probs, dict(categry=[])), 'category'),
    'results thresholds': (lambda: predictions().results(WRONG_THRESHOLDS), 'attributes'),
    'scores thresholds': (lambda: predictions().metrics('valid', WRONG_THRESHOLDS), 'attributes'),
    'bootstrap thresholds': (lambda: bootstrap(predictions(), n=2, thresholds=WRONG_THRESHOLDS), 'attributes'),
    'slices thresholds': (lambda: slice_scores(predictions(), FRAME.brand, n=2, thresholds=WRONG_THRESHOLDS), 'attributes'),
    'slices score': (lambda: print_slices(slice_scores(predictions(), FRAME.brand, 1, n=2), 'acuracy'), 'accuracy'),
    'slices target': (lambda: plot_slices(slice_scores(predictions(), FRAME.brand, 1, n=2), 'categry'), 'category'),
    'consistency': (lambda: unlikely_predictions(predictions(), pair(), WRONG_THRESHOLDS), 'attributes'),
    'consistency effect': (lambda: consistency_effect(predictions(), pair(), 1, WRONG_THRESHOLDS), 'attributes'),
    'consistency pairs': (lambda: all_pair_counts(SCHEMA, {}, [('categry', 'attributes')]), 'category'),
    'interpretation': (lambda: FashionInterpretation(None, predictions(), {}, WRONG_THRESHOLDS), 'attributes'),
    'top losses': (lambda: FashionInterpretation(None, predictions(), {}).top_losses(3, target='categry'), 'category'),
    'mistakes': (lambda: confident_mistakes(predictions(), 'categry', 3), 'category'),
    'submission': (lambda: submission_lines('categry-csv', predictions()), 'category-csv'),
    'submission target': (lambda: submission_lines('category-csv', predictions(), target='categry'), 'category'),
    'submission thresholds': (lambda: submission_lines('attribute-csv', predictions(), WRONG_THRESHOLDS), 'attributes'),
    'temperatures': (lambda: InferenceNetwork(network(), SCHEMA, temperatures=dict(categry=2)), 'category'),
    'targets of an audit': (lambda: audit(shop(), None, only=['categry']), 'category'),
    'ignored targets of an audit': (lambda: audit(shop(), None, ignore=['categry']), 'category'),
    'counts of a queue': (lambda: active_learning_queue(SCHEMA, FEATURES, predictions().probs, dict(categry=[]), 2), 'category'),
    'split': (lambda: shop().where('vald'), 'valid'),
    'class weights': (lambda: class_weights(np.ones(2), 'balnced'), 'balanced'),
    'sampler': (lambda: effective_counts(shop(), 'balnced'), 'balanced'),
    'fit': (lambda: ImageReader(fit='pda'), 'pad'),
    'crop': (lambda: ImageReader(crop='boxx'), 'box'),
    'cache': (lambda: shop().decode(ImageReader(16), cache='rm'), 'ram'),
    'on_bad': (lambda: make_catalogue(FRAME, 'shop.csv', '.', on_bad='skp'), 'skip'),
    'one_of column': (lambda: make_catalogue(FRAME, 'shop.csv', '.', one_of=['categry']), 'category'),
    'any_of column': (lambda: make_catalogue(FRAME, 'shop.csv', '.', any_of=['atributes']), 'attributes'),
    'file column': (lambda: make_catalogue(FRAME, 'shop.csv', '.', file_col='fiel'), 'file'),
    'split column': (lambda: make_catalogue(FRAME, 'shop.csv', '.', split_col='brnd'), 'brand'),
    'group column': (lambda: make_catalogue(FRAME, 'shop.csv', '.', group_col='brnd'), 'brand'),
    'taxonomy column': (lambda: make_catalogue(FRAME, 'shop.csv', '.', taxonomy=['brand', 'categry'], on_bad='keep'), 'categ'),
    'taxonomy': (lambda: make_catalogue(FRAME, 'shop.csv', '.', taxonomy='atuo', on_bad='keep'), 'auto'),
    'empty': (lambda: make_catalogue(FRAME, 'shop.csv', '.', empty='non'), 'none'),
    'unfreeze': (lambda: plan_stages(2, 1e-2, 3, 'gradul'), 'gradual'),
    'names for blocks': (lambda: schema_of(blocks(), ['a', 'b', 'c']), '3 names'),
    'recipe': (lambda: make_config('twohead'), 'two-head'),
    'setting': (lambda: make_config('two-head', setting('loss.wieghts={}')), 'weights'),
    'setting of a tracker': (lambda: make_config('two-head', setting('training.log=[tensorbord]')), 'tensorboard')}

@pytest.mark.parametrize('given', NAMES)
def test_a_misspelt_name_is_refused(given):
    call,offered = NAMES[given]
    with pytest.raises(UsageError, match=offered): call()

OF_LEARNER = dict(metrics=(['category/acuracy'], 'category/accuracy'), heads=(dict(categry={}), 'category'),
    loss=(dict(wieghts={}), 'weights'), names=(['a', 'b', 'c'], 'category, attributes'))

@pytest.mark.parametrize('argument', OF_LEARNER)
def test_a_misspelt_name_given_to_a_learner_is_refused(sample, argument):
    value,offered = OF_LEARNER[argument]
    with pytest.raises(UsageError, match=offered): learner(sample, **{argument: value})

def test_the_names_of_scores_are_those_of_the_history(sample):
    learn = learner(sample, metrics=['category/top_3_accuracy', 'attributes/loss', 'loss', 'overall_accuracy'])
    with learn.no_logging(): learn.fit(1, 1e-3)
    found = set(learn.history.rows[-1])
    assert {f'valid/{name}' for name in score_names(learn.schema)}<=found
    shown = [metric.value for metric in learn.metrics]
    assert all(value==value for value in shown)
