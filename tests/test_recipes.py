"Every recipe trains by the command line, on a synthetic catalogue in its format"
import json, re
import numpy as np, pandas as pd, pytest, timm, torch, yaml
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms
from torchvision.models import resnet34, vgg16
from fashion_fastai.cli import main
from fashion_fastai.config import make_config, packaged_names, read_recipe
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.images import ImageReader
from fashion_fastai.models.body import body_features, create_body
from fashion_fastai.models.heads import DerivedHead
from fashion_fastai.models.network import count_parameters, create_network
from fashion_fastai.models.weights import find_weights
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema, taxonomy_of
from fashion_fastai.target import any_of, one_of
from fashion_fastai.serving.submissions import read_submission
from conftest import GROUPS

SIX = ('multihead-resnet50', 'multilabel-resnet50', 'fashionnet-resnet50')
TREE = ('hierarchy-resnet34', 'direct-vgg16')
FINDER = ('multilabel-cnn', 'multilabel-resnet101', 'multilabel-vit-b16', 'multilabel-inception')
TINY = ['--weights', 'none', '--size', '32', '--set', 'image.load_size=36', '--epochs', '1', '--batch-size', '8']

def trained(out, data, format, recipe, *more):
    "Train `recipe` for one short epoch and return its run"
    options = ['--data', str(data), '--format', format, '--recipe', recipe, '--out', str(out)]
    assert main(['train', *options, *TINY, *more])==0
    return open_run(out)

SMALLER = ['--arch', 'resnet10t']

def smaller(recipe):
    "Return options for a small body in place of a large one"
    arch = read_recipe(recipe).settings['model']['arch']
    if arch=='fashion_cnn3': return []
    return ['--arch', 'vit_tiny_patch16_224'] if arch.startswith('vit') else SMALLER

@pytest.mark.parametrize('recipe', SIX)
def test_six_targets(six, tmp_path, recipe):
    run = trained(tmp_path/'run', six, 'deepfashion-six', recipe, *smaller(recipe))
    metrics = json.loads(run.metrics.read_text())
    assert list(metrics['targets'])==list(GROUPS) and 0<=metrics['overall_accuracy']<=1
    assert 'overall_mean_class_accuracy' in metrics
    scores = ('loss', 'accuracy', 'mean_class_accuracy', 'macro_f1')
    columns = {f'{split}/fit/{score}' for split in ('train', 'valid') for score in scores}
    assert columns <= set(pd.read_csv(run.history).columns)
    test = six/'split/test.csv'
    pd.DataFrame(dict(file=(six/'split/test.txt').read_text().split())).to_csv(test, index=False)
    out = tmp_path/'prediction.txt'
    options = ['--images', str(six), '--format', 'six-txt', '--out', str(out)]
    assert main(['predict', str(run.path), str(test), *options])==0
    assert len(read_submission('six-txt', out))==6

def test_flipped_labels_have_a_loss_of_their_own(six, tmp_path):
    options = [*SMALLER, '--set', 'data.label_noise=0.1']
    run = trained(tmp_path/'run', six, 'deepfashion-six', 'fashionnet-resnet50', *options)
    assert {'train/clean_loss', 'train/flipped_loss'} <= set(pd.read_csv(run.history).columns)

@pytest.mark.parametrize('recipe', TREE)
def test_main_and_sub(tree, tmp_path, recipe):
    run = trained(tmp_path/'run', tree, 'folders', recipe, '--arch', 'resnet10t')
    metrics = json.loads(run.metrics.read_text())
    assert run.schema.taxonomy.ancestors('sub', 'main')['skirt']==['bottom']
    assert (run.path/'figures/confusion-sub.png').is_file()
    scores = metrics['targets']
    if recipe=='direct-vgg16': assert scores['main']['accuracy']>=scores['sub']['accuracy']
    out = tmp_path/'results.csv'
    assert main(['predict', str(run.path), str(tree), '--enforce-taxonomy', '--out', str(out)])==0
    results = pd.read_csv(out)
    above = {label: parents[0] for label,parents in run.schema.taxonomy.ancestors('sub', 'main').items()}
    assert (results['sub'].map(above)==results['main']).all()

@pytest.mark.parametrize('recipe', FINDER)
def test_any_number_of_labels(finder, tmp_path, recipe):
    run = trained(tmp_path/'run', finder, 'list-column', recipe, *smaller(recipe))
    scores = json.loads(run.metrics.read_text())['targets']['Category']
    assert {'exact_match', 'micro_f1', 'precision', 'recall'} <= set(scores)
    assert (run.path/'figures/correlation-Category.png').is_file()

def test_two_heads_and_both_submissions(sample, run, tmp_path):
    table = pd.read_csv(sample).query('split=="valid"').head(4)
    table.to_csv(tmp_path/'test.csv', index=False)
    for name in ('category-csv', 'attribute-csv'):
        out = tmp_path/f'{name}.csv'
        options = ['--images', str(sample.parent), '--format', name, '--prefix', 'deep_fashion/', '--out', str(out)]
        assert main(['predict', str(run), str(tmp_path/'test.csv'), *options])==0
        assert read_submission(name, out).file_path.tolist()==[f'deep_fashion/{file}' for file in table.file]

def test_images_are_cropped_to_boxes(sample, tmp_path):
    table = pd.read_csv(sample).assign(x1=4, y1=4, x2=40, y2=40)
    table.to_csv(sample.parent/'boxes.csv', index=False)
    for name,args in dict(plain=[], boxes=['--crop', 'box']).items():
        data = ['--data', str(sample.parent/'boxes.csv'), '--out', str(tmp_path/name)]
        assert main(['train', *data, '--arch', 'resnet10t', *TINY, *args])==0
    assert (tmp_path/'plain/metrics.json').read_text()!=(tmp_path/'boxes/metrics.json').read_text()
    assert main(['evaluate', str(tmp_path/'boxes')])==0

SIX_TARGETS = Schema(targets=[one_of(group, [str(i) for i in range(n)]) for group,n in GROUPS.items()])
CLASSES = Schema(targets=[any_of('Category', [str(i) for i in range(46)])])
MAIN_AND_SUB = Schema(targets=[one_of('main', [*'abcd']), one_of('sub', [str(i) for i in range(45)])],
    taxonomy=taxonomy_of(['main', 'sub'], {str(i): 'abcd'[i%4] for i in range(45)}))

def network_of(recipe, schema):
    "Return the network of `recipe` with random weights"
    config = make_config(recipe)
    model = config.model
    return create_network(schema, model.arch, config.image.size, 'none', model.heads, model.neck, model.derive,
        **model.args)

@pytest.mark.parametrize('recipe,schema,n', [('multihead-resnet50', SIX_TARGETS, 24_570_458),
    ('multilabel-resnet50', SIX_TARGETS, 24_570_458), ('fashionnet-resnet50', SIX_TARGETS, 29_826_138),
    ('multilabel-resnet101', CLASSES, 42_594_414), ('multilabel-vit-b16', CLASSES, 85_834_030),
    ('multilabel-inception', CLASSES, 21_879_822), ('multilabel-cnn', CLASSES, 99_406)])
def test_networks_have_the_published_number_of_parameters(recipe, schema, n):
    with torch.device('meta'): assert count_parameters(network_of(recipe, schema))==n

def shapes(layers):
    "Return the kind and the sizes of each layer"
    names = ('in_features', 'out_features', 'num_features', 'p')
    return [(type(layer).__name__, *[getattr(layer, name) for name in names if hasattr(layer, name)])
        for layer in layers]

def test_heads_of_the_hierarchy_match_layer_by_layer():
    with torch.device('meta'): main_,sub = network_of('hierarchy-resnet34', MAIN_AND_SUB).heads
    assert shapes(main_)==[('Linear', 512, 128), ('BatchNorm1d', 128), ('ReLU',), ('Linear', 128, 4)]
    assert shapes(sub)==[('Linear', 512, 256), ('BatchNorm1d', 256), ('ReLU',), ('Dropout', 0.3),
        ('Linear', 256, 128), ('BatchNorm1d', 128), ('ReLU',), ('Dropout', 0.3), ('Linear', 128, 45)]

def test_the_direct_network_has_the_head_of_the_hierarchy_and_vggs_dropouts():
    with torch.device('meta'):
        direct,hierarchy = [network_of(recipe, MAIN_AND_SUB) for recipe in ('direct-vgg16', 'hierarchy-resnet34')]
    assert shapes(direct.heads[1])[1:]==shapes(hierarchy.heads[1])[1:]
    assert shapes(direct.heads[1])[0]==('Linear', 4096, 256) and isinstance(direct.heads[0], DerivedHead)
    assert (direct.body.pre_logits.drop.p, direct.body.head.drop.p)==(0.5, 0.5)
    with torch.device('meta'): classifier = vgg16().classifier[:-1]
    assert count_parameters(direct.body)==count_parameters(classifier)+count_parameters(direct.body.features)

WEIGHTS = {'multihead-resnet50': 'resnet50.tv_in1k', 'multilabel-resnet50': 'resnet50.tv_in1k',
    'fashionnet-resnet50': 'resnet50.tv_in1k', 'hierarchy-resnet34': 'resnet34.tv_in1k', 'direct-vgg16': 'vgg16.tv_in1k',
    'multilabel-resnet101': 'resnet101.tv2_in1k', 'multilabel-vit-b16': 'vit_base_patch16_224.augreg_in1k',
    'multilabel-inception': 'inception_v3.tv_in1k'}

@pytest.mark.parametrize('recipe', WEIGHTS)
def test_recipes_name_the_weights_of_their_source(recipe, tmp_path, monkeypatch):
    "The tag is one of timm's, gives the normalisation, and is named where its weights cannot be had"
    arch = make_config(recipe).model.arch
    assert arch==WEIGHTS[recipe] and arch in timm.list_pretrained(f'{arch.partition(".")[0]}.*')
    with torch.device('meta'): body = network_of(recipe, MAIN_AND_SUB).body
    assert body.pretrained_cfg['mean']==timm.get_pretrained_cfg(arch).mean
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(UsageError, match=f'no weights for {arch}: .*Use --weights FILE, --weights none'):
        find_weights(arch, 'auto')

def test_weights_of_torchvision_fit_as_a_file(tmp_path):
    "Saved as safetensors, the weights of torchvision's own network give its features"
    network = resnet34()
    save_file(network.state_dict(), tmp_path/'resnet34.safetensors')
    body = create_body('resnet34.tv_in1k', 64, str(tmp_path/'resnet34.safetensors')).eval()
    network.fc,x = torch.nn.Identity(),torch.randn(2, 3, 64, 64)
    with torch.no_grad(): assert torch.equal(network.eval()(x), body_features(body, x))

@pytest.mark.parametrize('recipe', packaged_names('recipe'))
def test_every_recipe_prints_its_deviations(recipe, capsys):
    assert main(['recipes', recipe])==0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed['deviations']==[deviation.model_dump() for deviation in read_recipe(recipe).deviations]
    assert len(printed['deviations'])>=2 and printed['source']
    assert printed['published'] or recipe=='max-accuracy'

@pytest.mark.parametrize('shape', [(200, 300), (300, 240), (300, 300)])
def test_system_a_validates_on_the_published_view(shape):
    "Short side to 256 px, then the centre of 224 px, in true proportions"
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (12, 8, 3), dtype=np.uint8)).resize(shape, Image.Resampling.BICUBIC)
    published = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])(image)
    ours = ImageReader.from_config(make_config('multilabel-resnet50').image).read(image)
    assert np.abs(np.asarray(published, dtype=float)-ours).mean()<1

def test_recipes_and_comparisons_are_valid():
    assert len(packaged_names('recipe'))>=10
    for name in packaged_names('recipe'):
        assert make_config(name).recipe==name
        named = re.findall(r'`compare ([\w-]+)`', str(read_recipe(name).published))
        assert set(named)<=set(packaged_names('comparison'))

@pytest.mark.slow
@pytest.mark.parametrize('recipe,format,data', [*[(name, 'deepfashion-six', 'six') for name in SIX],
    *[(name, 'folders', 'tree') for name in TREE], *[(name, 'list-column', 'finder') for name in FINDER]])
def test_recipes_with_their_own_body(request, tmp_path, recipe, format, data):
    options = ['--size', '80', '--set', 'image.load_size=88'] # 75 px are the least for Inception
    trained(tmp_path/'run', request.getfixturevalue(data), format, recipe, *options)

def test_the_most_accurate_with_a_small_body(sample, tmp_path):
    "The settings of `max-accuracy` work together"
    options = ['--arch', 'convnext_atto', '--set', 'image.load_size=null', '--size', '64']
    run = trained(tmp_path/'run', sample, 'table', 'max-accuracy', *options)
    assert run.config.training.ema and run.config.training.layer_decay and run.config.training.clip

@pytest.mark.slow
def test_the_most_accurate_takes_a_few_steps(sample, tmp_path):
    "The full network with random weights at 288 px, two steps"
    table = pd.read_csv(sample, keep_default_na=False)
    table = pd.concat([table[table.split=='train'].head(8), table[table.split=='valid'].head(4)])
    table.to_csv(sample.parent/'twelve.csv', index=False)
    options = ['--set', 'image.load_size=null', '--size', '288', '--batch-size', '4']
    run = trained(tmp_path/'run', sample.parent/'twelve.csv', 'table', 'max-accuracy', *options)
    losses = pd.read_csv(run.history).filter(like='loss')
    print(json.loads(run.metrics.read_text())['targets']['category']['accuracy'], losses.to_dict('list'))
