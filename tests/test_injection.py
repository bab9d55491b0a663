"""Labels, file names, column names and paths of a stranger stay text in whatever shows them

One table holds every trick; each test looks at one exit: pages, figures, Markdown, the terminal, the fragments of the app, Label Studio."""
import base64, io, re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree
import matplotlib.mathtext, numpy as np, pandas as pd, pytest, yaml
from markdown_it import MarkdownIt
from PIL import Image
from fashion_fastai.cli import main

HTML = '<img src=x onerror=alert(1)>'
CLOSING = '</b></td></table></script><script>alert(2)</script>'
QUOTES = '" onmouseover="alert(3)" " x'
LINK = '![a](https://evil.example/a.png) https://evil.example'
TABLE = 'a\\|<img src=x>|`b`'
MATH = '$\\frac{1}{$ $x^2$ #1'
RICH = '[/nothing] [red]a[/red] :cat:'
ANSI = 'a\x1b[31mb\x1b]0;title\x07 \x9b5m'
TEMPLATE = '{{ 7*7 }} {% raw %}'
REVERSED = 'a\u202egpj.exe'
ASIAN = '连衣裙 👗'
LABELS = [HTML, CLOSING, QUOTES, LINK, TABLE, MATH, RICH, ANSI, TEMPLATE, REVERSED, ASIAN]
CATEGORY = '[/x] <u>cat|egory</u> $a_b$ `c`'
ATTRIBUTES = '"><b>attri[red]butes $x$'
BRAND = '<i>brand</i> [bold] | $y$'
FILES = ['<img src=x onerror=alert(4)>', '[red]$a$![x](https:evil.example)', 'x"onload="alert(5)', 'a`b`|c', "it's {{ 7*7 }}"]
CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')

def table_of(folder, n=66):
    "Write a table of two classes of noise in which everything has a hostile name; return its path"
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        file = f'{FILES[i%len(FILES)]} {i}.png'
        Image.fromarray(rng.integers(0, 255, (40,40,3), dtype=np.uint8)).save(folder/file)
        some = [LABELS[i%len(LABELS)], LABELS[(3*i+1)%len(LABELS)]] if i%3 else []
        rows.append({'file': file, CATEGORY: LABELS[i%len(LABELS)], ATTRIBUTES: ';'.join(dict.fromkeys(some)),
            BRAND: LABELS[i%4], 'split': 'valid' if i%3==2 else 'train'})
    path = folder/'<b>[red]$shop$.parquet'
    pd.DataFrame(rows).to_parquet(path)
    return path

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')/'<i>[bold]$folder$'
    folder.mkdir()
    return table_of(folder)

TARGETS = ['--one-of', CATEGORY, '--any-of', ATTRIBUTES, '--sep', ';']

class Said:
    "What a command printed"
    def __init__(self, args, capture):
        self.code = main([str(arg) for arg in args])
        out,err = capture.readouterr()
        self.text = out+err

@pytest.fixture(scope='module')
def run(shop, tmp_path_factory):
    out = tmp_path_factory.mktemp('runs')/'<b>run</b> [red]'
    args = ['train', '--data', shop, *TARGETS, '--out', out, '--arch', 'test_resnet', '--weights', 'none', '--size', 32, '--epochs', 1]
    assert main([str(arg) for arg in args])==0
    return out

@pytest.fixture(autouse=True)
def no_formulas(monkeypatch):
    "No text of a figure is parsed as a formula"
    def parse(self, text, *args, **kwargs): raise AssertionError(f'parsed as a formula: {text}')
    monkeypatch.setattr(matplotlib.mathtext.MathTextParser, 'parse', parse)

# ---- what is looked for

HARMLESS = set('''a abbr b body br caption code dd del div dl dt em figcaption figure footer h1 h2 h3 h4 head header html i img ins kbd li link main meta nav
    ol p s section small span strong style sub sup table tbody td th thead title tr u ul'''.split())

class Elements(HTMLParser):
    "Elements, attributes and text of a page"
    def __init__(self, page):
        super().__init__()
        self.names,self.attributes,self.texts = set(),[],[]
        self.feed(page)
        self.text = ' '.join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes += attrs

    def handle_data(self, data): self.texts.append(data)

def check_html(page, *shown):
    "Nothing in a page runs or loads anything, and the texts `shown` can be read in it"
    found = Elements(page)
    assert found.names<=HARMLESS, found.names-HARMLESS
    assert [name for name,_ in found.attributes if name.startswith('on')]==[]
    links = {value for name,value in found.attributes if name in ('src', 'href', 'action', 'srcset')}
    assert [link for link in links if not link.startswith(('#', 'data:'))]==[]
    assert not CONTROL.search(found.text)
    for text in shown: assert text in found.text, text
    return found

def check_figures(found):
    "Every drawing in a page is well-formed"
    drawings = [value for name,value in found.attributes if name=='src' and value.startswith('data:image/svg+xml')]
    for drawing in drawings: ElementTree.fromstring(base64.b64decode(drawing.partition(',')[2]))
    return len(drawings)

def check_markdown(text, *shown):
    "Markdown has no element of HTML, loads no image, leads nowhere else, and its tables are as wide as their heads"
    md = MarkdownIt('commonmark', dict(html=True)).enable('table')
    tokens = [inner for token in md.parse(text) for inner in [token, *(token.children or [])]]
    assert [token.content for token in tokens if token.type in ('html_block', 'html_inline')]==[]
    links = [token.attrs.get('src') or token.attrs.get('href') for token in tokens if token.type in ('image', 'link_open')]
    assert [link for link in links if 'evil' in link]==[]
    rows = re.findall('<tr>(.*?)</tr>', MarkdownIt('commonmark').enable('table').render(text), re.S)
    assert rows
    assert not CONTROL.search(text)
    words = ''.join(token.content for token in tokens if token.type in ('text', 'code_inline', 'text_special'))
    for label in shown: assert ' '.join(label.split()) in words, label

def check_terminal(said, *shown):
    assert said.code==0, said.text
    assert not CONTROL.search(said.text), CONTROL.findall(said.text)
    joined = re.sub(r'[\s│┃|]+', '', said.text)
    for text in shown: assert re.sub(r'[\s|]+', '', text) in joined, text

# ---- exits

def test_pages_of_a_run(run):
    found = check_html((run/'report.html').read_text(encoding='utf-8'), CATEGORY, HTML)
    assert check_figures(found)>2

@pytest.mark.parametrize('command,page', [('explore', 'explore.html'), ('audit', 'audit.html')])
def test_pages_of_a_table(shop, tmp_path, command, page, capsys):
    weights = ['--arch', 'test_resnet', '--weights', 'none', '--size', '32'] if command=='audit' else []
    said = Said(['data', command, shop, *TARGETS, *weights, '--out', tmp_path/'out'], capsys)
    check_terminal(said)
    check_figures(check_html((tmp_path/'out'/page).read_text(encoding='utf-8')))

def test_card(run):
    text = (run/'MODEL_CARD.md').read_text(encoding='utf-8')
    head,body = text[4:].split('\n---\n', 1)
    assert yaml.safe_load(head)['library_name']=='fashion_fastai'
    check_markdown(body, HTML, RICH, TABLE, CATEGORY)

def test_describe(shop, capsys): check_terminal(Said(['data', 'describe', shop, *TARGETS], capsys), CATEGORY, ATTRIBUTES)

def test_evaluate(run, tmp_path, capsys):
    check_terminal(Said(['evaluate', run, '--slice', BRAND, '--out', tmp_path/'scores.json'], capsys), CATEGORY, BRAND)

def test_commands_print_by_functions_that_escape():
    "A name of a table may be in any line; a notebook that exports a command uses `print_line` and `echo`"
    for path in sorted((Path(__file__).parents[1]/'fashion_fastai/commands').glob('*.py')):
        if path.stem in ('printing', 'app'): continue # where they are defined, and a constant line that is flushed
        assert not re.search(r'(?<![\w.])print\(', path.read_text(encoding='utf-8')), path.name

def test_calibrate(run, capsys): check_terminal(Said(['calibrate', run], capsys), CATEGORY)

def test_similar(run, shop, tmp_path, capsys):
    image = next(path for path in shop.parent.iterdir() if path.suffix=='.png')
    check_terminal(Said(['similar', run, image, '--out', tmp_path/'similar.png'], capsys))

def test_tasks(shop, tmp_path, capsys):
    out = tmp_path/'tasks.json'
    refused = Said(['data', 'tasks', shop, *TARGETS, '--out', out], capsys)
    assert refused.code==2 and 'control character' in refused.text and not CONTROL.search(refused.text)
    readable = pd.read_parquet(shop)
    for name in (CATEGORY, ATTRIBUTES): readable = readable[~readable[name].str.contains(CONTROL)]
    readable.to_parquet(shop.with_name('readable.parquet'))
    check_terminal(Said(['data', 'tasks', shop.with_name('readable.parquet'), *TARGETS, '--out', out], capsys))
    interface = ElementTree.parse(tmp_path/'tasks.xml').getroot()
    assert {element.tag for element in interface.iter()}=={'View', 'Image', 'Text', 'Header', 'Choices', 'Choice'}
    assert HTML in {element.get('value') for element in interface.iter('Choice')}

def test_comparison(run, tmp_path):
    from fashion_fastai.experiments.compare import write_comparison
    from fashion_fastai.experiments.comparison import Comparison
    from fashion_fastai.run import Run
    comparison = Comparison(title=LINK, runs=[dict(name='a')], per_class=[CATEGORY])
    write_comparison(comparison, {HTML: Run(run), TABLE: Run(run)}, tmp_path)
    check_markdown((tmp_path/'comparison.md').read_text(encoding='utf-8'), HTML, CATEGORY, TABLE)

def test_progress_names_targets():
    from types import SimpleNamespace
    from fashion_fastai.training.progress import PlainProgress
    progress,out = PlainProgress(),io.StringIO()
    progress.mock,progress.lr_finder = True,SimpleNamespace(num_it=3)
    progress._open_bar()
    progress.bar.console.file,progress.bar.console.width = out,300
    progress._print(f'{CATEGORY}/accuracy {RICH} {ANSI}')
    progress.bar.stop()
    assert RICH in out.getvalue() and CATEGORY in out.getvalue() and '\x1b[31m' not in out.getvalue()

def test_a_label_of_another_script_is_drawn_without_a_warning(recwarn):
    from fashion_fastai.core.plotting import PageFigure, plot_style
    with plot_style():
        figure = PageFigure(1)
        figure.subplots().set_title(ASIAN)
    figure.savefig(io.BytesIO(), format='png')
    assert [str(warning.message) for warning in recwarn if 'Glyph' in str(warning.message)]==[]

def test_settings_in_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip('tensorboard')
    from fashion_fastai.config import make_config
    from fashion_fastai.training.tracking import TensorBoardTracker
    texts = []
    monkeypatch.setattr('torch.utils.tensorboard.SummaryWriter.add_text', lambda self, name, text, step: texts.append(text))
    tracker = TensorBoardTracker(make_config('two-head', dict(data=dict(path=f'{TABLE}{HTML}.csv'))), tmp_path)
    tracker.write(0., dict(epoch=0))
    tracker.close(True)
    check_markdown(texts[0], HTML)

def test_log_of_the_server():
    pytest.importorskip('uvicorn')
    import logging
    from fashion_fastai.serving.api.server import JsonLines
    record = logging.makeLogRecord(dict(msg=ANSI, fields=dict(path=REVERSED)))
    assert not CONTROL.search(JsonLines().format(record))

# ---- the fragments of the app and of the page of a review

def test_fragments_of_the_app():
    from fashion_fastai.schema import Schema
    from fashion_fastai.serving.app import view
    from fashion_fastai.serving.results import ImageResult
    from fashion_fastai.target import any_of, one_of
    schema = Schema(targets=[one_of(CATEGORY, LABELS), any_of(ATTRIBUTES, LABELS)])
    probs = {target.name: np.full(len(LABELS), 0.6) for target in schema}
    targets = {target.name: target.to_result(probs[target.name]) for target in schema}
    result = ImageResult(HTML, targets, {ATTRIBUTES: dict.fromkeys(LABELS, 0.5)})
    check_html(view.results_html(schema, result), CATEGORY, ATTRIBUTES, HTML)
    for text in LABELS:
        page = view.notice_html(text, text)+view.figure_html('data:,', text, [text])+view.figure_row_html(text, [])
        check_html(page)

@pytest.mark.parametrize('file', ['a.png', ''])
def test_fragments_of_a_review(file):
    pytest.importorskip('streamlit')
    from fashion_fastai.audit.review import Suggestion
    from fashion_fastai.audit.review_page import suggestion_html
    from fashion_fastai.target import any_of
    for text in LABELS:
        suggestion = Suggestion(text, 2, file, ATTRIBUTES, text, text+';'+HTML, 0.9, text, text)
        check_html(suggestion_html(suggestion, any_of(ATTRIBUTES, LABELS, sep=';')))

def shown_by(monkeypatch, module, name):
    "Return a list that receives what an element of Streamlit would read as Markdown"
    texts = []
    monkeypatch.setattr(module.st, 'html', lambda *args, **kwargs: None)
    monkeypatch.setattr(module.st, name, lambda text, *args, **kwargs: texts.append(text))
    return texts

def check_shown(texts):
    assert texts
    for text in texts:
        assert not re.search(r'(?<!\\)!?\[|(?<!\\)\$|(?<!\\):(red|cat)', text), text

def test_button_of_an_example(monkeypatch):
    pytest.importorskip('streamlit')
    from fashion_fastai.serving.app import page
    shown = shown_by(monkeypatch, page, 'button')
    monkeypatch.setattr(page, '_thumbnail', lambda path: 'data:,')
    page._example_button(f'shop/{FILES[1]}', 3, False)
    check_shown(shown)

def test_error_of_a_review(monkeypatch, tmp_path):
    pytest.importorskip('streamlit')
    from fashion_fastai.audit import review_page
    from fashion_fastai.core.errors import UsageError
    shown = shown_by(monkeypatch, review_page, 'error')
    monkeypatch.setattr(review_page.st, 'set_page_config', lambda *args, **kwargs: None)
    def refuse(*args): raise UsageError(f'{tmp_path}: unknown label {LINK} {RICH} {MATH}')
    monkeypatch.setattr(review_page, '_opened', refuse)
    (tmp_path/'review.json').write_text('{}')
    review_page.main(tmp_path)
    check_shown(shown)
