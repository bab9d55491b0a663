"Published protocols: every figure equals a slow reference that is written from the published definition"
import json
import numpy as np, pandas as pd, pytest
from sklearn import metrics as sk
from fashion_fastai.core.errors import UsageError
from fashion_fastai.evaluation.predictions import Predictions
from fashion_fastai.evaluation.protocols import PROTOCOLS, find_protocol, protocol_scores
from fashion_fastai.metrics import samples_f1
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of

TYPES = ['texture', 'fabric', 'shape', 'part', 'style']

def table(name, predictions, thresholds=None): return PROTOCOLS[name].table(predictions, thresholds)

def exactly(frame, expected):
    assert list(frame.index)==list(expected.index) and list(frame.columns)==list(expected.columns)
    np.testing.assert_allclose(frame.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-12)

# DeepFashion

def deepfashion(seed, n=60, n_categories=50, n_attributes=200, unknown=0.2):
    "Draw predictions without ties; a few attributes are true, `unknown` of all cells are unknown"
    rng = np.random.default_rng(seed)
    names = [f'a{i}' for i in range(n_attributes)]
    groups = {name: TYPES[i] for name,i in zip(names, np.sort(rng.integers(0, 5, n_attributes)))}
    schema = Schema(targets=[one_of('category', map(str, range(n_categories))), any_of('attributes', names, label_groups=groups)])
    truth = (rng.random((n, n_attributes))<0.03).astype(np.int8)
    probs = np.clip(rng.random((n, n_attributes))+0.4*truth, 0, 2)/2
    truth[rng.random((n, n_attributes))<unknown] = -1
    probs = dict(category=rng.dirichlet(np.ones(n_categories), n), attributes=probs)
    return Predictions(schema, [f'{i}.jpg' for i in range(n)], probs, dict(category=rng.integers(-1, n_categories, n), attributes=truth))

def reference(predictions, masked):
    "One image at a time: sort its attributes by probability, count the true ones among the first k, divide by all true ones"
    category, attributes = predictions.schema
    types, hits, true = pd.Series(attributes.label_groups), pd.DataFrame(0., index=[*TYPES, 'all'], columns=['top_3', 'top_5']), pd.Series(0., index=[*TYPES, 'all'])
    for p,t in zip(predictions.probs['attributes'], predictions.truth['attributes']):
        image = pd.DataFrame(dict(target=t, prob=p, type=types.reindex(attributes.vocab).to_numpy()))
        if masked: image = image[image.target>=0]
        else: image.loc[image.target<0, 'target'] = 0
        ranked = image.sort_values('prob', ascending=False)
        for name in hits.index:
            of_type = ranked if name=='all' else ranked[ranked.type==name]
            true[name] += of_type.target.sum()
            for k in (3, 5): hits.loc[name, f'top_{k}'] += of_type.head(k).target.sum()
    known = [(p, t) for p,t in zip(predictions.probs['category'], predictions.truth['category']) if t>=0]
    accuracy = {f'top_{k}': sum(t in sorted(range(len(p)), key=lambda i: -p[i])[:k] for p,t in known)/len(known) for k in (3, 5)}
    return pd.concat([pd.DataFrame(accuracy, index=['category']), hits.div(true, axis=0)])

@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('masked', [False, True])
def test_deepfashion_equals_the_published_definition(seed, masked):
    predictions = deepfashion(seed)
    exactly(table('deepfashion-masked' if masked else 'deepfashion-published', predictions), reference(predictions, masked))

def test_unknown_attributes_make_the_difference():
    published, masked = [table(f'deepfashion-{name}', deepfashion(0)) for name in ('published', 'masked')]
    assert (masked>=published).all(axis=None) and masked.loc['all', 'top_5']>published.loc['all', 'top_5']
    complete = deepfashion(0, unknown=0)
    exactly(*[table(f'deepfashion-{name}', complete) for name in ('published', 'masked')])

def test_small_vocabularies_and_empty_types():
    "A type with fewer labels than k is found completely; one without a true label is undefined"
    predictions = deepfashion(1, n=8, n_categories=4, n_attributes=8, unknown=0)
    predictions.truth['attributes'][:] = 0
    predictions.truth['attributes'][:,0] = 1
    groups = predictions.schema['attributes'].group_positions()
    found = table('deepfashion-published', predictions)
    assert found.loc['category', 'top_5']==1
    for name,labels in groups.items():
        if 0 not in labels: assert np.isnan(found.loc[name]).all()
        elif len(labels)<=3: assert (found.loc[name]==1).all()
    scores = protocol_scores(predictions)
    assert json.loads(json.dumps(scores, allow_nan=False))==scores

# The six-attribute challenge

@pytest.fixture
def six():
    rng = np.random.default_rng(5)
    sizes = dict(texture=7, sleeve=3, length=3, neckline=4, fabric=6, fit=3)
    schema = Schema(targets=[one_of(name, [f'{name}{i}' for i in range(n)]) for name,n in sizes.items()])
    probs = {name: rng.dirichlet(np.ones(n), 400) for name,n in sizes.items()}
    truth = {name: rng.choice(n, 400, p=rng.dirichlet(np.ones(n))) for name,n in sizes.items()}
    truth['fit'][:30] = -1
    return Predictions(schema, [f'{i}.jpg' for i in range(400)], probs, truth)

def test_six_attributes_by_both_rules(six):
    questions, classes = {}, {}
    for target in six.schema:
        answers = [(int(p.argmax()), t) for p,t in zip(six.probs[target.name], six.truth[target.name]) if t>=0]
        questions[target.name] = sum(p==t for p,t in answers)/len(answers)
        for c,label in enumerate(target.vocab):
            own = [p==c for p,t in answers if t==c]
            classes[f'{target.name}/{label}'] = sum(own)/len(own) if own else np.nan
    assert len(classes)==26
    exactly(table('six-2023', six), pd.DataFrame(dict(accuracy=questions|dict(mean=np.mean(list(questions.values()))))))
    exactly(table('six-2024', six), pd.DataFrame(dict(accuracy=classes|dict(mean=np.nanmean(list(classes.values()))))))
    assert table('six-2023', six).accuracy['mean']==pytest.approx(six.metrics('valid')['overall_accuracy'], abs=1e-12)

# Samples F1

@pytest.mark.parametrize('zero_division', [0, 1, np.nan])
def test_samples_f1_equals_scikit_learn(zero_division):
    rng = np.random.default_rng(1)
    truth, predicted = (rng.random((2, 300, 4))<0.15).astype(np.int8)
    assert (~(truth | predicted).any(1)).sum()>50 # undefined
    expected = sk.f1_score(truth, predicted, average='samples', zero_division=zero_division)
    assert samples_f1(truth, predicted, zero_division)==pytest.approx(expected, abs=1e-12)

def test_samples_f1_of_metrics_leaves_out_what_is_undefined():
    predictions = deepfashion(2)
    found = table('samples-f1', predictions, dict(attributes=0.6))
    scores = predictions.metrics('valid', dict(attributes=0.6))['targets']['attributes']
    assert found.loc['attributes', 'zero_division=nan']==pytest.approx(scores['samples_f1'], abs=1e-12)
    assert found.loc['attributes'].is_monotonic_decreasing or found.loc['attributes', 'zero_division=0']<=scores['samples_f1']

# Meesho

@pytest.mark.parametrize('seed', range(3))
def test_meesho_equals_scikit_learn(seed):
    "As the participants computed it: micro and macro F1 of each attribute, its harmonic mean, means over attributes and categories"
    rng = np.random.default_rng(seed)
    sizes = {'Men Tshirts': [4, 2], 'Sarees': [5, 3, 3, 6], 'Kurtis': [2]}
    names = {category: [f'{category} {i}' for i in range(len(n))] for category,n in sizes.items()}
    targets = [one_of('Category', list(sizes)), *(one_of(name, [f'{name}={j}' for j in range(n)]) for c in sizes for name,n in zip(names[c], sizes[c]))]
    category = rng.integers(0, 3, 120)
    truth, probs = dict(Category=category), {t.name: rng.dirichlet(np.ones(t.n_out), 120) for t in targets}
    for c,label in enumerate(sizes):
        for name,n in zip(names[label], sizes[label]):
            codes = rng.choice(n-1, 120) if n>2 else rng.choice(n, 120) # the last answer may never be true, but is predicted
            truth[name] = np.where((category==c) & (rng.random(120)<0.6), codes, -1)
    predictions = Predictions(Schema(targets=targets, applies={name: {'Category': [c]} for c in names for name in names[c]}), [f'{i}.jpg' for i in range(120)], probs, truth)
    frame = pd.DataFrame(index=sizes, columns=['f1', 'micro_f1', 'macro_f1'], dtype=float)
    for label in sizes:
        scores = []
        for name in names[label]:
            known = truth[name]>=0
            t, p = truth[name][known], probs[name][known].argmax(1)
            micro, macro = [sk.f1_score(t, p, average=average) for average in ('micro', 'macro')]
            scores.append((2*micro*macro/(micro+macro) if micro+macro else 0, micro, macro))
        frame.loc[label] = np.mean(scores, axis=0)
    frame.loc['mean'] = frame.mean()
    exactly(table('meesho', predictions), frame)
    assert (frame.macro_f1<frame.micro_f1).any()

def test_meesho_leaves_out_what_nobody_answered():
    schema = Schema(targets=[one_of('Category', ['a', 'b']), one_of('x', ['0', '1']), one_of('y', ['0', '1']), one_of('z', ['0', '1'])],
        applies=dict(x={'Category': ['a']}, y={'Category': ['a']}, z={'Category': ['b']}))
    truth = dict(Category=np.array([0, 0]), x=np.array([0, 1]), y=np.array([-1, -1]), z=np.array([-1, -1]))
    right = Predictions(schema, ['1.jpg', '2.jpg'], {name: np.eye(2)[np.maximum(codes, 0)] for name,codes in truth.items()}, truth)
    found = table('meesho', right)
    assert found.f1.tolist()[:1]==[1] and np.isnan(found.f1['b']) and found.f1['mean']==1
    wrong = Predictions(schema, right.files, {name: p[:,::-1] for name,p in right.probs.items()}, truth)
    assert table('meesho', wrong).f1['mean']==0
    assert protocol_scores(right)['meesho']['b']==dict(f1=None, micro_f1=None, macro_f1=None)

# By name

def test_protocols_that_do_not_apply(six):
    assert list(protocol_scores(six))==['six-2023', 'six-2024']
    assert protocol_scores(Predictions(six.schema, six.files, six.probs, dict(fit=six.truth['fit'])))=={}
    with pytest.raises(UsageError, match='deepfashion-masked needs a one_of target and an any_of target with label groups'):
        find_protocol('deepfashion-masked', six.schema)
    with pytest.raises(UsageError, match="unknown protocol 'six-2025'; did you mean six-202"): find_protocol('six-2025', six.schema)
