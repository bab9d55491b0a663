"Tiny image towers with random weights, in the layouts in which they are published, and the published equations"
import json
import torch, torch.nn.functional as F
from safetensors.torch import save_file

WIDTH, LAYERS, HEADS, PATCH, SIZE, EMBED = 64, 2, 4, 8, 32, 24
TEXT = dict(width=16, layers=1, heads=1, context_length=16)
STATS = dict(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])

def openai_tower(seed=0, dtype=torch.float32):
    "Random weights of an image tower, and some of a text tower, under OpenAI's names"
    generator = torch.Generator().manual_seed(seed)
    def draw(*shape, scale=0.3): return (torch.randn(*shape, generator=generator)*scale).to(dtype)
    def norm(name): return {f'{name}.weight': 1+draw(WIDTH), f'{name}.bias': draw(WIDTH)}
    state = {'visual.class_embedding': draw(WIDTH), 'visual.positional_embedding': draw((SIZE//PATCH)**2+1, WIDTH),
        'visual.conv1.weight': draw(WIDTH, 3, PATCH, PATCH), 'visual.proj': draw(WIDTH, EMBED)}
    state |= norm('visual.ln_pre')|norm('visual.ln_post')
    for i in range(LAYERS):
        block = f'visual.transformer.resblocks.{i}'
        state |= norm(f'{block}.ln_1')|norm(f'{block}.ln_2')
        for name,shape in {'attn.in_proj_': (3*WIDTH, WIDTH), 'attn.out_proj.': (WIDTH, WIDTH),
                'mlp.c_fc.': (4*WIDTH, WIDTH), 'mlp.c_proj.': (WIDTH, 4*WIDTH)}.items():
            state |= {f'{block}.{name}weight': draw(*shape, scale=0.1), f'{block}.{name}bias': draw(shape[0])}
    text = {'token_embedding.weight': draw(50, 16), 'text_projection': draw(16, EMBED), 'logit_scale': draw(1)[0],
        'transformer.resblocks.0.ln_1.weight': draw(16), 'positional_embedding': draw(7, 16)}
    return state|text

def equations(state, x, quick_gelu):
    "Features before and after the projection, by the equations of CLIP; `state` under OpenAI's names"
    state = {name.removeprefix('visual.'): values.double() for name,values in state.items() if name.startswith('visual.')}
    def norm(x, name): return F.layer_norm(x, (WIDTH,), state[f'{name}.weight'], state[f'{name}.bias'], 1e-5)
    def linear(x, name): return x@state[f'{name}weight'].T+state[f'{name}bias']
    def attention(x, name):
        queries,keys,values = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in linear(x, f'{name}.in_proj_').chunk(3, -1))
        weights = (queries@keys.mT/(WIDTH//HEADS)**0.5).softmax(-1)
        return linear((weights@values).transpose(1, 2).flatten(2), f'{name}.out_proj.')
    def gelu(x): return x*torch.sigmoid(1.702*x) if quick_gelu else x*0.5*(1+torch.erf(x/2**0.5))
    patches = F.conv2d(x.double(), state['conv1.weight'], stride=PATCH).flatten(2).mT
    x = torch.cat([state['class_embedding'].expand(len(x), 1, -1), patches], 1)+state['positional_embedding']
    x = norm(x, 'ln_pre')
    for i in range(LAYERS):
        block = f'transformer.resblocks.{i}'
        x = x+attention(norm(x, f'{block}.ln_1'), f'{block}.attn')
        x = x+linear(gelu(linear(norm(x, f'{block}.ln_2'), f'{block}.mlp.c_fc.')), f'{block}.mlp.c_proj.')
    features = norm(x[:,0], 'ln_post')
    return features,features@state['proj']

def transformers_names(state):
    "The same weights under the names of transformers"
    named = {'vision_model.embeddings.class_embedding': state['visual.class_embedding'],
        'vision_model.embeddings.patch_embedding.weight': state['visual.conv1.weight'],
        'vision_model.embeddings.position_embedding.weight': state['visual.positional_embedding'],
        'vision_model.embeddings.position_ids': torch.arange((SIZE//PATCH)**2+1)[None],
        'visual_projection.weight': state['visual.proj'].T.contiguous(),
        'text_model.embeddings.token_embedding.weight': state['token_embedding.weight'],
        'logit_scale': state['logit_scale']}
    for end in ('weight', 'bias'):
        named[f'vision_model.pre_layrnorm.{end}'] = state[f'visual.ln_pre.{end}']
        named[f'vision_model.post_layernorm.{end}'] = state[f'visual.ln_post.{end}']
        for i in range(LAYERS):
            theirs,ours = f'vision_model.encoder.layers.{i}',f'visual.transformer.resblocks.{i}'
            for name,part in zip('qkv', state[f'{ours}.attn.in_proj_{end}'].chunk(3)):
                named[f'{theirs}.self_attn.{name}_proj.{end}'] = part.clone()
            for new,old in {'self_attn.out_proj': 'attn.out_proj', 'layer_norm1': 'ln_1', 'layer_norm2': 'ln_2',
                    'mlp.fc1': 'mlp.c_fc', 'mlp.fc2': 'mlp.c_proj'}.items():
                named[f'{theirs}.{new}.{end}'] = state[f'{ours}.{old}.{end}']
    return named

def open_clip_config(quick_gelu=False, **vision):
    "What open_clip writes beside such a tower"
    tower = dict(image_size=SIZE, layers=LAYERS, width=WIDTH, head_width=WIDTH//HEADS, patch_size=PATCH)
    model = dict(embed_dim=EMBED, quick_gelu=quick_gelu, vision_cfg=tower|vision, text_cfg=dict(TEXT))
    return dict(model_cfg=model, preprocess_cfg=dict(STATS, size=[SIZE, SIZE], interpolation='bilinear', resize_mode='squash'))

def transformers_config(hidden_act='quick_gelu', **vision):
    "What transformers writes beside such a tower"
    tower = dict(hidden_size=WIDTH, intermediate_size=4*WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        patch_size=PATCH, image_size=SIZE, hidden_act=hidden_act, projection_dim=EMBED)
    return dict(model_type='clip', projection_dim=EMBED, vision_config=tower|vision, text_config=dict(hidden_size=16))

PROCESSOR = dict(image_mean=STATS['mean'], image_std=STATS['std'], resample=2, do_center_crop=True,
    crop_size=dict(height=SIZE, width=SIZE), size=dict(shortest_edge=SIZE))

def write_repository(folder, configs, state, name='open_clip_model.safetensors'):
    "Write files of a repository into `folder`; return its address"
    folder.mkdir(parents=True, exist_ok=True)
    for file,fields in configs.items(): (folder/file).write_text(json.dumps(fields))
    if state is not None: save_file({key: values.contiguous() for key,values in state.items()}, folder/name)
    return f'local-dir:{folder}'

def open_clip_repository(folder, quick_gelu=False, seed=0):
    "A repository of open_clip with OpenAI's image tower"
    return write_repository(folder, {'open_clip_config.json': open_clip_config(quick_gelu)}, openai_tower(seed))

def transformers_repository(folder, hidden_act='quick_gelu', seed=0):
    "A repository of transformers with the same image tower"
    configs = {'config.json': transformers_config(hidden_act), 'preprocessor_config.json': PROCESSOR}
    return write_repository(folder, configs, transformers_names(openai_tower(seed)), 'model.safetensors')

def _named_by_transformers(state):
    "The weights of a text tower of open_clip under the names of transformers"
    named = {'text_model.embeddings.token_embedding.weight': state['token_embedding.weight'],
        'text_model.embeddings.position_embedding.weight': state['positional_embedding'],
        'text_projection.weight': state['text_projection'].T, 'logit_scale': state['logit_scale']}
    for end in ('weight', 'bias'):
        named[f'text_model.final_layer_norm.{end}'] = state[f'ln_final.{end}']
        theirs,ours = 'text_model.encoder.layers.0','transformer.resblocks.0'
        for letter,part in zip('qkv', state[f'{ours}.attn.in_proj_{end}'].chunk(3)): named[f'{theirs}.self_attn.{letter}_proj.{end}'] = part.clone()
        for new,old in {'self_attn.out_proj': 'attn.out_proj', 'layer_norm1': 'ln_1', 'layer_norm2': 'ln_2', 'mlp.fc1': 'mlp.c_fc',
                'mlp.fc2': 'mlp.c_proj'}.items(): named[f'{theirs}.{new}.{end}'] = state[f'{ours}.{old}.{end}']
    return named

def clip_repository(folder, layout):
    """A repository with both towers, and the network of open_clip that has its weights; needs open_clip

    `open_clip` has the text tower's layers at the top, `custom` below `text.`, `trunk` has a network of timm for images.
    """
    import open_clip
    torch.manual_seed(12) # not that of the network that is loaded
    config = open_clip_config(quick_gelu=layout=='transformers')
    if layout=='trunk':
        config['model_cfg']['vision_cfg'] = dict(timm_model_name='test_vit', timm_pool='', timm_proj='linear', image_size=160)
        config['preprocess_cfg']['size'] = 160
    kind = open_clip.CustomTextCLIP if layout in ('custom', 'trunk') else open_clip.CLIP
    network = kind(**config['model_cfg']).eval()
    state = network.state_dict()
    if layout!='transformers': return write_repository(folder, {'open_clip_config.json': config}, state),network
    both = transformers_names({name: values for name,values in state.items()}) | _named_by_transformers(state)
    text = dict(hidden_size=TEXT['width'], num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=TEXT['context_length'],
        intermediate_size=4*TEXT['width'], hidden_act='quick_gelu')
    configs = {'config.json': transformers_config()|dict(text_config=text), 'preprocessor_config.json': PROCESSOR}
    return write_repository(folder, configs, both, 'model.safetensors'),network
