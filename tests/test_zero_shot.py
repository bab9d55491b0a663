"Labels in words: text towers with random weights in each layout, tables without a labelled row, and the prior of the probe"
import numpy as np, pandas as pd, pytest, torch, torch.nn.functional as F
from fashion_fastai.cli import main
from fashion_fastai.core.errors import UsageError
from fashion_fastai.models.body import create_body
from fashion_fastai.models.prompts import read_prompts
from fashion_fastai.models.repository import parse_address
from fashion_fastai.models.text_tower import load_text_tower, open_clip_text, text_names, transformers_text
from fashion_fastai.models.zero_shot import zero_shot_network
from fashion_fastai.run import open_run
from helpers.towers import SIZE, clip_repository, open_clip_config, openai_tower, transformers_config, write_repository

WORDS = """
category:
  labels: {dress: [dress, Kleid], track_pants: [track pants], shirt: }
  prompts: ['a photo of a {}', 'ein Foto: {}']
attributes: {kind: any_of, labels: [floral, striped], prompts: ['a {} garment'], without: [a plain garment]}
"""
LAYOUTS = 'open_clip', 'custom', 'trunk', 'transformers'

@pytest.fixture
def open_clip(): return pytest.importorskip('open_clip', reason="needs the extra clip")

@pytest.fixture
def words(tmp_path):
    (tmp_path/'words.yaml').write_text(WORDS)
    return tmp_path/'words.yaml'

def images(n=3, size=SIZE): return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))

# the towers

@pytest.mark.parametrize('layout', LAYOUTS)
def test_texts_and_images_are_those_of_open_clip(tmp_path, words, open_clip, layout):
    "Vectors of texts, probabilities of labels"
    address,network = clip_repository(tmp_path/'tower', layout)
    texts = ['a red dress', 'Kleid', 'a pair of jeans, size 42']
    tower = load_text_tower(parse_address(address))
    with torch.no_grad(): expected = network.encode_text(open_clip.SimpleTokenizer(context_length=16)(texts), normalize=True)
    assert (tower.embed(texts)-expected).abs().max()<1e-6
    prompts = read_prompts(words)
    size = 160 if layout=='trunk' else SIZE
    ours,_ = zero_shot_network(address, prompts, size)
    with torch.no_grad():
        category,attributes = ours(images(size=size))
        vectors = network.encode_image(images(size=size), normalize=True)
    def mean_of(sentences): return F.normalize(tower.embed(sentences).mean(0), dim=0)
    labels = torch.stack([mean_of(prompts.targets['category'].sentences(label)) for label in ('dress', 'track_pants', 'shirt')])
    scale = network.logit_scale.exp()
    assert (category-scale*vectors@labels.T).abs().max()<1e-3
    floral = mean_of(['a floral garment'])-mean_of(['a plain garment'])
    assert (attributes[:,0]-scale*vectors@floral).abs().max()<1e-3

def test_a_text_tower_that_does_not_fit_is_refused(tmp_path, open_clip):
    def refused(config, change=lambda state: None):
        _,network = clip_repository(tmp_path/'good', 'open_clip')
        state = dict(network.state_dict())
        change(state)
        address = write_repository(tmp_path/'bad', {'open_clip_config.json': config}, state)
        with pytest.raises(UsageError) as error: load_text_tower(parse_address(address))
        return str(error.value)
    config = open_clip_config()
    text = config['model_cfg']['text_cfg']
    assert 'the text tower does not fit' in refused(config, lambda state: state.pop('ln_final.weight'))
    text['width'] = 32
    assert 'the text tower does not fit' in refused(config)
    text['tokenizer_kwargs'] = dict(trust_remote_code=True)
    text['width'] = 16
    assert 'tokenizer_kwargs.trust_remote_code is not supported' in refused(config)
    text['no_such'] = 1
    assert 'open_clip cannot make its text tower' in refused(config)

def test_a_body_without_texts(tmp_path, words, capsys):
    state = {name: values for name,values in openai_tower().items() if name.startswith('visual.')}
    with pytest.raises(UsageError, match='file has no text tower'): text_names(state, 'file')
    config = open_clip_config()
    config['model_cfg']['text_cfg'] = dict(hf_model_name='xlm-roberta-base')
    with pytest.raises(UsageError, match='the text tower xlm-roberta-base is not supported'): open_clip_text(config, 'file')
    with pytest.raises(UsageError, match='describes no text tower'): transformers_text(dict(transformers_config(), text_config=None), 'file')
    network = create_body('test_resnet', 64, 'none')
    cfg = dict(architecture='test_resnet', pretrained_cfg=dict(input_size=[3, 64, 64]))
    address = write_repository(tmp_path/'timm', {'config.json': cfg}, network.state_dict(), 'model.safetensors')
    (tmp_path/'photo.jpg').write_bytes(b'')
    assert main(['predict', address, str(tmp_path/'photo.jpg'), '--zero-shot', str(words), '--out', str(tmp_path/'t.csv')])==2
    assert 'describes no network of images and texts' in capsys.readouterr().err

# files of prompts

@pytest.mark.parametrize('text, problem', [
    ('category: {labels: {dress: [], shirt: [a, ""]}}', 'words.yaml'),
    ('category: {labels: [dress], prompts: [a photo]}', 'needs one gap {}'),
    ('category: {labels: [dress], kind: some_of}', 'one_of'),
    ('category: {labels: []}', 'labels'), ('category: {prompts: ["a {}"]}', 'labels'), ('[dress, shirt]', 'expected settings'),
    ('category: {labels: [dress], prompt: ["a {}"]}', 'prompt'), ('{}', 'targets'),
])
def test_a_wrong_file_of_prompts_is_refused(words, text, problem):
    words.write_text(text)
    with pytest.raises(UsageError) as error: read_prompts(words)
    assert 'words.yaml' in str(error.value) and problem in str(error.value)

# the whole way

def test_a_first_table_without_labels(sample, tmp_path, words, open_clip, capsys):
    "It is written like that of a run, and a training reads it"
    address,_ = clip_repository(tmp_path/'tower', 'open_clip')
    table,out = pd.read_csv(sample),tmp_path/'first.csv'
    args = ['predict', address, str(sample), '--zero-shot', str(words), '--out', str(out)]
    assert main(args)==0, capsys.readouterr().err
    first = pd.read_csv(out)
    assert first.file.tolist()==table.file.tolist() and set(first.category)<={'dress', 'track_pants', 'shirt'}
    assert first['category_probability'].between(1/3, 1).all() if 'category_probability' in first else len(first.columns)>3
    first['split'] = np.where(np.arange(len(first))%5<4, 'train', 'valid')
    first[['file', 'category', 'split']].to_csv(sample.parent/'first.csv', index=False)
    train = ['train', '--data', str(sample.parent/'first.csv'), '--arch', 'test_resnet', '--weights', 'none', '--size', '32']
    assert main([*train, '--epochs', '1', '--one-of', 'category', '--out', str(tmp_path/'run')])==0, capsys.readouterr().err

def test_a_prior_from_texts(sample, tmp_path, open_clip, capsys):
    "The probe knows it, and the run stores it"
    address,_ = clip_repository(tmp_path/'tower', 'open_clip')
    args = ['train', '--data', str(sample), '--arch', address, '--epochs', '0', '--prior', 'zero-shot', '--out', str(tmp_path/'run')]
    assert main(args)==0, capsys.readouterr().err
    assert open_run(tmp_path/'run').config.training.prior=='zero-shot'

def test_mistakes(sample, tmp_path, words, capsys):
    def message(*args):
        assert main([*args, '--out', str(tmp_path/'out')])==2
        return capsys.readouterr().err
    assert 'training.prior needs a body that knows texts' in message('train', '--data', str(sample), '--prior', 'zero-shot')
    assert '--zero-shot needs the address of a body' in message('predict', 'runs/x', str(sample), '--zero-shot', str(words))
    assert '--ensemble-with does not go with --zero-shot' in message('predict', 'local-dir:x', str(sample), '--zero-shot', str(words),
        '--ensemble-with', 'runs/y')
    assert not (tmp_path/'out').exists()
