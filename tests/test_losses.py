"Every loss against slow code that reads like its formula: all targets, unknown labels, extreme logits, 16 bits"
import itertools, math
import numpy as np, pytest, torch, torch.nn.functional as F
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
        counts = {target.name: COUNTS[target.name]}
        loss = FashionLoss(Schema(targets=[target]), smoothing=0.1, per_target=settings, counts=counts)
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

MEANS = dict(), dict(binary_mean='outputs'), dict(one_of='binary', binary_mean='outputs')

@pytest.mark.parametrize('per_target,means', itertools.product(PER_TARGET[:3], MEANS))
def test_mixed_rows(per_target, means):
    "The losses of both images in proportion, each with its own unknown labels"
    loss,(logits,truth) = FashionLoss(SCHEMA, per_target=per_target, **means),draw_batch()
    other,own = torch.randperm(12, generator=torch.Generator().manual_seed(3)),torch.linspace(0.5, 1, 12)
    first,second = loss.rows(logits, truth),loss.rows(logits, [codes[other] for codes in truth])
    loss.partner = other,own
    for (mixed,weight),(a,wa),(b,wb) in zip(loss.rows(logits, truth), first, second):
        assert torch.allclose(mixed, own*a+(1-own)*b) and torch.allclose(weight, own*wa+(1-own)*wb)
    loss.partner = torch.arange(12),own
    with_itself = loss(logits, *truth)
    loss.partner = None
    assert torch.allclose(with_itself, loss(logits, *truth), atol=1e-5)

@pytest.mark.parametrize('means', MEANS[:2])
def test_convex_settings_are_convex(means):
    per_target = dict(color=dict(adjust=1, gamma=2, double_softmax=True),
        any_of=dict(gamma_negative=4, clip=0.05, negative_weight=0.5))
    loss = FashionLoss(SCHEMA, per_target=per_target, counts=COUNTS, **means)
    logits,truth = draw_batch()
    for target,x,y in zip(SCHEMA, logits, truth):
        def value(logits, target=target, y=y):
            return mean_loss(*row_losses(target, logits, y, **loss.convex_settings(target))).item()
        assert value((x+x.flip(0))/2)<=(value(x)+value(x.flip(0)))/2+1e-6

# one mean over all outputs, as one multi-label output has it

QUESTIONS = [7, 3, 3, 4, 6, 3] # labels of the six questions of system A

def questions(): return Schema(targets=[one_of(f'q{i}', [str(j) for j in range(n)]) for i,n in enumerate(QUESTIONS)])

def draw_answers(schema, n=10, unknown=0., seed=0):
    "Logits of all outputs side by side, and codes of each question"
    rng = np.random.default_rng(seed)
    codes = [torch.tensor(np.where(rng.random(n)<unknown, -1, rng.integers(0, target.n_out, n))) for target in schema]
    return torch.tensor(rng.normal(0, 2, (n, sum(QUESTIONS))), requires_grad=True),codes

def gradient(value, logits):
    (grad,) = torch.autograd.grad(value, logits)
    return grad

def known_outputs(codes): # bool `(n, n_outputs)`
    return torch.cat([(code>=0)[:,None].expand(-1, n) for code,n in zip(codes, QUESTIONS)], 1)

def labels_of(codes): # 0 or 1, `(n, n_outputs)`
    return torch.cat([F.one_hot(code.clamp(min=0), n) for code,n in zip(codes, QUESTIONS)], 1).double()

def published_bce(logits, codes):
    "The published loss: sigmoid and `BCELoss` over all outputs; unknown ones are left out"
    known = known_outputs(codes)
    return torch.nn.BCELoss()(logits.sigmoid()[known], labels_of(codes)[known])

@pytest.mark.parametrize('unknown', [0., 0.3])
def test_binary_mean_over_outputs_is_the_published_loss(unknown):
    schema = questions()
    logits,codes = draw_answers(schema, unknown=unknown)
    loss = FashionLoss(schema, one_of='binary', binary_mean='outputs')
    ours,published = loss(logits.split(QUESTIONS, 1), *codes),published_bce(logits, codes)
    assert abs(ours-published)<1e-12
    assert (gradient(ours, logits)-gradient(published, logits)).abs().max()<1e-12
    answers = zip(logits.split(QUESTIONS, 1), codes, QUESTIONS, loss.target_means.values())
    for x,y,n,(mean,n_known) in answers: # each target reports the mean over its own known outputs
        own = F.binary_cross_entropy_with_logits(x[y>=0], F.one_hot(y[y>=0], n).double())
        assert abs(mean-own)<1e-12 and n_known==n*(y>=0).sum()

def test_a_mean_for_each_target_weighs_questions_differently():
    schema = questions()
    logits,codes = draw_answers(schema)
    ours = gradient(FashionLoss(schema, one_of='binary')(logits.split(QUESTIONS, 1), *codes), logits)
    published = gradient(published_bce(logits, codes), logits)
    ratios = [(a.norm()/b.norm()).item() for a,b in zip(ours.split(QUESTIONS, 1), published.split(QUESTIONS, 1))]
    assert np.allclose(ratios, [26/n for n in QUESTIONS]) # 3.71, 8.67, 8.67, 6.5, 4.33, 8.67

def test_binary_mean_over_outputs_of_each_row():
    schema = questions()
    logits,codes = draw_answers(schema, unknown=0.3)
    loss = FashionLoss(schema, one_of='binary', binary_mean='outputs', reduction='none')
    rows = loss(logits.split(QUESTIONS, 1), *codes)
    expected = [published_bce(logits[i:i+1], [code[i:i+1] for code in codes]) for i in range(len(logits))]
    assert (rows-torch.stack(expected)).abs().max()<1e-12

def test_one_mean_leaves_other_targets_alone():
    "Softmax targets keep their own mean; label weights are weights of outputs in the mean"
    logits,truth = draw_batch()
    loss = FashionLoss(SCHEMA, weights=dict(any_of=2), binary_mean='outputs', label_weights=dict(marks=[0.5,2,0]))
    total,known = loss(logits, *truth),[truth[i]>=0 for i in (1, 2)]
    weights = [torch.tensor([0.5,2,0])*known[0],1.*known[1]]
    cells = [F.binary_cross_entropy_with_logits(x, y.clamp(min=0).float(), reduction='none')*w
        for x,y,w in zip(logits[1:], truth[1:], weights)]
    pooled = sum(c.sum() for c in cells)/sum(w.sum() for w in weights)
    assert torch.allclose(total, F.cross_entropy(logits[0], truth[0], ignore_index=-1) + 2*pooled)

def test_uncertainty_of_a_shared_mean():
    "Each target has its share of the outputs, with its log-variance"
    schema = questions()
    logits,codes = draw_answers(schema, unknown=0.3)
    loss = FashionLoss(schema, one_of='binary', binary_mean='outputs')
    loss.weights,loss.offsets = [1., 2., 3., 4., 5., 6.],[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    total = loss(logits.split(QUESTIONS, 1), *codes)
    means,known = zip(*loss.target_means.values())
    parts = zip(loss.weights, loss.offsets, means, known)
    assert abs(total-sum(n/sum(known)*(w*mean+offset) for w,offset,mean,n in parts))<1e-12

# the softmax before cross entropy

@pytest.mark.parametrize('smoothing,weights', itertools.product((0., 0.1), (None, [0.5, 2., 1., 0.])))
def test_double_softmax_is_cross_entropy_of_probabilities(smoothing, weights):
    schema = Schema(targets=[COLOR])
    logits,truth = draw_batch()
    x,y = logits[0].double().requires_grad_(),truth[0]
    loss = FashionLoss(schema, smoothing=smoothing, per_target=dict(one_of=dict(double_softmax=True)),
        label_weights=weights and dict(color=weights))
    published = F.cross_entropy(x.softmax(1), y, weights and torch.tensor(weights).double(), ignore_index=-1,
        label_smoothing=smoothing)
    ours = loss((x,), y)
    assert abs(ours-published)<1e-12
    assert (gradient(ours, x)-gradient(published, x)).abs().max()<1e-12
    assert torch.equal(loss.activation((x,))[0], x.softmax(1)) # as the published network returns them
