"The app without a browser: what its page shows, and how its command starts and ends"
import io, signal, subprocess, sys, time
from pathlib import Path
from urllib.request import urlopen
import numpy as np, pandas as pd, pytest
from PIL import Image, ImageDraw
pytest.importorskip('streamlit')
from streamlit.testing.v1 import AppTest
from fashion_fastai.commands.app import free_port
from fashion_fastai.config import make_config
from fashion_fastai.embeddings.ood import OODDetector, write_ood_detector
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.models.network import create_network, save_network
from fashion_fastai.run import start_run
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of
from fashion_fastai.serving.predictor import Predictor

CATEGORY,ATTRIBUTES = one_of('category', ['dress','shirt','<b>skirt']),any_of('attributes', ['belted','striped'])

def script(run):
    from fashion_fastai.serving.app.page import main
    main(run)

def opened(run):
    "Return the page when all background work is finished"
    page = AppTest.from_function(script, kwargs=dict(run=str(run)), default_timeout=120).run()
    for _ in range(600):
        assert not page.exception, page.exception
        if 'ff-waiting' not in text(page): return page
        time.sleep(0.1)
        page.run()
    raise AssertionError('the background work never finished')

def text(page): return '\n'.join(element.proto.body for element in page.get('html')) # AppTest has no attribute html before Streamlit 1.66

def image(color='navy', format='PNG', size=(60,80)):
    image,file = Image.new('RGB', size, 'white'),io.BytesIO()
    ImageDraw.Draw(image).rectangle((10,10,size[0]-10,size[1]-10), fill=color)
    image.save(file, format)
    return file.getvalue()

def drop(page, **files):
    page.file_uploader[0].set_value([(name.replace('_', '.'), content, 'image/png') for name,content in files.items()])
    page.run()
    assert not page.exception, page.exception
    return page

@pytest.fixture(autouse=True)
def main_module():
    "Restore the main module, which Streamlit replaces by the script of a page and which later subprocesses need"
    module = sys.modules['__main__']
    yield
    sys.modules['__main__'] = module

@pytest.fixture
def bare(tmp_path, monkeypatch):
    "Return a function that makes an untrained run without a table"
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    def make(*targets, arch='resnet10t', **settings):
        schema = Schema(targets=targets)
        image = dict(size=32, mean=(0.5,)*3, std=(0.5,)*3)
        config = make_config('two-head', dict(data=dict(path=str(tmp_path/'gone.csv')),
            model=dict(arch=arch, weights='none'), image=image, **settings))
        run = start_run(tmp_path/'run', config, schema)
        save_network(create_network(schema, arch, 32, 'none'), run.model)
        return run
    return make

def test_no_images_yet(bare):
    page = opened(bare(CATEGORY, ATTRIBUTES).path)
    assert 'No images yet' in text(page) and 'category (one of 3 labels) and attributes (any of 2)' in text(page)
    assert not page.dataframe and not page.slider and not page.button

def test_results_are_those_of_the_predictor(bare):
    run = bare(CATEGORY, ATTRIBUTES)
    page = drop(opened(run.path), a_png=image(), b_png=b'no image', c_png=image('red'))
    table = page.dataframe[0].value
    expected = Predictor.load(run.path)([image(), b'no image', image('red')]).frame()
    assert table.file.tolist()==['a.png', 'b.png', 'c.png']
    for column in ('category', 'category_probability', 'attributes', 'error'):
        assert table[column].tolist()==expected[column].tolist()
    assert '3 images · 1 cannot be read' in text(page)
    assert 'b.png was not tagged:</strong> it is not an image.' in text(page)
    assert '<b>skirt' not in text(page) and '&lt;b&gt;skirt' in text(page)
    assert 'not look like apparel' not in text(page) and 'Similar items' not in text(page)

def test_strictness_moves_attributes_alone(bare):
    page = drop(opened(bare(CATEGORY, ATTRIBUTES).path), a_png=image())
    before = page.dataframe[0].value
    page.slider[0].set_value(0.)
    all_of_them = page.run().dataframe[0].value
    page.slider[0].set_value(1.)
    none = page.run().dataframe[0].value
    assert (all_of_them.attributes[0], none.attributes[0])==('belted striped', '')
    assert before.category.tolist()==all_of_them.category.tolist()==none.category.tolist()
    assert 'Strictness 1: fewer tags, more certain.' in text(page)

FOUR = CATEGORY, one_of('season', ['summer']), ATTRIBUTES, any_of('seen', ['logo'])

@pytest.mark.parametrize('targets', [(CATEGORY,), (ATTRIBUTES,), FOUR], ids=['one_of', 'any_of', 'four'])
def test_any_mix_of_targets(bare, targets):
    page = drop(opened(bare(*targets).path), a_png=image())
    assert len(page.slider)==any(target.kind=='any_of' for target in targets)
    for target in targets: assert f'<h4>{target.name}</h4>' in text(page)
    assert len(page.selectbox[0].options)==sum(target.n_out for target in targets)

def test_where_it_looked(bare):
    page = drop(opened(bare(CATEGORY, ATTRIBUTES).path), a_png=image())
    page.selectbox[0].select_index(0).run()
    assert not page.exception and ('ff-figure heat' in text(page) or 'is evidence for' in text(page))

def test_damaged_run(bare):
    run = bare(CATEGORY)
    run.model.write_bytes(b'no weights')
    assert 'This run cannot be used:' in text(opened(run.path)) and 'cannot be read as weights' in text(opened(run.path))

def test_no_choice_of_labels_without_heat_maps(bare):
    page = drop(opened(bare(CATEGORY, arch='vit_tiny_patch16_224').path), a_png=image())
    assert not page.selectbox and '<h4>category</h4>' in text(page)

def test_limits(bare, monkeypatch):
    page = drop(opened(bare(CATEGORY).path), a_png=bytes(11*10**6), b_png=image('black', size=(9000,6000)), c_png=b'')
    assert 'is 11.0 MB large; this page reads up to 10 MB' in text(page)
    assert 'has 54 megapixels; at most 51 are read' in text(page) and 'is empty: 0 bytes arrived' in text(page)
    page = drop(page, **{f'p{i}_png': image() for i in range(43)})
    assert '43 images were dropped; the first 40 are shown' in text(page) and len(page.dataframe[0].value)==40
    assert text(page).count('<p class="ff-top">')==8 and len(page.get('pagination'))==1

@pytest.mark.parametrize('limit', [0, 2])
def test_warning_for_other_images(bare, limit):
    run = bare(CATEGORY)
    write_ood_detector(run, OODDetector(np.ones((1,512), np.float16), np.array([limit], np.float32), 1))
    page = drop(opened(run.path), a_png=image(), b_png=b'')
    for message in ('Very different from the training images: check these tags.', '1 does not look like apparel'):
        assert (message in text(page))==(limit==0)
    assert page.dataframe[0].value.looks_like_apparel.tolist()==[limit==2, pd.NA]

def test_examples_and_similar_items(run, sample):
    page = opened(run)
    examples = [button for button in page.button if button.label.startswith('Add')]
    assert len(examples)==12
    name = examples[0].label.removeprefix('Add ')
    examples[0].click().run()
    assert f'<b>{name}</b>' in text(page) and 'labelled category' in text(page)
    assert 'Similar items' in text(page) and '% similar' in text(page) and 'the same image' not in text(page)
    catalogue = read_catalogue(sample)
    drop(page, a_jpg=Path(catalogue.paths[0]).read_bytes())
    assert 'the same image' in text(page) and len(page.dataframe[0].value)==2
    next(button for button in page.button if button.label=='Remove all').click().run()
    assert len(page.dataframe[0].value)==1

def test_model_card(run):
    def script(run):
        from pathlib import Path
        from fashion_fastai.serving.app.page import card_page
        card_page(Path(run))
    page = AppTest.from_function(script, kwargs=dict(run=str(run))).run()
    assert page.markdown[0].value.startswith('# ') and 'library_name' not in page.markdown[0].value
    page = AppTest.from_function(script, kwargs=dict(run=str(run/'figures'))).run()
    assert 'no MODEL_CARD.md' in page.info[0].value

def test_command_starts_answers_and_ends(bare):
    run,port = bare(CATEGORY),free_port()
    heeds_ctrl_c = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler)' # not inherited where tests run in the background
    code = f'{heeds_ctrl_c}; from pathlib import Path; from fashion_fastai.commands.app import app_command; app_command(Path({str(run.path)!r}), {port})'
    started = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout.readline()==f'http://localhost:{port} tags images with {run.path}; Ctrl-C ends it\n'
    with urlopen(f'http://localhost:{port}') as page: assert 'Streamlit' in page.read().decode()
    started.send_signal(signal.SIGINT)
    out,err = started.communicate(timeout=60)
    assert (started.returncode, out, err)==(0, '', '')
    assert free_port(port)==port
