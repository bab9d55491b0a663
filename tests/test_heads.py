"Heads and pooling on timm bodies of every family, and everything that is done with such a network"
import numpy as np, pytest, torch
from fashion_fastai.config import make_config
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.core.errors import UsageError
from fashion_fastai.evaluation.saliency import saliency
from fashion_fastai.models.fusion import fuse_conv_bn
from fashion_fastai.models.network import create_network, head_groups, load_network, save_network
from fashion_fastai.run import start_run
from fashion_fastai.schema import Schema, taxonomy_of
from fashion_fastai.target import any_of, one_of
from fashion_fastai.training.learner import fashion_learner
from fashion_fastai.training.mixup import MixUpCutMix
from fashion_fastai.training.callbacks import UncertaintyWeighting
from torch import nn

SCHEMA = Schema(targets=[one_of('category', ['dress', 'shirt', 'skirt']), any_of('attributes', ['belted', 'striped']),
    any_of('only', ['x'])])
ALL = dict(neck=dict(pool='concat'), heads=dict(category=dict(kind='attention', width=16, n_heads=2),
    attributes=dict(kind='mlp', sizes=[8], given='category'),
    only=dict(kind='attention', width=8, given='one_of', detach=False)))
ARCHS = ['resnet10t', 'tf_efficientnet_lite0', 'mobilenetv3_small_050', 'convnext_atto', 'swin_tiny_patch4_window7_224',
    'vit_tiny_patch16_224', 'deit_tiny_distilled_patch16_224', 'levit_128s', 'resnetv2_18', 'fashion_cnn3']

def randomize(network):
    "Replace the zeros that attention and conditioned heads start from, so that these heads have an effect"
    torch.manual_seed(1)
    for name,p in network.heads.named_parameters():
        if {'out', 'condition', 'scores'} & set(name.split('.')): nn.init.normal_(p, std=0.3)
    return network

@pytest.mark.parametrize('arch', ARCHS)
def test_any_body(arch):
    size = 224 if arch.startswith('levit') else 64
    network = randomize(create_network(SCHEMA, arch, size, 'none', **ALL)).eval()
    x = torch.randn(3,3,size,size)
    logits = network(x)
    assert [x.shape for x in logits]==[(3, target.n_out) for target in SCHEMA]
    assert network.features(x)[0].shape==(3, network.body.head_hidden_size)
    groups = head_groups(network)
    assert sorted(id(p) for group in groups for p in group)==sorted(id(p) for p in network.parameters())
    sum(x.square().sum() for x in logits).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.heads.parameters())
    with torch.no_grad():
        for a,b in zip(logits, fuse_conv_bn(network, size)(x)): assert torch.allclose(a, b, atol=1e-2, rtol=1e-2)

NEED_A_MAP = dict(heads=dict(category=dict(kind='attention'))),dict(neck=dict(pool='concat'))

@pytest.mark.parametrize('settings', NEED_A_MAP)
def test_a_body_without_a_feature_map(settings):
    with pytest.raises(UsageError, match='gives no feature map'):
        create_network(SCHEMA, 'pit_ti_224', 224, 'none', **settings)(torch.zeros(1,3,224,224))

def test_attention_is_that_of_one_query():
    "Places weigh as in multi-head attention with a learned query; its product with the keys is one layer"
    heads = dict(category=dict(kind='attention', width=8, n_heads=2))
    head = randomize(create_network(SCHEMA, 'resnet10t', 64, 'none', heads=heads)).heads[0].requires_grad_(False)
    feature_map,features = torch.randn(2,512,3,3),torch.randn(2,512)
    def attend(tokens, n): # one image, attention head `n`
        scores = np.exp([float(head.scores(token)[n]) for token in tokens])
        return sum(w*head.values(token)[4*n:4*n+4] for w,token in zip(scores/scores.sum(), tokens))
    images = head.norm(feature_map.flatten(2).transpose(1,2))
    attended = torch.stack([torch.cat([attend(tokens, 0), attend(tokens, 1)]) for tokens in images])
    assert torch.allclose(head(features, feature_map), head.pooled(features)+head.out(attended), atol=1e-4)

@pytest.mark.parametrize('detach', (True, False))
def test_given_another_target(detach):
    heads = dict(attributes=dict(given='category', detach=detach))
    network = randomize(create_network(SCHEMA, 'resnet10t', 64, 'none', heads=heads))
    network.eval()(torch.randn(2,3,64,64))[1].sum().backward()
    grads = [p.grad for p in network.heads[0].parameters()]
    assert all(grad is None for grad in grads) if detach else all(grad.abs().sum()>0 for grad in grads)
    assert network.heads[1].condition.weight.grad.abs().sum()>0

def test_given_by_role_and_derived():
    tree = taxonomy_of(['main', 'sub'], dict(shirt='top', skirt='bottom'))
    targets = [any_of('marks', ['a']), one_of('main', ['bottom','top']), one_of('sub', ['shirt','skirt'])]
    schema,heads = Schema(targets=targets, taxonomy=tree),dict(any_of=dict(given='main'))
    network = randomize(create_network(schema, 'resnet10t', 64, 'none', heads=heads, derive=True))
    assert [logits.shape[1] for logits in network(torch.randn(2,3,64,64))]==[1,2,2]
    assert network.heads[0].given==1

def test_save_and_load(tmp_path):
    config = make_config('two-head', dict(model=dict(arch='resnet10t', weights='none', **ALL), image=dict(size=64)))
    run = start_run(tmp_path/'run', config, SCHEMA)
    network,x = randomize(create_network(SCHEMA, 'resnet10t', 64, 'none', **ALL)).eval(),torch.randn(2,3,64,64)
    save_network(network, run.model)
    with torch.no_grad():
        for a,b in zip(network(x), load_network(run)(x)): assert torch.equal(a, b)
    for wrong in (dict(width=10**9), dict(width='x'), dict(n_heads=0), dict(detach=3)):
        heads = dict(category=dict(kind='attention', **wrong))
        with pytest.raises(UsageError): make_config('two-head', dict(model=dict(heads=heads)))

@pytest.mark.parametrize('arch', ('resnet10t', 'swin_tiny_patch4_window7_224', 'convnext_atto'))
def test_saliency(arch):
    network = randomize(create_network(SCHEMA, arch, 64, 'none', **ALL))
    heat = saliency(network, torch.randn(2,3,64,64), 0, 1)
    assert heat.shape==(2,64,64) and np.isfinite(heat).all()

def test_trained_with_everything_at_once(sample):
    catalogue = read_catalogue(sample)
    catalogue.codes['category'][::4] = -1
    counts = {target.name: np.ones(target.n_out) for target in catalogue.schema}
    heads = dict(category=dict(kind='attention', width=16), any_of=dict(kind='linear', given='one_of', dropout=0.1))
    absent = dict(gamma_negative=4, clip=0.05, negative_weight=0.5, drop_negatives=0.05)
    loss = dict(per_target=dict(one_of=dict(gamma=1, adjust=1), any_of=absent), counts=counts)
    learn = fashion_learner(catalogue, 'convnext_atto', size=32, bs=32, weights='none', args=dict(drop_path_rate=0.2),
        cbs=[MixUpCutMix(0.2, 1.), UncertaintyWeighting()], neck=dict(pool='concat'), heads=heads, loss=loss)
    learn.unfreeze()
    learn.fit_one_cycle(1, 1e-3)
    assert np.isfinite([value for name,value in learn.history.rows[0].items() if 'loss' in name]).all()
    assert learn.loss_func.weights!=[1,10] and learn.loss_func.partner is None
    assert all(np.isfinite(probs).all() for probs in learn.get_preds()[0])

@pytest.mark.parametrize('arch', ('tf_efficientnet_lite0', 'convnext_atto', 'resnet10t', 'vit_tiny_patch16_224'))
def test_stochastic_depth_is_timms(arch):
    "model.args: {drop_path_rate: 0.9} skips blocks in training only"
    def drop_paths(network): return [m for m in network.modules() if type(m).__name__=='DropPath' and m.drop_prob>0]
    network = create_network(SCHEMA, arch, 64, 'none', drop_path_rate=0.9)
    assert drop_paths(network) and not drop_paths(create_network(SCHEMA, arch, 64, 'none'))
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.ones_(module.eval().weight) # timm starts some blocks at 0
    x = torch.randn(8,3,64,64)
    with torch.no_grad():
        first,second = network.features(x)[1],network.features(x)[1]
        assert not torch.equal(first, second)
        network.eval()
        assert torch.equal(network(x)[0], network(x)[0])

def test_head_dropout():
    heads = dict(category=dict(dropout=0.5), attributes=dict(kind='attention', dropout=0.5))
    network = create_network(SCHEMA, 'resnet10t', 64, 'none', heads=heads)
    network.body.eval()
    x = torch.randn(4,3,64,64)
    assert not torch.equal(network(x)[0], network(x)[0]) and not torch.equal(network(x)[1], network(x)[1])
    network.eval()
    assert torch.equal(network(x)[0], network(x)[0])
