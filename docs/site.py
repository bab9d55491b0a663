"""Build the static site from the notebooks and the Markdown files of the project

`python docs/site.py` builds `build/docs/html` with Sphinx, myst-nb and furo, then checks every link within the site;
`python docs/site.py --check` only checks. nbdev's own route to a site needs quarto, which no Python package ships, so
its processors are called here one by one. All work is done on a copy in `build/docs`; no example is executed.
"""
import ast
import json
import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).parent)) # for the module beside this one
from reference_pages import (arranged, command_page, formats_page, hostile_page, overview, recipes_page,
    settings_page)

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT/'build'/'docs'
COPY, PAGES, HTML = BUILD/'project', BUILD/'pages', BUILD/'html'

TOP_MODULES = 'target', 'schema', 'config', 'run', 'metrics' # the nouns of the library
# page of the reference: title, packages, what they hold; in the order of the packages, from the ground up
REFERENCE = {
    'foundations': ('Foundations', ('core', *TOP_MODULES), 'Files and errors, then the nouns of the library: targets, '
        'schema, settings, the run folder and the scores. Nothing here needs PyTorch.'),
    'data': ('Data', ('data',), 'From images and labels in any format to batches.'),
    'models': ('Models', ('models',), 'One body, a head for each target, and the loss.'),
    'embeddings': ('Embeddings', ('embeddings',), 'Features of a body: nearest neighbours, similarity search, '
        'out-of-distribution detection and drift.'),
    'training': ('Training', ('training',), 'The learner, its callbacks, stages, learning rates and checkpoints.'),
    'evaluation': ('Evaluation', ('evaluation',), 'Predictions, calibration, scores with intervals, interpretation, '
        'report and model card.'),
    'audit': ('Audit', ('audit',), 'Problems of a table: leaks, duplicates, broken images, label errors.'),
    'serving': ('Serving', ('serving',), 'Predictions for new images: one or a million, by ONNX, over HTTP, on a '
        'cluster, in a browser.'),
    'experiments': ('Experiments', ('experiments', 'tuning'), 'From settings to a run, comparisons of settings, and '
        'the search for better ones.'),
    'command-line': ('Command line', ('all', 'commands', 'cli'), 'One Typer command for each verb; how to call '
        'them is on the page [Commands](../commands.md). `all` gathers the names for notebooks.'),
}
# the order of the tutorials; others follow by name
TUTORIALS = ('first_model', 'shop_table', 'learning_rate', 'dirty_catalogue', 'run_to_app', 'several_targets',
    'reproduce_system')
HOW_TO = { # the order of the how-to pages; others follow at the end
    'Understand and clean a table': ('tables', 'file-names', 'fetch', 'explore', 'audit', 'review', 'missing-labels',
        'taxonomy', 'applies', 'custom-format'),
    'Train': ('imbalance', 'augmentation', 'training-tricks', 'tune', 'custom-body', 'zero-shot', 'custom-head', 'gpu',
        'devices', 'memory', 'resume', 'trackers'),
    'Evaluate': ('evaluate', 'compare', 'protocols', 'thresholds', 'accept', 'ensembles'),
    'Predict': ('app', 'serve', 'bulk', 'cluster', 'onnx'),
}
EXPLANATION = {'': ('packages', 'why-one-network', 'two-head-splitter', 'linear-probe', 'progressive-unfreezing',
    'minutes', 'what-a-threshold-costs', 'why-the-cpu-path-is-fast')}
FOLDERS = '', 'how-to/', 'explanation/', 'reference/' # of docs/, with Markdown pages
# of docs/ itself; the other pages there are about the project
TOP_PAGES = 'start', 'results', 'history', 'glossary', 'comparison', 'not-for', 'index'


def markdown_pages():
    "Return the Markdown files that become pages: path in the repository -> page of the site"
    pages = {'CONTRIBUTING.md': 'project/contributing.md', 'CHANGELOG.md': 'project/changelog.md',
        'SECURITY.md': 'project/security.md', 'data/README.md': 'project/data.md'}
    for folder in FOLDERS:
        for path in sorted((ROOT/'docs'/folder).glob('*.md')):
            about_project = not folder and path.stem not in TOP_PAGES
            pages[f'docs/{folder}{path.name}'] = f'project/{path.name}' if about_project else f'{folder}{path.name}'
    return pages

MARKDOWN = markdown_pages()
INDEXES = 'tutorials', 'how-to', 'explanation', 'reference', 'project'
GENERATED = {f'docs/{page}': page for page in ('commands.md', 'reference/settings.md', 'reference/recipes.md',
    'reference/formats.md', *[f'{folder}/index.md' for folder in INDEXES])} # written by `write_pages`
GENERATED['docs/hostile-inputs.md'] = 'project/hostile-inputs.md'


# Notebooks

def only_imports(statements): return all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in statements)

def fold_export(cell):
    "Keep exported cells, which nbdev drops, to be folded; drop only hidden cells and mere imports"
    if cell.cell_type!='code': return
    if cell.directives_.keys() & {'hide', 'default_exp'}: del cell['source']
    elif cell.directives_.keys() & {'export', 'exporti'}:
        if only_imports(cell.parsed_() or []): del cell['source']
        else: cell.metadata['tags'] = ['hide-input']

def skip_examples(cell):
    """Mark a cell that does more than import so that nbdev does not run it

    nbdev runs every cell that has an import, to resolve the names in signatures."""
    exported = {'export', 'exporti', 'exports', 'exec_doc'}
    if cell.cell_type!='code' or cell.directives_.keys() & exported: return
    statements = cell.parsed_() or []
    nodes = [node for statement in statements for node in ast.walk(statement)]
    if any(only_imports([node]) for node in nodes) and not only_imports(statements): cell.directives_['eval'] = 'false'

def processed(path):
    "Return the notebook at `path` with executed `show_doc` cells and links from names to their definitions"
    from fastcore.nbio import read_nb
    from nbdev import processors as p
    from nbdev.process import NBProcessor
    procs = [p.populate_language, p.add_show_docs, p.strip_ansi, p.hide_line, p.filter_stream_, p.rm_header_dash,
        p.clean_show_doc, skip_examples, p.exec_show_docs, fold_export, p.clean_magics, p.hide_, p.add_links]
    notebook = read_nb(path)
    NBProcessor(nb=notebook, procs=procs, rm_directives='quarto').process()
    return notebook

def description(markdown, level):
    "Return what `show_doc` wrote, its heading on `level`, without the link to the source, which is folded below it"
    markdown = re.sub(r'\A---\s*', '', markdown)
    markdown = re.sub(r'^\[source\]\(.*\)\{.*\}\s*', '', markdown)
    markdown = re.sub(r'^#+ (.+)', rf'{"#"*level} `\1`', markdown, count=1, flags=re.M)
    as_class = r'^def (_*[A-Z]\w*\((?:.|\n)*?)\)(?:->None)?:$'
    return re.sub(as_class, r'class \1):', markdown, count=1, flags=re.M).replace('__main__.', '')

def defined_names(source):
    "Return the names that `source` defines at its top level"
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): names.append(node.name)
        targets = getattr(node, 'targets', [getattr(node, 'target', None)])
        stored = [inner for target in targets if target for inner in ast.walk(target) if isinstance(inner, ast.Name)]
        names += [inner.id for inner in stored if isinstance(inner.ctx, ast.Store)]
    return names

def fold_label(source):
    "Return the labels of a folded source cell, from the names that it defines"
    names = defined_names(source)
    label = 'Source'+(f' of {", ".join(names[:4])}' if names else '')+(' ...' if len(names)>4 else '')
    return dict(code_prompt_show=f'▸ {label}', code_prompt_hide=f'▾ {label}')

def shown_markdown(cell):
    "Return the Markdown outputs of a cell"
    data = [output.get('data', {}) for output in cell.get('outputs', [])]
    return [''.join(kinds['text/markdown']) for kinds in data if 'text/markdown' in kinds]

def code_cell(cell, source):
    "Return a code cell for myst-nb"
    hidden = re.search(r'^#\|\s*echo:\s*false', ''.join(cell['source']), re.M)
    tags = [*cell.get('metadata', {}).get('tags', []), *(['remove-input'] if hidden else [])]
    converted = dict(cell_type='code', metadata=dict(tags=tags), source=source, outputs=cell.get('outputs', []),
        execution_count=None)
    if 'hide-input' in tags: converted['metadata']['mystnb'] = fold_label(source)
    return converted

def markdown_cell(source): return dict(cell_type='markdown', metadata={}, source=source)

def convert(notebook, module=''):
    "Return a notebook of `processed` as a plain one for myst-nb: `show_doc` as Markdown, each source folded below it"
    cells, folded, level = [], [], 2
    for cell in notebook['cells']:
        is_code, source = cell['cell_type']=='code', ''.join(cell['source'])
        if is_code: source = re.sub(r'^#\|.*\n?', '', source, flags=re.M)
        shown = shown_markdown(cell)
        if is_code and source.startswith('show_doc') and shown:
            cells.append(markdown_cell(description(shown[0], level)))
            continue
        cells += folded
        folded = []
        if is_code and source.strip():
            code = code_cell(cell, source)
            (folded if 'mystnb' in code['metadata'] else cells).append(code)
        elif cell['cell_type']=='markdown':
            if re.search(r'^## ', source, re.M): level = 3
            if not cells and module:
                source = re.sub(r'^(> .*)$', rf'\1\n\nModule `{module}`', source, count=1, flags=re.M)
            cells.append(markdown_cell(source))
    kernel = dict(kernelspec=dict(name='python3', display_name='Python 3'), language_info=dict(name='python'))
    return dict(nbformat=4, nbformat_minor=4, metadata=kernel, cells=cells+folded)

def headings(notebook):
    "Return the headings of a converted notebook, spelled as in nbdev's links"
    text = '\n'.join(cell['source'] for cell in notebook['cells'] if cell['cell_type']=='markdown')
    return {heading.strip('` ').lower() for heading in re.findall(r'^#+ (.+)$', text, re.M)}


# Links

def relink(markdown, origin, pages, names, site, repository):
    """Return `markdown` of the file at `origin` in the repository with links that are right for its page

    `pages` maps paths of the repository to pages, `names` a page to the names that it defines. nbdev's links
    are absolute and begin with `site`. A plain word such as `train` becomes a link only on the page of `train`,
    because elsewhere it means something else."""
    here = PurePosixPath(pages[origin]).parent
    def link_to(text, page, anchor): return f'[{text}]({os.path.relpath(page, here)}{f"#{anchor}" if anchor else ""})'
    def of_nbdev(text, target):
        page, _, name = target.removeprefix(site).lstrip('/').partition('#')
        page = page.removesuffix('.html')+'.ipynb'
        if re.fullmatch('`[a-z]+`', text) and page!=pages[origin]: return text
        anchor = next((known for known in (name, name.split('.')[0]) if known in names.get(page, ())), None)
        return link_to(text, page, anchor) if anchor else text
    def fix(match):
        text, target = match.groups()
        if target.startswith(site): return of_nbdev(text, target)
        parts = urlsplit(target)
        if parts.scheme or not parts.path: return match[0]
        path = os.path.normpath(PurePosixPath(origin).parent/unquote(parts.path))
        if path in pages: return link_to(text, pages[path], parts.fragment)
        return f'[{text}]({repository}/blob/main/{path})' if (ROOT/path).exists() else match[0]
    # nbdev links a name although it is the text of a link already: the inner link goes
    markdown = re.sub(r'\[\[(`[^`]*`)\]\([^()\s]+\)\]\(([^()\s]+)\)', r'[\1](\2)', markdown)
    return re.sub(r'\[((?:`[^`]*`|[^\[\]`])+)\]\(([^()\s]+)\)', fix, markdown)

class Links(HTMLParser):
    "The anchors of a page, and the targets of its links"
    def __init__(self, text):
        super().__init__()
        self.anchors, self.targets = set(), []
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[name] for name in ('id', 'name') if attrs.get(name)}
        self.targets += [attrs[name] for name in ('href', 'src') if attrs.get(name)]

def broken_links(folder):
    "Return every link within the site in `folder` whose page, file or anchor does not exist, as `page: link`"
    folder = Path(folder).resolve()
    pages = {path: Links(path.read_text(encoding='utf-8')) for path in sorted(folder.rglob('*.html'))}
    broken = []
    for page, links in pages.items():
        for target in dict.fromkeys(links.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc: continue
            path = (page.parent/unquote(parts.path)).resolve() if parts.path else page
            missing = not path.is_file() or not path.is_relative_to(folder)
            no_anchor = parts.fragment and path in pages and unquote(parts.fragment) not in pages[path].anchors
            if missing or no_anchor: broken.append(f'{page.relative_to(folder)}: {target}')
    return broken


# Pages

def write(page, text):
    "Write a page"
    path = PAGES/page
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')

def enter_copy():
    "Copy what nbdev reads to `COPY` and change to it, so that whatever nbdev writes stays out of the repository"
    shutil.rmtree(BUILD, ignore_errors=True)
    COPY.mkdir(parents=True)
    ignore = shutil.ignore_patterns('__pycache__', '.*')
    for name in ('nbs', 'fashion_fastai'): shutil.copytree(ROOT/name, COPY/name, ignore=ignore)
    for name in ('pyproject.toml', 'settings.ini'): shutil.copy(ROOT/name, COPY)
    os.chdir(COPY)
    sys.path.insert(0, str(COPY))
    os.environ['MPLBACKEND'] = 'agg'

def page_of(origin):
    "Return the page of a notebook: that of nbs/12_data.catalogue.ipynb is data.catalogue.ipynb, as in nbdev"
    path = PurePosixPath(origin).relative_to('nbs')
    return str(path.with_name(re.sub(r'^\d+_', '', path.name)))

def number(origin): return int(re.match(r'\d*', PurePosixPath(origin).name)[0] or 0)

def is_tutorial(origin): return PurePosixPath(origin).parent.name=='tutorials'

def module_of(origin):
    "Return the module that a notebook exports; empty for a tutorial"
    name = page_of(origin).removesuffix('.ipynb')
    exists = Path('fashion_fastai', *name.split('.')).with_suffix('.py').exists()
    return f'fashion_fastai.{name}' if exists else ''

def convert_all(origins):
    "Return the converted notebooks by their path in the repository; an error names the notebook"
    from nbdev.doclinks import nbdev_export
    nbdev_export() # modules and the index of names must agree with the notebooks
    converted = {}
    for origin in origins:
        try: converted[origin] = convert(processed(origin), module_of(origin))
        except Exception as e: raise SystemExit(f'{origin}: {e}') from e
    return converted

def title_of(origin):
    "Return the first heading of a Markdown file"
    found = re.search(r'^# (.+)', (ROOT/origin).read_text(encoding='utf-8'), re.M)
    return found[1].strip() if found else ''

def markdown_groups(folder, groups):
    "Return the Markdown pages of a folder of docs/ in the form that `overview` takes"
    paths = [path for path in MARKDOWN if PurePosixPath(path).parent==PurePosixPath('docs', folder)]
    pages = {PurePosixPath(path).stem: path for path in paths}
    return {heading: [(MARKDOWN[pages[stem]], title_of(pages[stem]), '') for stem in stems]
        for heading, stems in arranged(pages, groups).items()}

def notebook_entry(origin, converted):
    "Return page, title and purpose of a notebook"
    found = re.match(r'# (.+)\n+(?:> (.+))?', converted[origin]['cells'][0]['source'])
    if not found: raise SystemExit(f'{origin}: the first cell must begin with a line `# Title`')
    return page_of(origin), found[1], found[2] or ''

def write_overviews(origins, converted):
    "Write the index pages"
    tutorials = {PurePosixPath(page_of(origin)).stem: origin for origin in origins if is_tutorial(origin)}
    order = [stem for stems in arranged(tutorials, {'': TUTORIALS}).values() for stem in stems]
    pages = [notebook_entry(tutorials[stem], converted) for stem in order]
    about = 'Executed notebooks: read them here, or open them in Jupyter from `nbs/tutorials/` and change them.'
    write('tutorials/index.md', overview('tutorials/index.md', 'Tutorials', about, {'': pages}))
    pages = markdown_groups('how-to', HOW_TO)
    write('how-to/index.md', overview('how-to/index.md', 'How to', 'One page for each task.', pages))
    pages = markdown_groups('explanation', EXPLANATION)
    about = 'Why the library works the way it does.'
    write('explanation/index.md', overview('explanation/index.md', 'Explanations', about, pages))
    pages = [(page, title_of(path), '') for path, page in MARKDOWN.items() if page.startswith('project/')]
    pages.append(('project/hostile-inputs.md', 'Hostile inputs', ''))
    write('project/index.md', overview('project/index.md', 'Project', '', {'': pages}))
    write_reference_index(origins, converted)

def write_reference_index(origins, converted):
    "Write the index of the reference and a page for each of its parts"
    library = [origin for origin in origins if not is_tutorial(origin)]
    for part, (title, packages, about) in REFERENCE.items():
        page = f'reference/{part}.md'
        own = [origin for origin in library if page_of(origin).split('.')[0] in packages]
        own.sort(key=lambda origin: (number(origin), origin))
        write(page, overview(page, title, about, {'': [notebook_entry(origin, converted) for origin in own]}))
    files = [('commands.md', 'Commands', 'every command and its options'),
        ('reference/settings.md', 'Settings', 'everything that a training depends on'),
        ('reference/recipes.md', 'Recipes and comparisons', 'named settings, and comparisons of them'),
        ('reference/formats.md', 'Formats', 'the formats of tables and images'),
        ('reference/run-folder.md', 'The run folder', 'the files of a run'),
        ('reference/fastai.md', 'fastai idioms', 'what becomes of the code of a user of fastai')]
    modules = [(f'reference/{part}.md', title, re.split('[.;]', about)[0])
        for part, (title, _, about) in REFERENCE.items()]
    groups = {'Files and commands': files, 'Modules': modules}
    write('reference/index.md', overview('reference/index.md', 'Reference', 'Look things up.', groups))

def write_pages():
    "Write all pages of the site to `PAGES`"
    from nbdev.config import get_config
    config = get_config()
    notebooks = [str(path) for path in Path('nbs').rglob('[!_.]*.ipynb')]
    origins = sorted(notebooks, key=lambda origin: (number(origin), origin))
    figures = [path for path in (ROOT/'docs/_static').iterdir() if path.suffix in ('.png', '.svg')]
    images = {f'docs/_static/{path.name}': f'_static/{path.name}' for path in figures}
    pages = {origin: page_of(origin) for origin in origins} | MARKDOWN | GENERATED | {'README.md': 'index.md'} | images
    for origin, page in images.items():
        (PAGES/page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/origin, PAGES/page)
    converted = convert_all(origins)
    names = {pages[origin]: headings(notebook) for origin, notebook in converted.items()}
    def fix(text, origin): return relink(text, origin, pages, names, config.doc_url, config.git_url)
    for origin, notebook in converted.items():
        for cell in notebook['cells']:
            if cell['cell_type']=='markdown': cell['source'] = fix(cell['source'], origin)
        write(pages[origin], json.dumps(notebook))
    for origin, page in MARKDOWN.items(): write(page, fix((ROOT/origin).read_text(encoding='utf-8'), origin))
    write_overviews(origins, converted)
    write_reference(fix)

def write_reference(fix):
    "Write the pages that are generated from code; names in their tables link to their definitions"
    import typer
    from fashion_fastai.cli import app
    from nbdev.doclinks import NbdevLookup
    link_names = NbdevLookup().linkify
    write('commands.md', command_page(typer.main.get_command(app), 'fashion-fastai', 'Commands'))
    write('reference/recipes.md', fix(recipes_page(), 'docs/reference/recipes.md'))
    for name, text in (('settings', settings_page()), ('formats', formats_page())):
        write(f'reference/{name}.md', fix(link_names(text), f'docs/reference/{name}.md'))
    write('project/hostile-inputs.md', fix(hostile_page(ROOT), 'docs/hostile-inputs.md'))

def build():
    "Write the pages and build the site; return the exit code of Sphinx, for which a warning is a failure"
    enter_copy()
    write_pages()
    from sphinx.cmd.build import main as sphinx
    options = ['-q', '-W', '--keep-going', '-c', str(ROOT/'docs'), '-d', str(BUILD/'doctrees')]
    return sphinx([*options, str(PAGES), str(HTML)])

def main():
    "Build unless `--check` is given, then check the links; return the exit code"
    failed = 0 if '--check' in sys.argv[1:] else build()
    broken, n_pages = broken_links(HTML), len(list(HTML.rglob('*.html')))
    print(*broken, f'{len(broken)} broken links in {n_pages} pages of {HTML}', sep='\n')
    return int(bool(failed or broken or not n_pages))

if __name__=='__main__': sys.exit(main())
