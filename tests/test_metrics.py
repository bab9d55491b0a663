"The scores agree with scikit-learn on known cells, and leave out what is undefined"
import json
import numpy as np, pytest
from sklearn import metrics as sk
from fashion_fastai.metrics import (any_of_scores, compute_metrics, confusion_matrix, headline_scores, one_of_scores,
    ranking_scores, scalar_scores, score_names, score_table, target_scores)
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of

def close(value): return pytest.approx(value, abs=1e-12)

def one_of_case(seed, n, n_labels, missing, rounded):
    "Draw rare and absent classes; many `rounded` probabilities are equal"
    rng = np.random.default_rng(seed)
    share = np.r_[0, rng.dirichlet(np.full(n_labels-1, 0.5))] # the first class is absent
    truth = rng.choice(n_labels, n, p=share)
    probs = rng.dirichlet(np.ones(n_labels), n) + 0.3*np.eye(n_labels)[truth]*rng.random((n, 1))
    probs /= probs.sum(1, keepdims=True)
    if rounded: probs = probs.round(2)
    truth[rng.random(n)<missing] = -1
    return one_of('category', [f'c{i}' for i in range(n_labels)]), probs, truth

def any_of_case(seed, n, n_labels, missing, rounded):
    "Draw labels from always present to absent"
    rng = np.random.default_rng(seed)
    share = np.linspace(1, 0, n_labels)**3
    truth = (rng.random((n, n_labels))<share).astype(np.int8)
    probs = np.clip(0.5*share + 0.25*truth + 0.4*rng.random((n, n_labels)) - 0.1, 0, 1)
    if rounded: probs = probs.round(1)
    truth[rng.random((n, n_labels))<missing] = -1
    truth[rng.random(n)<missing/2] = -1
    return any_of('attributes', [f'a{i}' for i in range(n_labels)]), probs, truth

cases = pytest.mark.parametrize('seed,n,n_labels,missing,rounded',
    [(0, 300, 5, 0, False), (1, 300, 5, 0.3, True), (2, 1000, 21, 0.1, False), (3, 40, 21, 0.2, True), (4, 12, 8, 0.5, False), (5, 60, 3, 0, True)])

@cases
def test_one_of_agrees_with_sklearn(seed, n, n_labels, missing, rounded):
    target, probs, truth = one_of_case(seed, n, n_labels, missing, rounded)
    scores = one_of_scores(target, probs, truth)
    t, p = truth[truth>=0], probs[truth>=0]
    predicted = p.argmax(1)
    present = np.unique(t)
    labels = np.arange(n_labels)
    assert scores['known'] == len(t)
    assert (confusion_matrix(target, probs, truth) == sk.confusion_matrix(t, predicted, labels=labels)).all()
    assert scores['accuracy'] == close(sk.accuracy_score(t, predicted))
    assert scores['mean_class_accuracy'] == close(sk.recall_score(t, predicted, labels=present, average='macro'))
    if set(predicted)<=set(present): assert scores['mean_class_accuracy'] == close(sk.balanced_accuracy_score(t, predicted))
    assert scores['macro_f1'] == close(sk.f1_score(t, predicted, labels=present, average='macro'))
    assert scores['weighted_f1'] == close(sk.f1_score(t, predicted, average='weighted', zero_division=0))
    assert scores['macro_precision'] == close(sk.precision_score(t, predicted, labels=present, average='macro', zero_division=np.nan))
    assert scores['auroc'] == close(np.mean([sk.roc_auc_score(t==c, p[:,c]) for c in present]))
    assert scores['average_precision'] == close(np.mean([sk.average_precision_score(t==c, p[:,c]) for c in present]))
    for k in (3, 5):
        if k>=n_labels: assert f'top_{k}_accuracy' not in scores
        elif not rounded: assert scores[f'top_{k}_accuracy'] == close(sk.top_k_accuracy_score(t, p, k=k, labels=labels))
    absent = n_labels-len(present)
    never = len(set(present)-set(predicted))
    assert scores['undefined'] == dict(mean_class_accuracy=absent, macro_f1=absent, macro_precision=absent+never, auroc=absent,
        average_precision=absent, predicted_but_absent=len(set(predicted)-set(present)))
    for c,row in enumerate(scores['classes'].values()):
        f1 = sk.f1_score(t==c, predicted==c) if c in present else None
        precision = sk.precision_score(t==c, predicted==c) if c in predicted else None
        assert row['support'] == (t==c).sum() and row['f1'] == close(f1) and row['precision'] == close(precision)

@cases
@pytest.mark.parametrize('per_label', [False, True])
def test_any_of_agrees_with_sklearn(seed, n, n_labels, missing, rounded, per_label):
    target, probs, truth = any_of_case(seed, n, n_labels, missing, rounded)
    threshold = np.linspace(0.3, 0.7, n_labels) if per_label else 0.5
    scores = any_of_scores(target, probs, truth, threshold)
    known = truth>=0
    rows = known.any(1)
    # a cell that is 0 in both adds nothing to TP, FP or FN, so this makes scikit-learn leave it out
    t, predicted = np.where(known, truth, 0)[rows], np.where(known, probs>=threshold, 0)[rows]
    some, present = (t+predicted).any(1), np.flatnonzero(t.any(0))
    assert scores['known'] == rows.sum()
    assert scores['samples_f1'] == close(sk.f1_score(t[some], predicted[some], average='samples'))
    assert scores['macro_f1'] == close(sk.f1_score(t, predicted, labels=present, average='macro'))
    assert scores['micro_f1'] == close(sk.f1_score(t, predicted, average='micro'))
    assert scores['weighted_f1'] == close(sk.f1_score(t, predicted, average='weighted', zero_division=0))
    assert scores['precision'] == close(sk.precision_score(t, predicted, average='micro'))
    assert scores['recall'] == close(sk.recall_score(t, predicted, average='micro'))
    assert scores['exact_match'] == close(sk.accuracy_score(t, predicted))
    auroc, precision = {}, {}
    for j in range(n_labels):
        tj, pj = truth[known[:,j],j], probs[known[:,j],j]
        assert (confusion_matrix(target, probs, truth, threshold)[j] == sk.confusion_matrix(tj, pj>=np.broadcast_to(threshold, n_labels)[j], labels=[0,1])).all()
        if 0<tj.sum()<len(tj): auroc[j] = sk.roc_auc_score(tj, pj)
        if tj.sum()>0: precision[j] = sk.average_precision_score(tj, pj)
        row = scores['labels'][f'a{j}']
        assert (row['known'], row['support']) == (len(tj), tj.sum())
        assert row['auroc'] == close(auroc.get(j)) and row['average_precision'] == close(precision.get(j))
    assert scores['auroc'] == close(np.mean(list(auroc.values())))
    assert scores['average_precision'] == close(np.mean(list(precision.values())))
    absent = n_labels-len(present)
    assert scores['undefined'] == dict(samples_f1=(~some).sum(), macro_f1=absent, auroc=n_labels-len(auroc),
        average_precision=n_labels-len(precision), predicted_but_absent=(predicted.any(0) & ~t.any(0)).sum())

@cases
def test_top_recall_of_any_of(seed, n, n_labels, missing, rounded):
    target, probs, truth = any_of_case(seed, n, n_labels, missing, rounded)
    scores = any_of_scores(target, probs, truth, ranking=False)
    for k in (3, 5):
        hits = 0
        for p,t in zip(probs, truth):
            best = sorted(np.flatnonzero(t>=0), key=lambda j: -p[j])[:k] # sorted is stable: of equals the first
            hits += (t[best]==1).sum()
        assert scores.get(f'top_{k}_recall') == (close(hits/(truth==1).sum()) if k<n_labels else None)

@cases
@pytest.mark.parametrize('case', [one_of_case, any_of_case])
def test_order_of_rows_and_json(seed, n, n_labels, missing, rounded, case):
    target, probs, truth = case(seed, n, n_labels, missing, rounded)
    scores = target_scores(target, probs, truth)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    order = np.random.default_rng(seed).permutation(n)
    other = target_scores(target, probs[order], truth[order])
    assert list(other) == list(scores)
    assert scalar_scores(target, probs[order], truth[order]) == pytest.approx(scalar_scores(target, probs, truth), abs=1e-12)
    assert other['undefined'] == scores['undefined']
    # float32, as networks give them
    assert scalar_scores(target, probs.astype(np.float32), truth).keys() == scalar_scores(target, probs, truth).keys()

@cases
@pytest.mark.parametrize('case', [one_of_case, any_of_case])
def test_unknown_rows_change_nothing(seed, n, n_labels, missing, rounded, case):
    target, probs, truth = case(seed, n, n_labels, missing, rounded)
    unknown = np.full((7, *truth.shape[1:]), -1)
    more = target_scores(target, np.vstack([probs, np.random.default_rng(9).random((7, n_labels))]), np.concatenate([truth, unknown]))
    assert json.dumps(more) == json.dumps(target_scores(target, probs, truth))

@pytest.mark.parametrize('case', [one_of_case, any_of_case])
@pytest.mark.parametrize('n', [0, 9])
def test_nothing_known(case, n):
    target, probs, truth = case(0, 9, 7, 0, False)
    probs, truth = probs[:n], np.full_like(truth, -1)[:n]
    scores = target_scores(target, probs, truth)
    assert scores['known']==0 and set(scalar_scores(target, probs, truth).values())=={None}
    assert scalar_scores(target, probs, truth).keys()==scalar_scores(*case(0, 9, 7, 0, False)).keys()
    json.dumps(scores, allow_nan=False)

def test_undefined_of_any_of():
    "Check by hand a label that is absent but predicted, one that is always true, and one that is never predicted"
    target = any_of('attributes', ['absent', 'always', 'missed'])
    scores = any_of_scores(target, np.array([[.9,.8,.1], [.1,.7,.2], [.2,.9,.3]]), np.array([[0,1,1], [0,1,0], [-1,1,0]]))
    assert scores['undefined'] == dict(samples_f1=0, macro_f1=1, auroc=2, average_precision=1, predicted_but_absent=1)
    assert scores['macro_f1'] == 1/2 # of always 1, of missed 0
    labels = scores['labels']
    assert labels['absent'] == dict(precision=0., recall=None, f1=None, auroc=None, average_precision=None, support=0, known=2)
    assert labels['always']['auroc'] is None and labels['always']['average_precision']==1
    assert labels['missed']['precision'] is None and labels['missed']['f1']==0

def test_ranking_of_a_constant():
    "AUROC is 1/2, average precision the share of positives"
    assert ranking_scores(np.full(10, 0.3), np.array([1]*3+[0]*7)) == (0.5, 0.3)

def test_without_ranking_nothing_else_changes():
    for case in (one_of_case, any_of_case):
        target, probs, truth = case(2, 100, 6, 0.1, False)
        full, fast = (scalar_scores(target, probs, truth, ranking=ranking) for ranking in (True, False))
        assert {k:v for k,v in full.items() if k not in ('auroc', 'average_precision')} == fast

def test_compute_metrics_leaves_out_targets_without_truth():
    cases = [one_of_case(seed, 50, 4, 0.1, False) for seed in range(3)] + [any_of_case(3, 50, 6, 0.1, False)]
    names = ['texture', 'sleeve', 'length', 'attributes']
    schema = Schema(targets=[case[0].model_copy(update=dict(name=name)) for case,name in zip(cases, names)])
    probs, truth = ({name: case[i] for case,name in zip(cases, names)} for i in (1,2))
    truth['sleeve'] = np.full(50, -1)
    metrics = compute_metrics(schema, probs, truth, thresholds=dict(attributes=0.9))
    targets = metrics['targets']
    assert metrics['overall_accuracy'] == close((targets['texture']['accuracy']+targets['length']['accuracy'])/2)
    for score in ('mean_class_accuracy', 'macro_f1', 'macro_precision'):
        assert metrics[f'overall_{score}'] == close((targets['texture'][score]+targets['length'][score])/2)
    assert targets['attributes'] == target_scores(schema['attributes'], probs['attributes'], truth['attributes'], 0.9)
    table = score_table(metrics)
    assert table.index.tolist()==names and table.loc['sleeve', 'known']==0 and np.isnan(table.loc['sleeve', 'accuracy'])
    for target in schema:
        assert target.name=='sleeve' or table.loc[target.name, headline_scores(target)].notna().all()
    del truth['length'], truth['texture']
    metrics = compute_metrics(schema, probs, truth)
    assert list(metrics['targets'])==['sleeve', 'attributes'] and metrics['overall_accuracy'] is None
    assert 'overall_accuracy' not in compute_metrics(Schema(targets=[schema['attributes']]), probs, truth)

def test_a_target_without_a_defined_score_is_left_out_of_the_overall_score():
    "The macro precision of a target is undefined if none of its true classes was predicted"
    schema = Schema(targets=[one_of('fit', ['slim', 'wide']), one_of('length', ['long', 'short'])])
    probs = dict(fit=np.array([[.1, .9]]*3), length=np.array([[.9, .1]]*3))
    metrics = compute_metrics(schema, probs, dict(fit=np.zeros(3, int), length=np.zeros(3, int)))
    assert metrics['targets']['fit']['macro_precision'] is None and metrics['overall_macro_precision']==1
    assert metrics['overall_accuracy']==0.5

def test_score_names_are_those_of_the_scores():
    cases = [one_of_case(0, 50, 4, 0.1, False), any_of_case(1, 50, 6, 0.1, False)]
    names = ['length', 'attributes']
    schema = Schema(targets=[case[0].model_copy(update=dict(name=name)) for case,name in zip(cases, names)])
    expected = ['overall_accuracy', 'overall_mean_class_accuracy', 'overall_macro_f1', 'overall_macro_precision']
    for name,case in zip(names, cases): expected += [f'{name}/{score}' for score in scalar_scores(*case)]
    assert score_names(schema)==expected

@pytest.mark.parametrize('probs,truth,message', [
    (np.ones((4,3)), np.zeros(4, int), r"`probs` has the shape \(4, 3\), its truth needs \(4, 2\)"),
    (np.ones((4,2)), np.zeros((4,2), int), r"`truth` has the shape \(4, 2\), not \(4,\)"),
    (np.array([[.5,.5], [np.nan,.5]]), np.zeros(2, int), "1 of 2 rows have probabilities that are not finite, the first is row 1")])
def test_invalid_input_is_an_error(probs, truth, message):
    with pytest.raises(ValueError, match="target 'category': "+message): scalar_scores(one_of('category', ['a', 'b']), probs, truth)
