"""The notebooks and the Markdown files of the project as a static site

`python docs/site.py` builds `build/docs/html` with Sphinx, myst-nb and furo, and ends with a check of all links within the site;
`python docs/site.py --check` only checks. nbdev's own route to a site needs quarto, which no package carries, so its
processors are called here one by one. Everything happens on a copy in `build/docs`; no example of a notebook is run.
"""
import ast, json, os, re, shutil, sys
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).parent)) # for its neighbour
from reference_pages import arranged, command_page, formats_page, overview, recipes_page, settings_page

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT/'build'/'docs'
COPY,PAGES,HTML = BUILD/'project',BUILD/'pages',BUILD/'html'
FLOORS = { # page of the floor: number of its first notebook, title, what it holds
    'foundations': (0, 'Foundations', 'Targets and their labels, settings, and the folder of a run. Nothing here needs PyTorch.'),
    'data': (10, 'Data', 'From images and labels of any origin to batches.'),
    'models': (20, 'Models', 'One body, a head for each target, and their loss.'),
    'training': (30, 'Training', 'The learner, its schedule and learning rates, and its scores.'),
    'evaluation': (40, 'Evaluation', 'What a network says about many images, and what that is worth.'),
    'serving': (50, 'Serving', 'Answers for new images.'),
    'command-line': (59, 'Command line', 'What the commands do; how they are called stands in [Commands](../commands.md).'),
}
TUTORIALS = 'first_model', 'shop_table', 'learning_rate', 'dirty_catalogue', 'run_to_app', 'several_targets', 'reproduce_system' # their order; others follow by name
HOW_TO = { # the order of the pages that say how something is done; others follow at the end
    'Know and prepare a table': ('explore', 'audit', 'missing-labels', 'taxonomy', 'custom-format'),
    'Train': ('imbalance', 'augmentation', 'training-tricks', 'tune', 'custom-body', 'custom-head', 'gpu', 'devices', 'memory', 'resume', 'trackers'),
    'Judge': ('evaluate', 'thresholds', 'ensembles'),
    'TargetResult': ('app', 'bulk', 'cluster', 'onnx'),
}
EXPLANATION = {'': ('why-one-network', 'two-head-splitter', 'stage-zero', 'progressive-unfreezing', 'what-a-threshold-costs', 'why-the-cpu-path-is-fast')}
FOLDERS = '', 'how-to/', 'explanation/', 'reference/' # of docs/, with Markdown pages; those without a folder are about the project
TOP = 'start', 'results', 'comparison', 'index' # but these
MARKDOWN = {'CONTRIBUTING.md': 'project/contributing.md', 'CHANGELOG.md': 'project/changelog.md', 'SECURITY.md': 'project/security.md', 'data/README.md': 'project/data.md',
    **{f'docs/{folder}{o.name}': f'{folder}{o.name}' if folder or o.stem in TOP else f'project/{o.name}' for folder in FOLDERS for o in sorted((ROOT/'docs'/folder).glob('*.md'))}}
GENERATED = {f'docs/{o}': o for o in ('commands.md', 'reference/settings.md', 'reference/recipes.md', 'reference/formats.md',
    *[f'{o}/index.md' for o in ('tutorials', 'how-to', 'explanation', 'reference', 'project')])} # written by `write_pages`


# Notebooks

def fold_export(cell):
    "nbdev drops exported cells; here they are kept to be folded, and only hidden ones and mere imports go"
    if cell.cell_type!='code': return
    if cell.directives_.keys() & {'hide', 'default_exp'}: del cell['source']
    elif cell.directives_.keys() & {'export', 'exporti'}:
        if all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in cell.parsed_() or []): del cell['source']
        else: cell.metadata['tags'] = ['hide-input']

def examples_rest(cell):
    "nbdev runs whatever has an import in it, to know the names of a signature; here a cell that does more than import is not run"
    if cell.cell_type!='code' or cell.directives_.keys() & {'export', 'exporti', 'exports', 'exec_doc'}: return
    lines = cell.parsed_() or []
    only = (ast.Import, ast.ImportFrom)
    if any(isinstance(o, only) for tree in lines for o in ast.walk(tree)) and not all(isinstance(o, only) for o in lines): cell.directives_['eval'] = 'false'

def processed(path):
    "The notebook at `path` with executed `show_doc` cells and links from names to their definitions"
    from fastcore.nbio import read_nb
    from nbdev import processors as p
    from nbdev.process import NBProcessor
    procs = [p.populate_language, p.add_show_docs, p.strip_ansi, p.hide_line, p.filter_stream_, p.rm_header_dash, p.clean_show_doc,
        examples_rest, p.exec_show_docs, fold_export, p.clean_magics, p.hide_, p.add_links]
    notebook = read_nb(path)
    NBProcessor(nb=notebook, procs=procs, rm_directives='quarto').process()
    return notebook

def description(markdown, level):
    "What `show_doc` wrote, with its heading on `level`; the link to the source goes, since the source stands folded below"
    markdown = re.sub(r'\A---\s*', '', markdown)
    markdown = re.sub(r'^\[source\]\(.*\)\{.*\}\s*', '', markdown)
    markdown = re.sub(r'^#+ (.+)', lambda o: f'{"#"*level} `{o[1]}`', markdown, count=1, flags=re.M)
    return re.sub(r'^def (_*[A-Z]\w*\((?:.|\n)*?)\)(?:->None)?:$', r'class \1):', markdown, count=1, flags=re.M).replace('__main__.', '')

def fold(source):
    "The label of folded source: the names that it defines"
    names = []
    for o in ast.parse(source).body:
        if isinstance(o, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): names.append(o.name)
        names += [n.id for t in getattr(o, 'targets', [getattr(o, 'target', None)]) if t for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    label = 'Source'+(f' of {", ".join(names[:4])}' if names else '')+(' ...' if len(names)>4 else '')
    return dict(code_prompt_show=f'▸ {label}', code_prompt_hide=f'▾ {label}')

def convert(notebook, module=''):
    "A notebook that `processed` made, as a plain one for myst-nb: `show_doc` cells are Markdown, each source folded behind them"
    cells,fuse_conv_bn,level = [],[],2
    for cell in notebook['cells']:
        source = ''.join(cell['source'])
        echo = not re.search(r'^#\|\s*echo:\s*false', source, re.M)
        shown = [''.join(o['data']['text/markdown']) for o in cell.get('outputs', []) if 'text/markdown' in o.get('data', {})]
        tags = list(cell.get('metadata', {}).get('tags', [])) + ([] if echo else ['remove-input'])
        source = re.sub(r'^#\|.*\n?', '', source, flags=re.M) if cell['cell_type']=='code' else source
        if cell['cell_type']=='code' and source.startswith('show_doc') and shown:
            cells.append(dict(cell_type='markdown', metadata={}, source=description(shown[0], level)))
            continue
        cells += fuse_conv_bn
        fuse_conv_bn = []
        if cell['cell_type']=='code':
            if not source.strip(): continue
            code = dict(cell_type='code', metadata=dict(tags=tags), source=source, outputs=cell.get('outputs', []), execution_count=None)
            if 'hide-input' in tags:
                code['metadata']['mystnb'] = fold(source)
                fuse_conv_bn = [code]
            else: cells.append(code)
        elif cell['cell_type']=='markdown':
            if re.search(r'^## ', source, re.M): level = 3
            if not cells and module: source = re.sub(r'^(> .*)$', rf'\1\n\nModule `{module}`', source, count=1, flags=re.M)
            cells.append(dict(cell_type='markdown', metadata={}, source=source))
    kernel = dict(kernelspec=dict(name='python3', display_name='Python 3'), language_info=dict(name='python'))
    return dict(nbformat=4, nbformat_minor=4, metadata=kernel, cells=cells+fuse_conv_bn)

def headings(notebook):
    "The headings of a converted notebook, as nbdev writes them in links"
    text = '\n'.join(o['source'] for o in notebook['cells'] if o['cell_type']=='markdown')
    return {o.strip('` ').lower() for o in re.findall(r'^#+ (.+)$', text, re.M)}


# Links

def relink(markdown, origin, pages, names, site, repository):
    """Links of a file at `origin` in the repository, made right for its page

    `pages` maps paths of the repository to pages, `names` a page to the names it defines. nbdev's links are absolute, from `site`
    on; a plain word such as `train` stays one on the page of `train` alone, for elsewhere it means something else."""
    here = PurePosixPath(pages[origin]).parent
    to = lambda page, anchor: os.path.relpath(page, here) + (f'#{anchor}' if anchor else '')
    def fix(match):
        text,target = match.groups()
        if target.startswith(site):
            page,_,name = target.removeprefix(site).lstrip('/').partition('#')
            page = page.removesuffix('.html')+'.ipynb'
            if re.fullmatch('`[a-z]+`', text) and page!=pages[origin]: return text
            found = next((o for o in (name, name.split('.')[0]) if o in names.get(page, ())), None)
            return f'[{text}]({to(page, found)})' if found else text
        parts = urlsplit(target)
        if parts.scheme or not parts.path: return match[0]
        path = os.path.normpath(PurePosixPath(origin).parent/unquote(parts.path))
        if path in pages: return f'[{text}]({to(pages[path], parts.fragment)})'
        return f'[{text}]({repository}/blob/main/{path})' if (ROOT/path).exists() else match[0]
    return re.sub(r'\[((?:`[^`]*`|[^\[\]`])+)\]\(([^()\s]+)\)', fix, markdown)

class Links(HTMLParser):
    "The anchors of a page, and what it links to"
    def __init__(self, text):
        super().__init__()
        self.anchors,self.targets = set(),[]
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[o] for o in ('id', 'name') if attrs.get(o)}
        self.targets += [attrs[o] for o in ('href', 'src') if attrs.get(o)]

def broken_links(folder):
    "Every link within the site in `folder` whose page, file or anchor does not exist, as `page: link`"
    folder = Path(folder).resolve()
    pages = {o: Links(o.read_text(encoding='utf-8')) for o in sorted(folder.rglob('*.html'))}
    broken = []
    for page,links in pages.items():
        for target in dict.fromkeys(links.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc: continue
            path = (page.parent/unquote(parts.path)).resolve() if parts.path else page
            missing = not path.is_file() or not path.is_relative_to(folder)
            if missing or (parts.fragment and path in pages and unquote(parts.fragment) not in pages[path].anchors):
                broken.append(f'{page.relative_to(folder)}: {target}')
    return broken


# Pages

def first_line(pattern, text): return found[1].strip() if (found:=re.search(pattern, text, re.M)) else ''

def write(page, text):
    "Write a page"
    path = PAGES/page
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')

def enter_copy():
    "Copy what nbdev reads to `COPY`, and go there: whatever it writes stays out of the repository"
    shutil.rmtree(BUILD, ignore_errors=True)
    COPY.mkdir(parents=True)
    for name in ('nbs', 'fashion_fastai'): shutil.copytree(ROOT/name, COPY/name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for name in ('pyproject.toml', 'settings.ini'): shutil.copy(ROOT/name, COPY)
    os.chdir(COPY)
    sys.path.insert(0, str(COPY))
    os.environ['MPLBACKEND'] = 'agg'

def page_of(origin): # nbs/12_data.catalogue.ipynb is data.catalogue.ipynb, as in nbdev
    path = PurePosixPath(origin).relative_to('nbs')
    return str(path.with_name(re.sub(r'^\d+_', '', path.name)))

def number(origin): return int(re.match(r'\d*', PurePosixPath(origin).name)[0] or 0)

def convert_all(origins):
    "The converted notebooks, by their path in the repository; an error names the notebook that it comes from"
    from nbdev.doclinks import nbdev_export
    nbdev_export() # the modules, and the index that links are found in, are as the notebooks say
    converted = {}
    for origin in origins:
        name = page_of(origin).removesuffix('.ipynb')
        module = f'fashion_fastai.{name}' if Path('fashion_fastai', *name.split('.')).with_suffix('.py').exists() else ''
        try: converted[origin] = convert(processed(origin), module)
        except Exception as e: raise SystemExit(f'{origin}: {e}') from e
    return converted

def title_of(origin): return first_line(r'^# (.+)', (ROOT/origin).read_text(encoding='utf-8'))

def markdown_groups(folder, groups):
    "The Markdown pages of a folder of docs/, as `overview` wants them"
    pages = {PurePosixPath(o).stem: o for o in MARKDOWN if PurePosixPath(o).parent==PurePosixPath('docs', folder)}
    return {k: [(MARKDOWN[pages[o]], title_of(pages[o]), '') for o in v] for k,v in arranged(pages, groups).items()}

def write_overviews(origins, converted):
    "Write the pages that lead to others"
    opening = {o: re.match(r'# (.+)\n+(?:> (.+))?', converted[o]['cells'][0]['source']) for o in origins}
    entry = lambda o: (page_of(o), opening[o][1], opening[o][2] or '')
    tutorials = {PurePosixPath(page_of(o)).stem: o for o in origins if PurePosixPath(o).parent.name=='tutorials'}
    order = [o for v in arranged(tutorials, {'': TUTORIALS}).values() for o in v]
    write('tutorials/index.md', overview('tutorials/index.md', 'Tutorials', 'Notebooks that were run: read them here, or open them in Jupyter from `nbs/tutorials/` and change them.',
        {'': [entry(tutorials[o]) for o in order]}))
    write('how-to/index.md', overview('how-to/index.md', 'How to', 'One page for one thing that you want done.', markdown_groups('how-to', HOW_TO)))
    write('explanation/index.md', overview('explanation/index.md', 'Explanations', 'Why it is as it is, with the figures that were measured.', markdown_groups('explanation', EXPLANATION)))
    floor_of = lambda origin: max((o for o in FLOORS if FLOORS[o][0]<=number(origin)), key=lambda o: FLOORS[o][0])
    for floor,(_,title,about) in FLOORS.items():
        page = f'reference/{floor}.md'
        write(page, overview(page, title, about, {'': [entry(o) for o in origins if PurePosixPath(o).parent.name=='nbs' and floor_of(o)==floor]}))
    write('reference/index.md', overview('reference/index.md', 'Reference', 'To look things up.', {
        'Files and commands': [('commands.md', 'Commands', 'every command and its options'), ('reference/settings.md', 'Settings', 'everything that a training depends on'),
            ('reference/recipes.md', 'Recipes and comparisons', 'named settings, and comparisons of them'), ('reference/formats.md', 'Formats', 'what tables and images can come in'),
            ('reference/run-folder.md', 'The run folder', 'what a training leaves behind')],
        'Modules': [(f'reference/{o}.md', title, re.split('[.;]', about)[0]) for o,(_,title,about) in FLOORS.items()]}))
    project = [(page, title_of(o), '') for o,page in MARKDOWN.items() if page.startswith('project/')]
    write('project/index.md', overview('project/index.md', 'Project', '', {'': project}))

def write_pages():
    "Write all pages of the site to `PAGES`"
    from nbdev.config import get_config
    config = get_config()
    origins = sorted((str(o) for o in Path('nbs').rglob('[!_.]*.ipynb')), key=lambda o: (number(o), o))
    images = {f'docs/_static/{o.name}': f'_static/{o.name}' for o in (ROOT/'docs/_static').glob('*.png')}
    pages = {o: page_of(o) for o in origins} | MARKDOWN | GENERATED | {'README.md': 'index.md'} | images
    for origin,page in images.items():
        (PAGES/page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/origin, PAGES/page)
    converted = convert_all(origins)
    names = {pages[o]: headings(notebook) for o,notebook in converted.items()}
    fix = lambda text, origin: relink(text, origin, pages, names, config.doc_url, config.git_url)
    for origin,notebook in converted.items():
        for cell in notebook['cells']:
            if cell['cell_type']=='markdown': cell['source'] = fix(cell['source'], origin)
        write(pages[origin], json.dumps(notebook))
    for origin,page in MARKDOWN.items(): write(page, fix((ROOT/origin).read_text(encoding='utf-8'), origin))
    write_overviews(origins, converted)
    write_reference(fix)

def write_reference(fix):
    "Write the pages that are made from code; names in their tables lead to their definitions"
    import typer
    from nbdev.doclinks import NbdevLookup
    from fashion_fastai.cli import app
    linked = NbdevLookup().linkify
    write('commands.md', command_page(typer.main.get_command(app), 'fashion-fastai', 'Commands'))
    for name,text in (('settings', settings_page()), ('recipes', recipes_page()), ('formats', formats_page())):
        write(f'reference/{name}.md', fix(linked(text) if name!='recipes' else text, f'docs/reference/{name}.md'))

def build():
    "Write the pages and make the site of them; the exit code of Sphinx, for which a warning is a failure"
    enter_copy()
    write_pages()
    from sphinx.cmd.build import main as sphinx
    return sphinx(['-q', '-W', '--keep-going', '-c', str(ROOT/'docs'), '-d', str(BUILD/'doctrees'), str(PAGES), str(HTML)])

def main():
    "Build unless `--check` is given, then check the links; the exit code says whether all is well"
    failed = 0 if '--check' in sys.argv[1:] else build()
    broken,n_pages = broken_links(HTML),len(list(HTML.rglob('*.html')))
    print(*broken, f'{len(broken)} broken links in {n_pages} pages of {HTML}', sep='\n')
    return int(bool(failed or broken or not n_pages))

if __name__=='__main__': sys.exit(main())
