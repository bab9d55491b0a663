"Every loss against slow code that reads like its formula, at any mix of targets, missing labels, extreme logits and 16 bits"
import itertools, math
import numpy as np, pytest, torch
from fashion_fastai.config import TargetLossConfig
from fashion_fastai.models.losses import FashionLoss, mean_loss, row_losses
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of

COLOR,MARKS,ONLY = one_of('color', ['red','green','blue','grey']), any_of('marks', ['a','b','c']), any_of('only', ['x'])
SCHEMA = Schema(targets=[COLOR, MARKS, ONLY])
COUNTS = dict(color=[100,10,1,0], marks=[5,50,0], only=[3])

def sigmoid(x): return 1/(1+math.exp(-x))

def binary_cell(x, y, term, smoothing):
    p,negative = sigmoid(x),term.gamma if term.gamma_negative is None else term.gamma_negative
    below = max(p-term.clip, 0)
    wanted = y*(1-smoothing)+smoothing/2
    cost = wanted*(1-p)**term.gamma*-math.log(p) + (1-wanted)*below**negative*-math.log(1-below)
    return cost*(term.negative_weight if y==0 else 1)

def binary_row(xs, ys, term, smoothing, weights):
    known = [i for i,y in enumerate(ys) if y>=0]
    weight = sum(weights[i] for i in known)
    return sum(weights[i]*binary_cell(xs[i], ys[i], term, smoothing) for i in known)/weight if weight else 0.

def softmax_row(xs, y, term, smoothing, weights, shift):
    if y<0: return 0.
    xs = [x+s for x,s in zip(xs, shift)]
    total = sum(math.exp(x) for x in xs)
    cost = [w*(1-math.exp(x)/total)**term.gamma*-math.log(math.exp(x)/total) for x,w in zip(xs, weights)]
    return (1-smoothing)*cost[y]+smoothing*sum(cost)/len(cost)

def drawn(n=12, seed=0):
    rng = np.random.default_rng(seed)
    logits = tuple(torch.tensor(rng.normal(0, 2, (n, o.n_out)), dtype=torch.float32) for o in SCHEMA)
    truth = torch.tensor(rng.integers(-1, 4, n)),torch.tensor(rng.integers(-1, 2, (n,3))),torch.tensor(rng.integers(-1, 2, (n,1))).float()
    truth[1][0] = -1
    return logits,truth

BINARY = [dict(), dict(gamma=2), dict(gamma=0.5), dict(gamma_negative=4, clip=0.05), dict(gamma=1, gamma_negative=4, clip=0.2), dict(negative_weight=0.1), dict(gamma=2, negative_weight=0.3), dict(gamma_negative=0.5, clip=0.1)]

@pytest.mark.parametrize('term,smoothing,weighted', itertools.product(BINARY, (0., 0.1), (False, True)))
def test_binary_losses(term, smoothing, weighted):
    term,(logits,truth) = TargetLossConfig(**term),drawn()
    weights = [0.5, 2., 0.] if weighted else [1.]*3
    losses,weight = row_losses(MARKS, logits[1], truth[1], smoothing, torch.tensor(weights) if weighted else None, term=term)
    wanted = [binary_row(x, y, term, smoothing, weights) for x,y in zip(logits[1].tolist(), truth[1].tolist())]
    assert np.allclose(losses, wanted, atol=1e-5)
    assert weight.tolist()==[float(any(y>=0 and w for y,w in zip(row, weights))) for row in truth[1].tolist()]

@pytest.mark.parametrize('term,smoothing', itertools.product([o for o in BINARY if 'negative_weight' not in o], (0., 0.1)))
def test_one_of_learned_label_by_label(term, smoothing):
    term,(logits,truth) = TargetLossConfig(**term),drawn()
    losses,_ = row_losses(COLOR, logits[0], truth[0], smoothing, one_of='binary', term=term)
    rows = [[-1]*4 if y<0 else [int(i==y) for i in range(4)] for y in truth[0].tolist()]
    assert np.allclose(losses, [binary_row(x, y, term, smoothing, [1.]*4) for x,y in zip(logits[0].tolist(), rows)], atol=1e-5)

@pytest.mark.parametrize('gamma,smoothing,adjust,balance', itertools.product((0, 0.5, 2), (0., 0.1), (0, 1, 1.5), (0, 0.99)))
def test_softmax_losses(gamma, smoothing, adjust, balance):
    logits,truth = drawn()
    loss = FashionLoss(SCHEMA, per_target=dict(color=dict(gamma=gamma, smoothing=smoothing, adjust=adjust, balance=balance)), counts=COUNTS)
    counts = [100,10,1,1]
    shift = [adjust*math.log(c/sum(counts)) for c in counts]
    weights = [1.]*4
    if balance:
        raw = [(1-balance)/(1-balance**c) for c in (100,10,1)]
        weights = [3*o/sum(raw) for o in raw]+[0.]
    wanted = [softmax_row(x, y, TargetLossConfig(gamma=gamma), smoothing, weights, shift) for x,y in zip(logits[0].tolist(), truth[0].tolist())]
    losses,weight = loss.rows(logits, truth)[0]
    assert np.allclose(losses, wanted, atol=1e-4)
    assert np.allclose(weight, [0 if y<0 else weights[y] for y in truth[0].tolist()])

def test_the_default_is_plain_cross_entropy():
    logits,truth = drawn()
    plain,same = FashionLoss(SCHEMA, smoothing=0.05),FashionLoss(SCHEMA, smoothing=0.05, per_target={'*': {}}, counts=COUNTS)
    assert plain(logits, *truth).item()==same(logits, *truth).item()
    known = truth[1]>=0
    cells = torch.nn.functional.binary_cross_entropy_with_logits(logits[1], truth[1].clamp(min=0)*0.95+0.025, reduction='none')
    rows = torch.stack([c[k].mean() for c,k in zip(cells, known) if k.any()])
    assert torch.allclose(plain.parts['marks'][0], rows.mean())

TERMS = [{}, {'*': dict(gamma=2)}, dict(any_of=dict(gamma_negative=4, clip=0.05)), dict(any_of=dict(gamma_negative=0.3, clip=0.05, gamma=0.3)), dict(one_of=dict(adjust=1, gamma=0.5), any_of=dict(negative_weight=0.1, drop_negatives=0.3)), {'*': dict(balance=0.999, gamma=1)}]

@pytest.mark.parametrize('terms,kind', itertools.product(TERMS, (torch.float32, torch.float16, torch.bfloat16)))
def test_finite_at_extremes(per_target, kind):
    "However sure and however wrong the network is: values and gradients are numbers, and unknown rows have none"
    loss = FashionLoss(SCHEMA, smoothing=0.1, per_target=per_target, counts=COUNTS)
    _,truth = drawn(40)
    for size in (0., 1e-6, 30., 1e3, 6e4):
        logits = tuple((torch.randn(40, o.n_out, generator=torch.Generator().manual_seed(1)).sign()*size).to(kind).requires_grad_() for o in SCHEMA)
        total = loss(logits, *truth)
        assert total.dtype==torch.float32 and torch.isfinite(total), size
        total.backward()
        for target,l,t in zip(SCHEMA, logits, truth):
            assert torch.isfinite(l.grad).all(), (size, target.name)
            assert (l.grad[(t<0) if t.ndim==1 else (t<0).all(1)]==0).all()

@pytest.mark.parametrize('per_target', TERMS)
def test_gradients_agree_with_differences(per_target):
    logits,truth = drawn(6)
    per_target = {k: {n: v for n,v in o.items() if n!='drop_negatives'} for k,o in per_target.items()}
    for target,l,t in zip(SCHEMA, logits, truth):
        loss = FashionLoss(Schema(targets=[target]), smoothing=0.1, per_target={k: v for k,v in per_target.items() if k in ('*', target.kind)}, counts=COUNTS)
        settings = dict(smoothing=0.1, label_weights=loss.label_weights.get(target.name), term=loss.per_target[target.name], shift=loss.shifts.get(target.name))
        value = lambda x: mean_loss(*row_losses(target, x, t, **settings))
        x = l.clone().requires_grad_()
        value(x).backward()
        for i,j in itertools.product(range(6), range(target.n_out)):
            step = torch.zeros_like(l); step[i,j] = 1e-2
            slope = (value(l+step)-value(l-step)).item()/2e-2
            assert abs(slope-x.grad[i,j].item())<2e-3+0.02*abs(slope)

def test_nothing_known_is_nothing_to_learn():
    for per_target in TERMS:
        loss = FashionLoss(SCHEMA, per_target=per_target, counts=COUNTS)
        logits = tuple(torch.randn(5, o.n_out).requires_grad_() for o in SCHEMA)
        total = loss(logits, torch.full((5,), -1), torch.full((5,3), -1), torch.full((5,1), -1))
        total.backward()
        assert total.item()==0 and all((o.grad==0).all() for o in logits)
        empty = tuple(o[:0].detach() for o in logits)
        assert loss(empty, torch.zeros(0).long(), torch.zeros(0,3), torch.zeros(0,1)).item()==0

def test_dropped_negatives_are_the_most_probable_and_only_in_training():
    loss = FashionLoss(Schema(targets=[MARKS]), per_target=dict(marks=dict(drop_negatives=0.5)))
    logits,truth = torch.tensor([[4.,3.,0.], [2.,-1.,-2.]]),torch.tensor([[1,0,0], [0,-1,0]])
    x = logits.clone().requires_grad_()
    loss((x,), truth).backward()
    assert (x.grad[[0,1],[1,0]]==0).all() and (x.grad[[0,0,1],[0,2,2]]!=0).all()
    plain = FashionLoss(Schema(targets=[MARKS]))
    assert loss((logits,), truth)==plain((logits,), truth)

@pytest.mark.parametrize('per_target', TERMS[:3])
def test_mixed_rows(per_target):
    "The loss of two truths in proportion, each with its own unknown labels"
    loss,(logits,truth) = FashionLoss(SCHEMA, per_target=per_target),drawn()
    other,own = torch.randperm(12, generator=torch.Generator().manual_seed(3)),torch.linspace(0.5, 1, 12)
    first,second = loss.rows(logits, truth),loss.rows(logits, [t[other] for t in truth])
    loss.partner = other,own
    for (mixed,weight),(a,wa),(b,wb) in zip(loss.rows(logits, truth), first, second):
        assert torch.allclose(mixed, own*a+(1-own)*b) and torch.allclose(weight, own*wa+(1-own)*wb)
    loss.partner = torch.arange(12),own
    alone = loss(logits, *truth)
    loss.partner = None
    assert torch.allclose(alone, loss(logits, *truth), atol=1e-5)

def test_what_is_convex_is_what_stage_zero_can_solve():
    loss = FashionLoss(SCHEMA, per_target=dict(color=dict(adjust=1, gamma=2), any_of=dict(gamma_negative=4, clip=0.05, negative_weight=0.5)), counts=COUNTS)
    logits,truth = drawn()
    for target,l,t in zip(SCHEMA, logits, truth):
        value = lambda x: mean_loss(*row_losses(target, x, t, **loss.convex_settings(target))).item()
        a,b = l,l.flip(0)
        assert value((a+b)/2)<=(value(a)+value(b))/2+1e-6
