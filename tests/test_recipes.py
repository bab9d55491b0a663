"Every recipe trains by the command line, on a synthetic catalogue in its format"
import json
import numpy as np, pandas as pd, pytest
from PIL import Image
from fashion_fastai.cli import main
from fashion_fastai.config import make_config, packaged_names, read_recipe
from fashion_fastai.models.network import count_parameters, create_network
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema, Taxonomy
from fashion_fastai.target import one_of
from fashion_fastai.serving.submissions import read_submission
from fashion_fastai.experiments.compare import read_comparison, comparison_configs

GROUPS = dict(texture=7, sleeve=3, length=3, neckline=4, fabric=6, fit=3)
SIX = ('multihead-resnet50', 'multilabel-resnet50', 'fashionnet-resnet50')
TREE = ('hierarchy-resnet34', 'direct-vgg16')
FINDER = ('multilabel-cnn', 'multilabel-resnet101', 'multilabel-vit-b16')
TINY = ['--weights', 'none', '--size', '32', '--set', 'image.load_size=36', '--epochs', '1', '--batch-size', '8']

def draw(path, rng, size=40):
    "Write an image of noise"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)

@pytest.fixture(scope='module')
def six(tmp_path_factory):
    "A synthetic set in the format of systems A and E"
    root,rng = tmp_path_factory.mktemp('six'),np.random.default_rng(0)
    names = [f'{group}{i}  {number}' for number,(group,n) in enumerate(GROUPS.items(), 1) for i in range(n)]
    (root/'split').mkdir()
    (root/'split/list_attr_cloth.txt').write_text('26\nattribute_name  attribute_type\n'+'\n'.join(names)+'\n')
    for split,n in (('train', 24), ('val', 10), ('test', 6)):
        files = [f'img/{split}{i:05}.jpg' for i in range(n)]
        for file in files: draw(root/file, rng)
        (root/f'split/{split}.txt').write_text('\n'.join(files)+'\n')
        rows = [' '.join(str(rng.integers(0, n)) for n in GROUPS.values()) for _ in files]
        if split!='test': (root/f'split/{split}_attr.txt').write_text('\n'.join(rows)+'\n')
    return root

@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    "Folders main/sub/image, the format of system C"
    root,rng = tmp_path_factory.mktemp('tree')/'set',np.random.default_rng(1)
    for main_,subs in dict(bottom=['skirt','trousers'], top=['shirt','sweater']).items():
        for sub in subs:
            for i in range(10): draw(root/main_/sub/f'{i}.jpg', rng)
    return root

@pytest.fixture(scope='module')
def finder(tmp_path_factory):
    "A table with a comma-separated column, the format of system D"
    root,rng = tmp_path_factory.mktemp('finder'),np.random.default_rng(2)
    labels = ['Dress', 'Shirt', 'Shoe', 'Bag']
    chosen = [rng.choice(labels, rng.integers(1, 3), replace=False) for _ in range(40)]
    rows = [dict(Image=f'{i}.jpg', Category=','.join(names)) for i,names in enumerate(chosen)]
    for row in rows: draw(root/'images'/row['Image'], rng)
    pd.DataFrame(rows).to_csv(root/'labels.csv', index=False)
    return root/'labels.csv'

def trained(out, data, format, recipe, *more):
    "Train `recipe` for one short epoch and return its run"
    options = ['--data', str(data), '--format', format, '--recipe', recipe, '--out', str(out)]
    assert main(['train', *options, *TINY, *more])==0
    return open_run(out)

SMALLER = {'resnet50': ['--arch', 'resnet10t'], 'resnet101': ['--arch', 'resnet10t'],
    'vit_base_patch16_224': ['--arch', 'vit_tiny_patch16_224']}

def smaller(recipe): return SMALLER.get(read_recipe(recipe).settings['model']['arch'], [])

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
    options = [*SMALLER['resnet50'], '--set', 'data.label_noise=0.1']
    run = trained(tmp_path/'run', six, 'deepfashion-six', 'fashionnet-resnet50', *options)
    assert {'train/clean_loss', 'train/flipped_loss'} <= set(pd.read_csv(run.history).columns)

@pytest.mark.parametrize('recipe', TREE)
def test_main_and_sub(tree, tmp_path, recipe):
    run = trained(tmp_path/'run', tree, 'folders', recipe, '--arch', 'resnet10t')
    metrics = json.loads(run.metrics.read_text())
    assert run.schema.taxonomy.belongs['skirt']=='bottom'
    assert (run.path/'figures/confusion-sub.png').is_file()
    scores = metrics['targets']
    if recipe=='direct-vgg16': assert scores['main']['accuracy']>=scores['sub']['accuracy']
    out = tmp_path/'results.csv'
    assert main(['predict', str(run.path), str(tree), '--enforce-taxonomy', '--out', str(out)])==0
    results = pd.read_csv(out)
    assert (results['sub'].map(run.schema.taxonomy.belongs)==results['main']).all()

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

def test_fashionnet_has_the_published_number_of_parameters():
    config = make_config('fashionnet-resnet50')
    schema = Schema(targets=[one_of(group, [str(i) for i in range(n)]) for group,n in GROUPS.items()])
    network = create_network(schema, config.model.arch, 224, 'none', config.model.heads, config.model.neck)
    assert count_parameters(network)==29_826_138

def test_heads_of_the_hierarchy_match_layer_by_layer():
    config = make_config('hierarchy-resnet34')
    schema = Schema(targets=[one_of('main', ['a','b','c','d']), one_of('sub', [str(i) for i in range(45)])],
        taxonomy=Taxonomy(main='main', sub='sub', belongs={str(i): 'abcd'[i%4] for i in range(45)}))
    main_,sub = create_network(schema, config.model.arch, 224, 'none', config.model.heads).heads
    def shape(layer):
        names = ('in_features', 'out_features', 'num_features', 'p')
        return type(layer).__name__, *[getattr(layer, name) for name in names if hasattr(layer, name)]
    assert list(map(shape, main_))==[('Linear', 512, 128), ('BatchNorm1d', 128), ('ReLU',), ('Linear', 128, 4)]
    assert list(map(shape, sub))==[('Linear', 512, 256), ('BatchNorm1d', 256), ('ReLU',), ('Dropout', 0.3),
        ('Linear', 256, 128), ('BatchNorm1d', 128), ('ReLU',), ('Dropout', 0.3), ('Linear', 128, 45)]

def test_recipes_and_comparisons_are_valid():
    assert len(packaged_names('recipe'))>=10
    for name in packaged_names('recipe'): assert make_config(name).recipe==name
    for name in packaged_names('comparison'): assert len(comparison_configs(read_comparison(name)))>=6

@pytest.mark.slow
@pytest.mark.parametrize('recipe,format,data', [*[(name, 'deepfashion-six', 'six') for name in SIX],
    *[(name, 'folders', 'tree') for name in TREE], *[(name, 'list-column', 'finder') for name in FINDER]])
def test_recipes_with_their_own_body(request, tmp_path, recipe, format, data):
    options = ['--size', '64', '--set', 'image.load_size=72']
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
