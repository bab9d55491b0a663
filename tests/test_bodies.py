"Bodies by the address of a repository: layouts, preprocessing, wrong files, the hub, and runs that open without it"
import re
import numpy as np, pytest, timm, torch
from PIL import Image
from safetensors.torch import save_file
from fashion_fastai.cli import main
from fashion_fastai.config import ImageConfig, TrainConfig, make_config
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.images import ImageReader
from fashion_fastai.models.body import body_features, body_stats, create_body, resolve_body
from fashion_fastai.models.network import load_network
from fashion_fastai.run import open_run
from helpers.hub_server import as_the_hub
from helpers.towers import (EMBED, HEADS, LAYERS, SIZE, STATS, WIDTH, equations, open_clip_config, open_clip_repository,
    openai_tower, transformers_config, transformers_names, transformers_repository, write_repository)

def images(n=3, size=SIZE): return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

def features(address, size=SIZE): return body_features(create_body(address, size).double().eval(), images(size=size)).detach()

# layouts

@pytest.mark.parametrize('quick_gelu', [False, True])
def test_a_native_tower_of_open_clip(tmp_path, quick_gelu):
    address = open_clip_repository(tmp_path, quick_gelu)
    expected,projected = equations(openai_tower(), images(), quick_gelu)
    found = features(address)
    assert found.shape==(3, WIDTH) and (found-expected).abs().max()<1e-6
    assert (found@openai_tower()['visual.proj'].double()-projected).abs().max()<1e-6
    other,_ = equations(openai_tower(), images(), not quick_gelu)
    assert (found-other).abs().max()>1e-3 # the activations are told apart

@pytest.mark.parametrize('hidden_act', ['gelu', 'quick_gelu'])
def test_a_tower_of_transformers(tmp_path, hidden_act):
    address = transformers_repository(tmp_path, hidden_act)
    expected,_ = equations(openai_tower(), images(), hidden_act=='quick_gelu')
    assert (features(address)-expected).abs().max()<1e-6

@pytest.mark.parametrize('arch, vision', [('test_vit', dict(timm_pool='map', timm_proj='none')),
    ('test_vit', dict(timm_pool='', timm_proj='linear')), ('test_convnext', dict(timm_pool='', timm_proj='linear'))])
def test_a_trunk_of_timm_in_open_clip(tmp_path, arch, vision):
    pool = dict(global_pool=vision['timm_pool']) if vision['timm_pool'] else {}
    trunk = timm.create_model(arch, num_classes=0, **pool).double().eval()
    with torch.no_grad():
        for values in trunk.parameters(): values.add_(torch.randn_like(values)*0.1)
    state = {f'visual.trunk.{name}': values for name,values in trunk.state_dict().items()}
    state |= {'visual.head.proj.weight': torch.randn(EMBED, trunk.num_features), 'text.token_embedding.weight': torch.ones(5, 4)}
    config = dict(model_cfg=dict(embed_dim=EMBED, vision_cfg=dict(vision, timm_model_name=arch, image_size=160)),
        preprocess_cfg=dict(STATS, size=160))
    address = write_repository(tmp_path, {'open_clip_config.json': config}, state)
    found = body_features(create_body(address, 160).double().eval(), images(size=160))
    assert (found-trunk(images(size=160))).abs().max()<1e-6

def test_a_repository_of_timm(tmp_path):
    network = timm.create_model('test_resnet', num_classes=7, global_pool='avg').double().eval()
    with torch.no_grad():
        for values in network.parameters(): values.add_(torch.randn_like(values)*0.1)
    cfg = dict(STATS, num_classes=7, input_size=[3, 64, 64], interpolation='bilinear')
    config = dict(architecture='test_resnet', num_classes=7, pretrained_cfg=cfg)
    address = write_repository(tmp_path, {'config.json': config}, network.state_dict(), 'model.safetensors')
    body = create_body(address, 64).double().eval()
    expected = network.forward_head(network.forward_features(images(size=64)), pre_logits=True)
    assert (body_features(body, images(size=64))-expected).abs().max()<1e-6
    assert body_stats(body)==(tuple(STATS['mean']), tuple(STATS['std']))

def test_half_precision_and_another_size(tmp_path):
    state = openai_tower(dtype=torch.float16)
    address = write_repository(tmp_path, {'open_clip_config.json': open_clip_config()}, state)
    expected,_ = equations(state, images(), False)
    assert (features(address)-expected).abs().max()<1e-6
    assert features(address, 64).shape==(3, WIDTH) # the position embedding is interpolated

def test_a_file_in_any_layout(tmp_path):
    args = dict(patch_size=8, embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS)
    save_file(transformers_names(openai_tower()), tmp_path/'weights.safetensors')
    body = create_body('vit_base_patch16_clip_quickgelu_224', SIZE, str(tmp_path/'weights.safetensors'), **args)
    expected,_ = equations(openai_tower(), images(), True)
    assert (body_features(body.double().eval(), images())-expected).abs().max()<1e-6

@pytest.mark.slow
def test_open_clip_gives_the_same_features(tmp_path):
    "Needs `pip install open-clip-torch`; everything else is tested against the published equations"
    open_clip = pytest.importorskip('open_clip')
    for quick_gelu in (False, True):
        config = open_clip_config(quick_gelu)
        vision,text = config['model_cfg']['vision_cfg'],dict(width=16, heads=1, layers=1, vocab_size=50, context_length=7)
        network = open_clip.CLIP(EMBED, vision, text, quick_gelu=quick_gelu).double().eval()
        address = write_repository(tmp_path/str(quick_gelu), {'open_clip_config.json': config}, network.state_dict())
        assert (features(address)@network.visual.proj-network.encode_image(images())).abs().max()<1e-6
    vision = dict(timm_model_name='test_vit', timm_pool='map', timm_proj='none', image_size=160)
    network = open_clip.CustomTextCLIP(WIDTH, vision, text).double().eval()
    config = dict(model_cfg=dict(vision_cfg=vision), preprocess_cfg=dict(STATS, size=160))
    address = write_repository(tmp_path/'trunk', {'open_clip_config.json': config}, network.state_dict())
    assert (features(address, 160)-network.encode_image(images(size=160))).abs().max()<1e-6

@pytest.mark.slow
def test_transformers_gives_the_same_features(tmp_path):
    "Needs `pip install transformers`"
    transformers = pytest.importorskip('transformers')
    for hidden_act in ('gelu', 'quick_gelu'):
        vision = transformers_config(hidden_act)['vision_config']
        network = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**vision)).double().eval()
        network.save_pretrained(tmp_path/hidden_act)
        transformers.CLIPImageProcessor(image_mean=STATS['mean'], image_std=STATS['std']).save_pretrained(tmp_path/hidden_act)
        expected = network(images()).image_embeds
        found = features(f'local-dir:{tmp_path/hidden_act}')@network.visual_projection.weight.T
        assert (found-expected).abs().max()<1e-6

# preprocessing, settings

def test_the_settings_say_what_an_address_stood_for(tmp_path):
    address = open_clip_repository(tmp_path)
    config = resolve_body(make_config('two-head', dict(model=dict(arch=address, args=dict(drop_path_rate=0.1)))))
    model,image = config.model,config.image
    assert model.arch=='vit_base_patch16_clip_224' and model.weights==address
    assert model.args==dict(patch_size=8, embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS, mlp_ratio=4, drop_path_rate=0.1)
    assert (image.size, image.interpolation)==(SIZE, 'bilinear')
    assert (list(image.mean), list(image.std))==(STATS['mean'], STATS['std'])
    assert resolve_body(config)==config # as when a training is resumed
    stored = TrainConfig.model_validate(config.model_dump(mode='json'))
    assert resolve_body(stored)==stored

def test_settings_of_the_user_come_first(tmp_path):
    address = transformers_repository(tmp_path)
    given = dict(size=48, interpolation='bicubic', mean=[0.5]*3, std=[0.5]*3)
    config = resolve_body(make_config('two-head', dict(model=dict(arch=address, weights='none'), image=given)))
    assert (config.image.size, config.image.interpolation, config.image.mean)==(48, 'bicubic', (0.5, 0.5, 0.5))
    assert config.model.weights=='none' and config.model.arch=='vit_base_patch16_clip_quickgelu_224'
    assert config.model.args['patch_size']==8

def test_interpolation_is_that_of_the_setting():
    pixels = np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    for name in ('bicubic', 'bilinear', 'lanczos', 'nearest'):
        expected = Image.fromarray(pixels).resize((20, 20), Image.Resampling[name.upper()])
        read = ImageReader.from_config(ImageConfig(size=20, interpolation=name)).read(Image.fromarray(pixels))
        assert np.array_equal(np.asarray(read), np.asarray(expected))

# wrong files

def _state(change):
    state = openai_tower()
    change(state)
    return state

def _more_blocks(state):
    for name in [name for name in state if name.startswith('visual.transformer.resblocks.1.')]:
        state[name.replace('.1.', '.2.', 1)] = state[name].clone()

def _nan(state): state['visual.ln_pre.bias'][3] = float('nan')
def _wide(state): state['visual.transformer.resblocks.0.mlp.c_fc.weight'] = torch.ones(5*WIDTH, WIDTH)

@pytest.mark.parametrize('change, words', [
    (lambda state: state.pop('visual.transformer.resblocks.1.mlp.c_fc.weight'), 'they lack 1 of its layers, blocks.1.mlp.fc1.weight'),
    (lambda state: state.pop('visual.ln_post.weight'), 'they lack 1 of its layers, norm.weight'), # ones in a new network
    (lambda state: state.pop('visual.positional_embedding'), 'pos_embed'),
    (_more_blocks, 'they have 12 layers more, blocks.2.'),
    (_nan, 'visual.ln_pre.bias holds values that are no numbers'),
    (_wide, 'size mismatch for blocks.0.mlp.fc1.weight'),
    (lambda state: [state.pop(name) for name in list(state) if name.startswith('visual.')], 'they lack'),
])
def test_a_wrong_tower_is_refused(tmp_path, change, words):
    address = write_repository(tmp_path, {'open_clip_config.json': open_clip_config()}, _state(change))
    with pytest.raises(UsageError, match=re.escape(words)): features(address)

def test_a_tower_that_lacks_the_keys_is_refused(tmp_path):
    state = transformers_names(openai_tower())
    del state['vision_model.encoder.layers.0.self_attn.k_proj.weight']
    address = write_repository(tmp_path, {'config.json': transformers_config()}, state, 'model.safetensors')
    with pytest.raises(UsageError, match='blocks.0.attn.qkv.weight lacks the part k'): features(address)

def test_files_that_are_no_weights_are_refused(tmp_path):
    address = open_clip_repository(tmp_path)
    file = tmp_path/'open_clip_model.safetensors'
    whole = file.read_bytes()
    file.write_bytes(whole[:len(whole)//2])
    with pytest.raises(UsageError, match='cannot be read as weights'): features(address)
    torch.save(openai_tower(), file)
    with pytest.raises(UsageError, match='is a pickle, which could run code'): features(address)
    file.rename(tmp_path/'open_clip_pytorch_model.bin')
    with pytest.raises(UsageError, match='but open_clip_pytorch_model.bin, a pickle'): features(address)
    (tmp_path/'open_clip_pytorch_model.bin').rename(tmp_path/'model.safetensors.index.json')
    with pytest.raises(UsageError, match='weights in several files'): features(address)

@pytest.mark.parametrize('file, fields, words', [
    ('readme.json', {}, 'it has neither open_clip_config.json nor config.json'),
    ('open_clip_config.json', [], 'it holds no settings'),
    ('open_clip_config.json', {}, 'model_cfg is missing'),
    ('open_clip_config.json', dict(model_cfg=dict(vision_cfg=7)), 'vision_cfg is no section'),
    ('open_clip_config.json', open_clip_config(attentional_pool=True), 'attentional_pool=True is not supported'),
    ('open_clip_config.json', open_clip_config(layers=[3, 4, 6, 3]), 'layers'),
    ('open_clip_config.json', open_clip_config(width=10**9), 'width'),
    ('open_clip_config.json', open_clip_config(head_width=0), 'heads'),
    ('open_clip_config.json', open_clip_config(timm_model_name='vit_bse_patch16_224'), "unknown architecture 'vit_bse_patch16_224'"),
    ('open_clip_config.json', open_clip_config(timm_model_name='test_vit', timm_pool='abs_attn'), "timm_pool='abs_attn' is not supported"),
    ('open_clip_config.json', open_clip_config()|dict(preprocess_cfg=dict(size=[32, 64])), 'only squares'),
    ('open_clip_config.json', open_clip_config()|dict(preprocess_cfg=dict(mean=[0, 0])), 'mean'),
    ('open_clip_config.json', open_clip_config()|dict(preprocess_cfg=dict(std=[0, 0, 0])), 'std'),
    ('open_clip_config.json', open_clip_config()|dict(preprocess_cfg=dict(interpolation='random')), 'interpolation'),
    ('open_clip_config.json', open_clip_config()|dict(preprocess_cfg=7), 'preprocess_cfg is no section'),
    ('config.json', dict(model_type='siglip'), "model_type='siglip' is not supported"),
    ('config.json', transformers_config('relu'), "hidden_act 'relu'"),
    ('config.json', transformers_config(layer_norm_eps=1e-12), 'layer_norm_eps=1e-12 is not supported'),
    ('config.json', transformers_config(num_attention_heads=5), 'does not divide into 5 heads'),
    ('config.json', dict(architecture='resnet10t', model_args=dict(checkpoint_path='/etc/passwd')), "'checkpoint_path' is no argument"),
    ('config.json', dict(architecture=['resnet10t']), 'unknown architecture'),
])
def test_a_description_that_is_not_understood_is_refused(tmp_path, file, fields, words):
    address = write_repository(tmp_path, {file: fields}, openai_tower())
    with pytest.raises(UsageError, match=re.escape(words)): features(address)

def test_another_architecture_than_that_of_the_repository_is_refused(tmp_path):
    address = open_clip_repository(tmp_path)
    with pytest.raises(UsageError, match='holds vit_base_patch16_clip_224, not resnet10t; use --arch local-dir:'):
        create_body('resnet10t', SIZE, address)
    with pytest.raises(UsageError, match='no package carries weights'): create_body(address, SIZE, 'package')

# the hub

REPO = 'garments/tower'

@pytest.fixture
def hub(tmp_path, monkeypatch):
    "A local hub with a repository of two commits, and an empty cache"
    with as_the_hub(tmp_path, monkeypatch) as hub:
        for commit,seed in (('a', 1), ('b', 2)): open_clip_repository(hub.add(REPO, commit), seed=seed)
        yield hub

def _tower_of(seed): return equations(openai_tower(seed), images(), False)[0]

def test_a_repository_of_the_hub(hub, monkeypatch):
    from huggingface_hub import constants
    assert (features(f'hf-hub:{REPO}')-_tower_of(2)).abs().max()<1e-6
    n = hub.requests.total()
    features(f'hf-hub:{REPO}')
    assert hub.requests.total()==n # from the cache, without a request
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert (features(f'hf-hub:{REPO}')-_tower_of(2)).abs().max()<1e-6
    with pytest.raises(UsageError, match='is not in the local cache and the hub cannot be reached'): features('hf-hub:other/tower')

def test_a_revision_of_a_repository(hub):
    assert (features(f'hf-hub:{REPO}@{"a"*40}')-_tower_of(1)).abs().max()<1e-6
    config = resolve_body(make_config('two-head', dict(model=dict(arch=f'hf-hub:{REPO}'))))
    assert config.model.weights==f'hf-hub:{REPO}@{"b"*40}' # the commit, though none was given

def test_an_interrupted_download_resumes(hub, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE', 1000) # what is lost of a connection that breaks
    hub.break_off = 1
    assert (features(f'hf-hub:{REPO}')-_tower_of(2)).abs().max()<1e-6
    assert hub.requests['resumed']==1

def test_what_the_hub_refuses(hub):
    refused = {'hf-hub:no/such': 'the hub has no repository no/such',
        f'hf-hub:{REPO}@v9': f'{REPO} on the hub has no revision v9'}
    for address,words in refused.items():
        with pytest.raises(UsageError, match=words): features(address)
    folder = hub.add('old/pickle', 'c')
    write_repository(folder, {'open_clip_config.json': open_clip_config()}, None)
    torch.save(openai_tower(), folder/'open_clip_pytorch_model.bin')
    with pytest.raises(UsageError, match='but open_clip_pytorch_model.bin, a pickle, which could run code'): features('hf-hub:old/pickle')
    hub.add('secret/tower', 'd')
    hub.gated.add('secret/tower')
    with pytest.raises(UsageError, match='secret/tower is gated: accept its terms'): features('hf-hub:secret/tower')

def test_a_run_opens_without_the_hub(hub, sample, tmp_path, monkeypatch, capsys):
    "It stores what the address stood for; predicting needs neither hub nor cache"
    from huggingface_hub import constants
    args = ['--epochs', '0', '--seed', '1', '--out', str(tmp_path/'run')]
    assert main(['train', '--data', str(sample), '--arch', f'hf-hub:{REPO}', *args])==0
    config = open_run(tmp_path/'run').config
    assert config.model.origin==f'hub {REPO}@{"b"*40}'
    assert (config.image.size, config.image.interpolation)==(SIZE, 'bilinear')
    assert f'base_model: {REPO}\n' in (tmp_path/'run/MODEL_CARD.md').read_text()
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path/'empty'))
    assert main(['evaluate', str(tmp_path/'run'), '--out', str(tmp_path/'metrics.json')])==0
    body,expected = load_network(open_run(tmp_path/'run')).body.double(),_tower_of(2)
    assert (body_features(body, images())-expected).abs().max()<1e-6
