"""The app in a real browser: three images are dropped, tags appear, the CSV is right, no errors, and nothing leaves this computer

FASHION_SHOTS=FOLDER keeps the screenshots; `pytest -m slow -s tests/test_app_browser.py` prints how long tagging took.
"""
import io, os, shutil, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path
import numpy as np, pandas as pd, pytest
pytest.importorskip('streamlit')
browser_of = pytest.importorskip('playwright.sync_api').sync_playwright
from fashion_fastai.commands.app import free_port
from fashion_fastai.embeddings.ood import OODDetector, write_ood_detector
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.embeddings.nearest import unit_rows
from fashion_fastai.embeddings.embedder import run_embedder, table_embeddings
from fashion_fastai.run import open_run
from fashion_fastai.serving.predictor import Predictor
from helpers.plant_faults import receipt

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on the PATH')]

@contextmanager
def app_of(run):
    "The address of the app"
    port = free_port()
    code = f'from pathlib import Path; from fashion_fastai.commands.app import app_command; app_command(Path({str(run)!r}), {port})'
    started = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout.readline().startswith('http://localhost')
        yield f'http://localhost:{port}'
    finally:
        started.terminate()
        assert started.wait(20)==0

@pytest.fixture(scope='module')
def screened(run, sample, tmp_path_factory):
    "A run whose OOD detector accepts only images of its table"
    copy = open_run(shutil.copytree(run, tmp_path_factory.mktemp('runs')/'screened'))
    features = table_embeddings(run_embedder(copy), read_catalogue(sample))
    write_ood_detector(copy, OODDetector(unit_rows(features).astype(np.float16), np.array([0.005], np.float32), 1))
    return copy.path

@pytest.fixture(scope='module')
def three_files(sample, tmp_path_factory):
    "Return the paths of a garment, a receipt, and a damaged file"
    folder,table = tmp_path_factory.mktemp('three'),read_catalogue(sample)
    shutil.copy(table.paths[table.where('valid')[0]], folder/'garment.jpg')
    receipt(np.random.default_rng(0)).save(folder/'receipt.png')
    (folder/'broken.jpg').write_bytes((folder/'garment.jpg').read_bytes()[:300])
    return [folder/o for o in ('garment.jpg', 'receipt.png', 'broken.jpg')]

@pytest.fixture
def page(request):
    "A page that records errors and requests to other hosts in `page.wrong`"
    with browser_of() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        made = browser.new_page(viewport=dict(width=1400, height=900), accept_downloads=True)
        made.set_default_timeout(120_000)
        made.wrong = []
        made.on('console', lambda o: made.wrong.append(o.text) if o.type=='error' else None)
        made.on('pageerror', lambda o: made.wrong.append(str(o)))
        made.on('request', lambda o: None if o.url.startswith(('http://localhost:', 'ws://localhost:', 'data:', 'blob:')) else made.wrong.append(f'asks {o.url}'))
        yield made
        browser.close()

def settled(page):
    page.wait_for_function("document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state')!='running'")
    page.wait_for_timeout(300)

def kept(page, name, width):
    "A screenshot of the whole page at a width, which must not be too narrow for it"
    page.set_viewport_size(dict(width=width, height=900))
    page.wait_for_timeout(500)
    main = page.locator('[data-testid=stMain]')
    assert main.evaluate('o => o.scrollWidth<=o.clientWidth'), f'the page is wider than {width} pixels'
    page.set_viewport_size(dict(width=width, height=min(main.evaluate('o => o.scrollHeight')+20, 8000)))
    settled(page)
    if folder:=os.environ.get('FASHION_SHOTS'): page.screenshot(path=Path(folder)/f'{name}_{width}.png')
    page.set_viewport_size(dict(width=1400, height=900))

def test_three_images(screened, three_files, page):
    expected = Predictor.load(screened)([path.read_bytes() for path in three_files]).frame()
    expected['file'] = [path.name for path in three_files]
    with app_of(screened) as url:
        page.goto(url)
        page.get_by_text('No images yet').wait_for()
        page.locator('.st-key-gallery img').first.wait_for()
        settled(page)
        kept(page, 'empty', 1400)
        start = time.monotonic()
        page.locator('input[type=file]').set_input_files(three_files)
        page.get_by_text('3 images · 1 cannot be read · 1 does not look like apparel').wait_for()
        print(f'\nfrom drop to tags: {time.monotonic()-start:.2f} s for 3 images')
        settled(page)
        assert page.locator('.ff-top').all_inner_texts()==expected.category[:2].tolist()
        assert expected.looks_like_apparel.tolist()==[True, False, pd.NA]
        assert 'check these tags.' in page.locator('.ff-notice.warn').inner_text()
        assert 'broken.jpg was not tagged' in page.locator('.ff-notice.bad').inner_text()
        assert page.locator('.ff-row').count()==2 # similar items
        with page.expect_download() as coming: page.get_by_text('Download CSV').click()
        assert coming.value.suggested_filename=='results-screened.csv'
        pd.testing.assert_frame_equal(pd.read_csv(coming.value.path()), pd.read_csv(io.StringIO(expected.to_csv(index=False))))
        for width in (1400, 400): kept(page, 'three', width)
        assert page.wrong==[]

def test_around_the_page(screened, three_files, page):
    with app_of(screened) as url:
        page.goto(url)
        page.locator('.st-key-gallery button').first.click()
        page.locator('.ff-figure').first.wait_for()
        settled(page)
        choice = page.get_by_role('combobox', name='Where did it look?')
        choice.scroll_into_view_if_needed()
        settled(page)
        choice.press('ArrowDown')
        page.get_by_role('option').first.click()
        page.locator('.ff-figure.heat').wait_for()
        chips = page.locator('.ff-chips .on').count()
        page.get_by_role('slider').press('Home')
        page.get_by_text('Strictness 0:').wait_for()
        settled(page)
        assert page.locator('.ff-chips .on').count()>chips
        kept(page, 'taken', 1400)
        page.emulate_media(color_scheme='dark')
        kept(page, 'dark', 400)
        page.get_by_role('link', name='Model card').click()
        page.get_by_role('heading', name='Intended use').wait_for()
        kept(page, 'card', 400)
        assert page.wrong==[]
