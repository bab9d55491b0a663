"Every loss against slow code that reads like its formula: all targets, unknown labels, extreme logits, 16 bits"
import itertools, math
import numpy as np, pytest, torch
from fashion_fastai.config import TargetLossConfig
from fashion_fastai.models.losses import FashionLoss, mean_loss, row_losses
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of

COLOR = one_of('color', ['red', 'green', 'blue', 'grey'])
MARKS,ONLY = any_of('marks', ['a', 'b', 'c']),any_of('only', ['x'])
SCHEMA = Schema(targets=[COLOR, MARKS, ONLY])
COUNTS = dict(color=[100,10,1,0], marks=[5,50,0], only=[3])

def sigmoid(x): return 1/(1+math.exp(-x))

def binary_cell(x, y, config, smoothing):
    p,gamma_negative = sigmoid(x),config.gamma if config.gamma_negative is None else config.gamma_negative
    clipped = max(p-config.clip, 0)
    truth = y*(1-smoothing)+smoothing/2
    loss = truth*(1-p)**config.gamma*-math.log(p) + (1-truth)*clipped**gamma_negative*-math.log(1-clipped)
    return loss*(config.negative_weight if y==0 else 1)

def binary_row(xs, ys, config, smoothing, weights):
    known = [i for i,y in enumerate(ys) if y>=0]
    total = sum(weights[i] for i in known)
    return sum(weights[i]*binary_cell(xs[i], ys[i], config, smoothing) for i in known)/total if total else 0.

def softmax_row(xs, y, config, smoothing, weights, shift):
    if y<0: return 0.
    xs = [x+s for x,s in zip(xs, shift)]
    total = sum(math.exp(x) for x in xs)
    losses = [w*(1-math.exp(x)/total)**config.gamma*-math.log(math.exp(x)/total) for x,w in zip(xs, weights)]
    return (1-smoothing)*losses[y]+smoothing*sum(losses)/len(losses)

def draw_batch(n=12, seed=0):
    "Logits and codes of all targets, with unknown labels"
    rng = np.random.default_rng(seed)
    logits = tuple(torch.tensor(rng.normal(0, 2, (n, target.n_out)), dtype=torch.float32) for target in SCHEMA)
    color,marks,only = [torch.tensor(rng.integers(-1, *size)) for size in ((4, n), (2, (n,3)), (2, (n,1)))]
    marks[0] = -1
    return logits,(color, marks, only.float())

BINARY = [dict(), dict(gamma=2), dict(gamma=0.5), dict(gamma_negative=4, clip=0.05),
    dict(gamma=1, gamma_negative=4, clip=0.2), dict(negative_weight=0.1), dict(gamma=2, negative_weight=0.3),
    dict(gamma_negative=0.5, clip=0.1)]

@pytest.mark.parametrize('settings,smoothing,weighted', itertools.product(BINARY, (0., 0.1), (False, True)))
def test_binary_losses(settings, smoothing, weighted):
    config,(logits,truth) = TargetLossConfig(**settings),draw_batch()
    weights = [0.5, 2., 0.] if weighted else [1.]*3
    label_weights = torch.tensor(weights) if weighted else None
    losses,weight = row_losses(MARKS, logits[1], truth[1], smoothing, label_weights, config=config)
    expected = [binary_row(x, y, config, smoothing, weights) for x,y in zip(logits[1].tolist(), truth[1].tolist())]
    assert np.allclose(losses, expected, atol=1e-5)
    assert weight.tolist()==[float(any(y>=0 and w for y,w in zip(row, weights))) for row in truth[1].tolist()]

NO_NEGATIVE_WEIGHT = [settings for settings in BINARY if 'negative_weight' not in settings]

@pytest.mark.parametrize('settings,smoothing', itertools.product(NO_NEGATIVE_WEIGHT, (0., 0.1)))
def test_one_of_as_binary(settings, smoothing):
    config,(logits,truth) = TargetLossConfig(**settings),draw_batch()
    losses,_ = row_losses(COLOR, logits[0], truth[0], smoothing, one_of='binary', config=config)
    label_codes = [[-1]*4 if y<0 else [int(i==y) for i in range(4)] for y in truth[0].tolist()]
    expected = [binary_row(x, y, config, smoothing, [1.]*4) for x,y in zip(logits[0].tolist(), label_codes)]
    assert np.allclose(losses, expected, atol=1e-5)

SOFTMAX = itertools.product((0, 0.5, 2), (0., 0.1), (0, 1, 1.5), (0, 0.99))

@pytest.mark.parametrize('gamma,smoothing,adjust,balance', SOFTMAX)
def test_softmax_losses(gamma, smoothing, adjust, balance):
    logits,truth = draw_batch()
    settings = dict(gamma=gamma, smoothing=smoothing, adjust=adjust, balance=balance)
    loss = FashionLoss(SCHEMA, per_target=dict(color=settings), counts=COUNTS)
    counts = [100,10,1,1]
    shift = [adjust*math.log(c/sum(counts)) for c in counts]
    weights = [1.]*4
    if balance:
        inverse = [(1-balance)/(1-balance**c) for c in (100,10,1)]
        weights = [3*w/sum(inverse) for w in inverse]+[0.]
    config = TargetLossConfig(gamma=gamma)
    pairs = zip(logits[0].tolist(), truth[0].tolist())
    expected = [softmax_row(x, y, config, smoothing, weights, shift) for x,y in pairs]
    losses,weight = loss.rows(logits, truth)[0]
    assert np.allclose(losses, expected, atol=1e-4)
    assert np.allclose(weight, [0 if y<0 else weights[y] for y in truth[0].tolist()])

def test_the_default_is_plain_cross_entropy():
    logits,truth = draw_batch()
    plain = FashionLoss(SCHEMA, smoothing=0.05)
    same = FashionLoss(SCHEMA, smoothing=0.05, per_target={'*': {}}, counts=COUNTS)
    assert plain(logits, *truth).item()==same(logits, *truth).item()
    known = truth[1]>=0
    smooth = truth[1].clamp(min=0)*0.95+0.025
    cells = torch.nn.functional.binary_cross_entropy_with_logits(logits[1], smooth, reduction='none')
    rows = torch.stack([c[k].mean() for c,k in zip(cells, known) if k.any()])
    assert torch.allclose(plain.target_means['marks'][0], rows.mean())

PER_TARGET = [{}, {'*': dict(gamma=2)}, dict(any_of=dict(gamma_negative=4, clip=0.05)),
    dict(any_of=dict(gamma_negative=0.3, clip=0.05, gamma=0.3)),
    dict(one_of=dict(adjust=1, gamma=0.5), any_of=dict(negative_weight=0.1, drop_negatives=0.3)),
    {'*': dict(balance=0.999, gamma=1)}]

DTYPES = torch.float32,torch.float16,torch.bfloat16

@pytest.mark.parametrize('per_target,dtype', itertools.product(PER_TARGET, DTYPES))
def test_finite_at_extremes(per_target, dtype):
    "However confident and wrong the network is, values and gradients are finite, and unknown rows have no gradient"
    loss = FashionLoss(SCHEMA, smoothing=0.1, per_target=per_target, counts=COUNTS)
    _,truth = draw_batch(40)
    for size in (0., 1e-6, 30., 1e3, 6e4):
        signs = [torch.randn(40, target.n_out, generator=torch.Generator().manual_seed(1)).sign() for target in SCHEMA]
        logits = tuple((sign*size).to(dtype).requires_grad_() for sign in signs)
        total = loss(logits, *truth)
        assert total.dtype==torch.float32 and torch.isfinite(total), size
        total.backward()
        for target,x,y in zip(SCHEMA, logits, truth):
            assert torch.isfinite(x.grad).all(), (size, target.name)
            assert (x.grad[(y<0) if y.ndim==1 else (y<0).all(1)]==0).all()

def without(per_target, setting): # gradients of dropped labels differ on purpose
    def rest(settings): return {name: value for name,value in settings.items() if name!=setting}
    return {role: rest(settings) for role,settings in per_target.items()}

@pytest.mark.parametrize('per_target', PER_TARGET)
def test_gradients_agree_with_differences(per_target):
    logits,truth = draw_batch(6)
    for target,x,y in zip(SCHEMA, logits, truth):
        settings = {role: s for role,s in without(per_target, 'drop_negatives').items() if role in ('*', target.kind)}
        loss = FashionLoss(Schema(targets=[target]), smoothing=0.1, per_target=settings, counts=COUNTS)
        def value(logits, target=target, y=y, loss=loss):
            return mean_loss(*row_losses(target, logits, y, 0.1, loss.label_weights.get(target.name),
                config=loss.per_target[target.name], shift=loss.shifts.get(target.name)))
        leaf = x.clone().requires_grad_()
        value(leaf).backward()
        for i,j in itertools.product(range(6), range(target.n_out)):
            step = torch.zeros_like(x)
            step[i,j] = 1e-2
            slope = (value(x+step)-value(x-step)).item()/2e-2
            assert abs(slope-leaf.grad[i,j].item())<2e-3+0.02*abs(slope)

def test_nothing_known_is_nothing_to_learn():
    for per_target in PER_TARGET:
        loss = FashionLoss(SCHEMA, per_target=per_target, counts=COUNTS)
        logits = tuple(torch.randn(5, target.n_out).requires_grad_() for target in SCHEMA)
        total = loss(logits, torch.full((5,), -1), torch.full((5,3), -1), torch.full((5,1), -1))
        total.backward()
        assert total.item()==0 and all((x.grad==0).all() for x in logits)
        empty = tuple(x[:0].detach() for x in logits)
        assert loss(empty, torch.zeros(0).long(), torch.zeros(0,3), torch.zeros(0,1)).item()==0

def test_dropped_negatives_are_the_most_probable_and_only_in_training():
    loss = FashionLoss(Schema(targets=[MARKS]), per_target=dict(marks=dict(drop_negatives=0.5)))
    logits,truth = torch.tensor([[4.,3.,0.], [2.,-1.,-2.]]),torch.tensor([[1,0,0], [0,-1,0]])
    leaf = logits.clone().requires_grad_()
    loss((leaf,), truth).backward()
    assert (leaf.grad[[0,1],[1,0]]==0).all() and (leaf.grad[[0,0,1],[0,2,2]]!=0).all()
    plain = FashionLoss(Schema(targets=[MARKS]))
    assert loss((logits,), truth)==plain((logits,), truth)

@pytest.mark.parametrize('per_target', PER_TARGET[:3])
def test_mixed_rows(per_target):
    "The losses of both images in proportion, each with its own unknown labels"
    loss,(logits,truth) = FashionLoss(SCHEMA, per_target=per_target),draw_batch()
    other,own = torch.randperm(12, generator=torch.Generator().manual_seed(3)),torch.linspace(0.5, 1, 12)
    first,second = loss.rows(logits, truth),loss.rows(logits, [codes[other] for codes in truth])
    loss.partner = other,own
    for (mixed,weight),(a,wa),(b,wb) in zip(loss.rows(logits, truth), first, second):
        assert torch.allclose(mixed, own*a+(1-own)*b) and torch.allclose(weight, own*wa+(1-own)*wb)
    loss.partner = torch.arange(12),own
    with_itself = loss(logits, *truth)
    loss.partner = None
    assert torch.allclose(with_itself, loss(logits, *truth), atol=1e-5)

def test_convex_settings_are_convex():
    per_target = dict(color=dict(adjust=1, gamma=2), any_of=dict(gamma_negative=4, clip=0.05, negative_weight=0.5))
    loss = FashionLoss(SCHEMA, per_target=per_target, counts=COUNTS)
    logits,truth = draw_batch()
    for target,x,y in zip(SCHEMA, logits, truth):
        def value(logits, target=target, y=y):
            return mean_loss(*row_losses(target, logits, y, **loss.convex_settings(target))).item()
        assert value((x+x.flip(0))/2)<=(value(x)+value(x.flip(0)))/2+1e-6
