"The site of `make docs`: conversion of notebooks, links, and the check that finds broken ones"
import importlib
import importlib.util
import json
import os
import re
import runpy
import shlex
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1]/'docs'

@pytest.fixture(scope='module')
def site():
    spec = importlib.util.spec_from_file_location('fashion_site', DOCS/'site.py') # `site` itself is Python's own
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

SHOWN = '''---

[source](https://github.com/x/y/blob/main/box.py#L3){target="_blank" style="float:right; font-size:smaller"}

### Box.grow

```python
def grow(
    by:float, # cm
)->__main__.Box:
```

*A larger [`Box`](https://x.github.io/y/box.html#box)*'''

EXPORTED = '#| export\n@patch\ndef grow(self:Box, by): return Box(self.size+by)'

def cell(kind, source, **others): return dict(cell_type=kind, metadata={}, source=source) | others

@pytest.fixture
def notebook():
    return dict(metadata=dict(widgets={}), cells=[
        cell('markdown', '# Box\n\n> A purpose\n\nAn introduction.'),
        cell('markdown', '## Growing'),
        cell('code', EXPORTED, metadata=dict(tags=['hide-input']), outputs=[]),
        cell('code', '#| echo: false\n#| output: asis\nshow_doc(Box.grow)', metadata=dict(execution={'total': 1}),
            outputs=[dict(output_type='execute_result', data={'text/markdown': SHOWN}, metadata={})]),
        cell('code', '#| eval: false\nBox(1).grow(2)', outputs=[]),
        cell('code', '#| echo: false\nBox(1)', outputs=[])])

def test_a_description_stands_before_its_folded_source(site, notebook):
    title, _, shown, source, example, quiet = site.convert(notebook, 'fashion_fastai.box')['cells']
    assert title['source'].split('\n\n')==['# Box', '> A purpose', 'Module `fashion_fastai.box`', 'An introduction.']
    assert shown['cell_type']=='markdown' and shown['source'].startswith('### `Box.grow`\n\n```python\ndef grow(')
    assert '__main__' not in shown['source'] and '[source]' not in shown['source']
    assert source['source'].startswith('@patch') and source['metadata']['tags']==['hide-input']
    assert source['metadata']['mystnb']['code_prompt_show']=='▸ Source of grow'
    assert example['source']=='Box(1).grow(2)' and example['metadata']==dict(tags=[])
    assert quiet['metadata']==dict(tags=['remove-input'])

def test_headings_leave_no_level_out(site, notebook):
    del notebook['cells'][1]
    assert site.convert(notebook)['cells'][1]['source'].startswith('## `Box.grow`')

def test_a_class_is_called_a_class(site):
    shown = '---\n\n### Box\n\n```python\ndef Box(\n    size:float\n)->None:\n```'
    assert 'class Box(\n    size:float\n):' in site.description(shown, 3)

def test_links_of_nbdev_go_to_pages_of_the_site(site):
    pages = {'nbs/02_box.ipynb': 'box.ipynb', 'nbs/tutorials/one.ipynb': 'tutorials/one.ipynb', 'README.md': 'start.md'}
    names = {'box.ipynb': {'box', 'box.grow', 'train'}}
    def link(text, origin='nbs/tutorials/one.ipynb'):
        return site.relink(text, origin, pages, names, 'https://x.github.io/y/', 'https://github.com/x/y')
    assert link('[`Box.grow`](https://x.github.io/y/box.html#box.grow)')=='[`Box.grow`](../box.ipynb#box.grow)'
    assert link('[`Box.size`](https://x.github.io/y/box.html#box.size)')=='[`Box.size`](../box.ipynb#box)'
    assert link('[`_pack`](https://x.github.io/y/box.html#_pack)')=='`_pack`'
    assert link('the part [`train`](https://x.github.io/y/box.html#train)')=='the part `train`'
    assert link('[`train`](https://x.github.io/y/box.html#train)', 'nbs/02_box.ipynb')=='[`train`](box.ipynb#train)'
    assert link('[how](../02_box.ipynb#growing)')=='[how](../box.ipynb#growing)'
    assert link('[[`grow`](https://x.github.io/y/box.html#grow)](../02_box.ipynb)')=='[`grow`](../box.ipynb)'
    assert link('[a tutorial](nbs/tutorials/one.ipynb)', 'README.md')=='[a tutorial](tutorials/one.ipynb)'
    assert link('[licence](LICENSE)', 'README.md')=='[licence](https://github.com/x/y/blob/main/LICENSE)'
    assert link('[fastai](https://docs.fast.ai)')=='[fastai](https://docs.fast.ai)'

def test_the_check_finds_links_that_go_nowhere(site, tmp_path):
    (tmp_path/'a.html').write_text('<h1 id="top">A</h1><a href="b.html#here">1</a><a href="b.html#gone">2</a>'
        '<a href="c.html">3</a><a href="#top">4</a><a href="https://elsewhere.example/x">5</a><img src="no.png">')
    (tmp_path/'b.html').write_text('<p id="here">B</p>')
    assert site.broken_links(tmp_path)==['a.html: b.html#gone', 'a.html: c.html', 'a.html: no.png']

def test_commands_are_written_from_their_help(site):
    import typer
    from fashion_fastai.cli import app
    text = site.command_page(typer.main.get_command(app), 'fashion-fastai', 'Commands')
    assert text.startswith('# Commands\n')
    assert '\n## `fashion-fastai train`\n' in text and '\n### `fashion-fastai data describe`\n' in text
    assert '- `--out' in text

def test_pages_keep_the_given_order_and_none_is_lost(site):
    groups = {'Train': ('gpu', 'not-written-yet', 'resume'), 'Evaluate': ('evaluate',)}
    expected = {'Train': ['gpu', 'resume'], 'Evaluate': ['evaluate'], 'More': ['aardvark', 'zebra']}
    assert site.arranged(['evaluate', 'resume', 'zebra', 'gpu', 'aardvark'], groups)==expected
    assert site.arranged(['b', 'a', 'first'], {'': ('first', 'second')})=={'': ['first', 'a', 'b']}
    assert site.arranged(['gpu'], groups)=={'Train': ['gpu'], 'Evaluate': []}

def test_an_overview_leads_to_its_pages_and_holds_them_in_the_navigation(site):
    pages = {'Files': [('commands.md', 'Commands', 'every command')], 'Nothing': [],
        'Rest': [('how-to/gpu.md', 'On a GPU', '')]}
    text = site.overview('reference/index.md', 'Reference', 'To look up.', pages)
    assert '| [Commands](../commands.md) | every command |' in text
    assert '- [On a GPU](../how-to/gpu.md)' in text and 'Nothing' not in text
    assert text.endswith('```{toctree}\n:hidden:\n\n../commands\n../how-to/gpu\n```\n')

def test_every_setting_is_on_its_page(site):
    from fashion_fastai.config import TrainingConfig
    text = site.settings_page()
    rows = [line for line in text.splitlines() if line.startswith('| `')]
    lines = dict(re.match(r'\| `([\w.]+)` \| (.*) \|$', row).groups() for row in rows)
    assert {f'training.{name}' for name in TrainingConfig.model_fields}<=set(lines)
    assert lines['training.batch_size'].startswith('whole number at least 1, at most 65,536 | `64` | ')
    assert lines['training.lr'].startswith('number above 0 or `auto` | `0.01` | ')
    assert lines['data.empty'].startswith('`none`, `unknown` | `none` | ')
    assert lines['training.stages.epochs'].split(' | ')[1]=='required'

def test_recipes_comparisons_and_formats_are_on_their_pages(site):
    from fashion_fastai.config import packaged_names, read_recipe
    from fashion_fastai.data.formats.registry import FORMATS
    recipes = site.recipes_page()
    formats = site.formats_page()
    assert all(f'\n### `{name}`\n' in recipes for kind in ('recipe', 'comparison') for name in packaged_names(kind))
    assert re.findall('\n## System (.)', recipes)==[*'ABCDE'] and recipes.count('**Differences from the source**')==7
    assert all(deviation.ours in recipes for name in packaged_names('recipe') for deviation in read_recipe(name).deviations)
    assert 'arch: vgg16' in recipes and all(f'\n## `{name}`\n' in formats for name in FORMATS)
    assert "| `any_of` |  | " in formats

def test_hostile_inputs_are_measured_or_described(site, tmp_path):
    template = tmp_path/'docs'/'_templates'/'hostile-inputs.md'
    template.parent.mkdir(parents=True)
    template.write_text('# Hostile inputs\n\nWhat is covered')
    assert 'What is covered' in site.hostile_page(tmp_path)
    (tmp_path/'build').mkdir()
    (tmp_path/'build'/'hostile-inputs.md').write_text('# Hostile inputs\n\n152 inputs')
    assert '152 inputs' in site.hostile_page(tmp_path)

def test_every_notebook_has_a_place_in_the_reference(site):
    packages = {package for _, packages, _ in site.REFERENCE.values() for package in packages}
    notebooks = [path.name for path in (DOCS.parent/'nbs').glob('[!_]*.ipynb')]
    names = {re.sub(r'^\d+_', '', name).split('.')[0] for name in notebooks}
    assert names==packages

def markdown_of(path):
    "Return the Markdown of a page or a notebook, without its code blocks"
    text = path.read_text(encoding='utf-8')
    if path.suffix=='.ipynb':
        cells = json.loads(text)['cells']
        text = '\n\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type']=='markdown')
    return re.sub(r'```.*?```', '', text, flags=re.S)

def test_links_lead_to_files(site):
    "Links to generated pages of the site are allowed within docs/"
    root = DOCS.parent
    pages = [*root.glob('*.md'), *DOCS.rglob('*.md'), root/'data'/'README.md', *(root/'nbs').rglob('*.ipynb')]
    generated = {root/path for path in site.GENERATED}
    broken = []
    for page in pages:
        if '_templates' in page.parts or '.ipynb_checkpoints' in page.parts: continue
        for target in re.findall(r'\]\(([^()\s#:]+)(?:#[^()\s]*)?\)', re.sub('`[^`]*`', '', markdown_of(page))):
            path = Path(os.path.normpath(page.parent/target))
            if not path.exists() and path not in generated: broken.append(f'{page.relative_to(root)}: {target}')
    assert broken==[]

def documented_commands():
    "Yield page, command and arguments of every `fashion-fastai` line in the code blocks and inline code of the docs"
    root = DOCS.parent
    for page in [root/'README.md', root/'CONTRIBUTING.md', root/'data'/'README.md', *DOCS.rglob('*.md')]:
        text = page.read_text(encoding='utf-8').replace('\\\n', ' ')
        for line in re.findall(r'fashion-fastai ([a-z][^\n`]*)', text):
            try: words = shlex.split(line.split(' #')[0])
            except ValueError: continue # a quotation of a message
            yield page.relative_to(root), words

def test_commands_of_the_docs_have_these_options():
    import typer
    from fashion_fastai.cli import app
    wrong = []
    for page, words in documented_commands():
        command = typer.main.get_command(app)
        while words and words[0] in getattr(command, 'commands', {}): command = command.commands[words.pop(0)]
        if hasattr(command, 'commands'): continue # prose
        options = {option for param in command.params for option in param.opts}
        used = [word.split('=')[0] for word in words if word.startswith('--')]
        wrong += [f'{page}: {command.name} {option}' for option in used if option.rstrip('.,;:') not in options]
    assert wrong==[]

def test_imports_of_the_docs_exist():
    root, wrong = DOCS.parent, []
    for page in [root/'README.md', *DOCS.rglob('*.md')]:
        found = re.findall(r'^ *from (fashion_fastai[\w.]*) import ([\w, ]+)', page.read_text(encoding='utf-8'), re.M)
        for module, names in found:
            live = importlib.import_module(module)
            missing = [name for name in names.replace(' ', '').split(',') if not hasattr(live, name)]
            wrong += [f'{page.name}: {module}.{name}' for name in missing]
    assert wrong==[]

def test_the_map_of_the_packages_agrees_with_the_import_rules():
    from test_project import MAY_IMPORT
    text = (DOCS/'explanation'/'packages.md').read_text(encoding='utf-8')
    lines = re.search(r'<!-- imports -->\s*(.*?)\s*<!-- /imports -->', text, re.S)[1].splitlines()
    head, _, *rows = [[cell.strip(' `') for cell in line.strip('|').split('|')] for line in lines]
    documented = {row[0]: {name for name, mark in zip(head[1:], row[1:]) if mark} for row in rows}
    assert documented=={package: set(others)-{package} for package, others in MAY_IMPORT.items()}

def test_the_picture_of_the_packages_is_current():
    module = runpy.run_path(DOCS/'packages_svg.py')
    assert (DOCS/'_static'/'packages.svg').read_text(encoding='utf-8')==module['draw']()

def test_anchors_keep_the_names_of_the_code():
    slug = runpy.run_path(DOCS/'conf.py')['slug']
    headings = 'Box.grow', 'open_run', 'Where it is, and why'
    assert [slug(heading) for heading in headings]==['box.grow', 'open_run', 'where-it-is-and-why']
