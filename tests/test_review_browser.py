"""A review in a real browser: by keys alone, killed and continued, at two widths, light and dark

FASHION_SHOTS=FOLDER keeps the screenshots.
"""
import os, shutil, signal, subprocess, sys
from contextlib import contextmanager
from pathlib import Path
import pandas as pd, pytest
pytest.importorskip('streamlit')
browser_of = pytest.importorskip('playwright.sync_api').sync_playwright
from fashion_fastai.audit.decisions import live_decisions, read_decisions
from fashion_fastai.commands.app import free_port
from helpers.reviewed import review_folder

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason='no Chromium on the PATH')]

@contextmanager
def review_of(folder, end=signal.SIGTERM):
    "The address of the page, which ends by a signal"
    port = free_port()
    command = ['data', 'review', str(folder.parent/'shop.csv'), '--audit', str(folder.parent/'audit'), '--out', str(folder),
        '--reviewer', 'anna', '--port', str(port)]
    code = f'from fashion_fastai.cli import main; main({command!r})'
    started = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert f'http://localhost:{port} reviews 6 suggestions' in started.stdout.readline()
        yield f'http://localhost:{port}'
    finally:
        os.killpg(started.pid, end)
        started.wait(20)

@pytest.fixture
def page():
    "A page that records errors and requests to other hosts in `page.wrong`"
    with browser_of() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        made = browser.new_page(viewport=dict(width=1400, height=900))
        made.set_default_timeout(120_000)
        made.wrong = []
        made.on('console', lambda message: made.wrong.append(message.text) if message.type=='error' else None)
        made.on('pageerror', lambda error: made.wrong.append(str(error)))
        local = 'http://localhost:', 'ws://localhost:', 'data:', 'blob:'
        made.on('request', lambda request: None if request.url.startswith(local) else made.wrong.append(f'asks {request.url}'))
        yield made
        browser.close()

def settled(page):
    page.wait_for_function("document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state')!='running'")
    page.wait_for_timeout(400)

def shown(page, name):
    "Screenshots at both widths, light and dark; neither may be wider than the window"
    for width in (1400, 400):
        for scheme in ('light', 'dark'):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(dict(width=width, height=900))
            settled(page)
            main = page.locator('[data-testid=stMain]')
            assert main.evaluate('node => node.scrollWidth<=node.clientWidth'), f'the page is wider than {width} pixels'
            if folder:=os.environ.get('FASHION_SHOTS'): page.screenshot(path=Path(folder)/f'{name}_{width}_{scheme}.png')
    page.emulate_media(color_scheme='light')
    page.set_viewport_size(dict(width=1400, height=900))
    settled(page)

def opened(page, url, n):
    page.goto(url)
    page.get_by_text(f'{n} of 6 decided').wait_for()
    settled(page)

def press(page, key, text):
    "Press a key and wait for a text"
    page.keyboard.press(key)
    page.get_by_text(text).first.wait_for()
    settled(page)

def test_a_review_by_keys_alone_that_is_killed_and_continued(page, tmp_path):
    folder = review_folder(tmp_path)
    def verbs(): return [decision.decision for decision in live_decisions(read_decisions(folder/'decisions.csv'))]
    with review_of(folder, signal.SIGKILL) as url:
        opened(page, url, 0)
        shown(page, 'remove')
        press(page, 'a', '1 of 6 decided')
        shown(page, 'copies')
        press(page, 'g', '2 copies accepted: dress')
        press(page, 'u', '1 of 6 decided')
        press(page, 'a', '2 of 6 decided')
        shown(page, 'wrong')
        press(page, 'k', '3 of 6 decided')
        assert verbs()==['accept', 'accept', 'reject']
        page.wrong.clear() # the page loses its server now
    page.goto('about:blank')
    page.wrong.clear()
    with review_of(folder) as url:
        opened(page, url, 3)
        shown(page, 'rule')
        press(page, 's', '1 skipped')
        shown(page, 'cell')
        press(page, 'a', '4 of 6 decided')
        shown(page, 'spelling')
        press(page, 'a', '5 of 6 decided')
        page.keyboard.press('o') # the skipped one comes again
        page.wait_for_function("document.activeElement.closest('.st-key-other')")
        page.keyboard.type('Dress')
        page.wait_for_timeout(300)
        press(page, 'Enter', 'Everything is decided')
        assert verbs()==['accept', 'accept', 'reject', 'skip', 'accept', 'accept', 'relabel']
        page.get_by_role('button', name='Write the new table').focus()
        press(page, 'Enter', '3 cells changed, 1 row removed')
        shown(page, 'result')
        assert page.wrong==[]
    new = pd.read_csv(folder/'reviewed.csv', keep_default_na=False)
    assert new.file.tolist()==['0.png', '1.png', '2.png', '4.png', '5.png']
