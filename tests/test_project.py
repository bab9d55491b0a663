"The project agrees with itself"
import ast, json, re, subprocess, sys
from configparser import ConfigParser
from pathlib import Path
import fashion_fastai

ROOT = Path(__file__).parents[1]

def test_version_stands_in_settings_and_package():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini')
    assert config['DEFAULT']['version']==fashion_fastai.__version__

def test_help_imports_nothing_heavy():
    code = "import sys; from fashion_fastai.cli import main; main(['train', '--help']); print([o for o in ('torch','fastai','timm','pandas','matplotlib') if o in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.endswith('[]\n')

def test_low_floors_know_no_torch():
    code = "import sys, fashion_fastai.schema, fashion_fastai.config, fashion_fastai.run, fashion_fastai.data.catalogue; print([o for o in ('torch','fastai','timm') if o in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout=='[]\n'

def test_outputs_of_notebooks_are_small():
    "A library notebook keeps none, a tutorial at most 300 KB: what is larger belongs into a figure of the docs"
    size = lambda path: sum(len(json.dumps(o.get('outputs', []))) for o in json.loads(path.read_text(encoding='utf-8'))['cells'])
    found = {o.relative_to(ROOT).as_posix(): size(o) for o in sorted((ROOT/'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in o.parts}
    assert {k: v for k,v in found.items() if v>300_000}=={}

# who may import whom: a package imports from itself and from those named here (docs/explanation/packages.md draws it)
GROUND = {'core', 'nouns'}
MODEL_SIDE = GROUND | {'data', 'models', 'embeddings', 'training', 'evaluation'}
MAY_IMPORT = {
    'core': set(),
    'nouns': {'core'},
    'data': GROUND,
    'models': GROUND,
    'embeddings': GROUND | {'data', 'models'},
    'training': GROUND | {'data', 'models', 'embeddings'},
    'evaluation': MODEL_SIDE,
    'audit': MODEL_SIDE,
    'serving': MODEL_SIDE,
    'experiments': MODEL_SIDE | {'audit'},
    'tuning': MODEL_SIDE | {'audit', 'experiments'},
    'commands': MODEL_SIDE | {'audit', 'serving', 'experiments', 'tuning'},
    'all': MODEL_SIDE | {'audit', 'serving', 'experiments', 'tuning'},
    'cli': {'core', 'commands'},
}
NOUNS = 'target', 'schema', 'config', 'run', 'metrics'
NO_TORCH = 'core', 'nouns', 'cli'

def modules():
    "Name and syntax tree of every module"
    for path in sorted((ROOT/'fashion_fastai').rglob('*.py')):
        if path.name.startswith('_'): continue
        yield '.'.join(path.relative_to(ROOT/'fashion_fastai').with_suffix('').parts), ast.parse(path.read_text(encoding='utf-8'))

def package_of(module):
    "The package of a module by its dotted name; the nouns at the top count as one"
    return 'nouns' if module in NOUNS else module.split('.')[0]

def imported(module, tree):
    "Module and line of everything that `module` imports, its own package's modules by their dotted names"
    package = module.split('.')[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names: yield alias.name.removeprefix('fashion_fastai.'), node
        if isinstance(node, ast.ImportFrom):
            parents = package[:len(package)+1-node.level] if node.level else []
            yield '.'.join([*parents, *((node.module or '').removeprefix('fashion_fastai.').split('.'))]).strip('.'), node

def test_seven_modules_at_the_top():
    found = [path.stem for path in (ROOT/'fashion_fastai').glob('*.py') if not path.name.startswith('_')]
    assert sorted(found)==['all', 'cli', 'config', 'metrics', 'run', 'schema', 'target']

def test_packages_import_from_below_only():
    own = {name for name,_ in modules()}
    for module,tree in modules():
        package = package_of(module)
        for name,node in imported(module, tree):
            if name not in own: continue
            other = package_of(name)
            assert other==package or other in MAY_IMPORT[package], f'{module}:{node.lineno} imports {name}: {package} must not import {other}'

def test_packages_form_few_floors():
    "The longest chain of packages that import each other"
    floor = {}
    def height(package): return floor.setdefault(package, 1+max(map(height, used[package]), default=0))
    used, own = {package: set() for package in MAY_IMPORT}, {name for name,_ in modules()}
    for module,tree in modules():
        for name,_ in imported(module, tree):
            if name in own and package_of(name)!=package_of(module): used[package_of(module)].add(package_of(name))
    assert max(map(height, MAY_IMPORT))<=12

def test_ground_floor_imports_no_torch():
    for module,tree in modules():
        if package_of(module) not in NO_TORCH: continue
        heavy = [name for name,_ in imported(module, tree) if name.split('.')[0] in ('torch', 'fastai', 'timm')]
        assert not heavy, f'{module} imports {heavy}'

# what may be imported inside a function, outside of commands/: optional extras, and what a page or a command line without it must not wait for
LATE = {'IPython', 'ipywidgets', 'mlflow', 'onnx', 'onnxruntime', 'optuna', 'ray', 'wandb', 'streamlit', 'huggingface_hub', 'rich', 'accelerate', 'pi_heif', 'openpyxl', 'open_clip'}
LATE_MODULES = {
    'all': {'tuning.study'}, # a search needs the extra [tune]
    'serving.app.state': {'serving.app.backend'}, # the page shows before torch is imported
    'serving.predictor': {'serving.torch_backend'}, # an ONNX file is served without torch
    'training.tracking': {'torch.utils.tensorboard'},
}

def test_imports_stand_at_the_top():
    for module,tree in modules():
        if package_of(module)=='commands': continue
        top = {id(node) for node in tree.body}
        late = [(name, node.lineno) for name,node in imported(module, tree) if id(node) not in top]
        wrong = [(name, line) for name,line in late if name.split('.')[0] not in LATE and name not in LATE_MODULES.get(module, ())]
        assert not wrong, f'{module} imports inside a function: {wrong}'

def test_every_module_has_a_notebook():
    "What was left when a notebook was renamed would go into the wheel"
    said = [re.search(r'#\| *default_exp +([\w.]+)', o.read_text(encoding='utf-8'))[1] for o in (ROOT/'nbs').glob('*.ipynb')]
    found = ['.'.join(o.relative_to(ROOT/'fashion_fastai').with_suffix('').parts) for o in (ROOT/'fashion_fastai').rglob('*.py') if not o.name.startswith('_')]
    assert sorted(set(found)-{'commands.page_script'})==sorted(said)

def test_every_data_file_goes_into_the_wheel():
    (patterns,) = re.findall(r"package_data=\{'fashion_fastai': (\[.*?\])\}", (ROOT/'setup.py').read_text(), re.S)
    files = [o.relative_to(ROOT/'fashion_fastai') for o in (ROOT/'fashion_fastai').rglob('*.*') if o.suffix!='.py' and '__pycache__' not in o.parts]
    assert [str(o) for o in files if not any(o.match(p) for p in ast.literal_eval(patterns))]==[]

def test_a_wheel_can_be_made_from_the_archive_of_sources():
    "What setup.py reads must be in it"
    assert 'settings.ini' in (ROOT/'MANIFEST.in').read_text().split()

def is_private(name): return name.startswith('_') and not name.startswith('__')

def private_names(tree):
    "Return the private names that a module defines or sets, attributes included"
    nodes = list(ast.walk(tree))
    found = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    found |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    found |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    return {name for name in found if is_private(name)}

def names_from_elsewhere(tree):
    "Return what a module imports from modules of ours, and all attributes that it reads"
    nodes = list(ast.walk(tree))
    ours = [node for node in nodes if isinstance(node, ast.ImportFrom) and (node.level or node.module.startswith('fashion_fastai'))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    return read | {alias.name for node in ours for alias in node.names}

PRIVATE_NAMES_STILL_SHARED = set()

def test_no_private_name_crosses_a_module():
    "What another module needs has a public name and docments"
    paths = [path for path in sorted((ROOT/'fashion_fastai').rglob('*.py')) if path.name!='_modidx.py']
    names = ['.'.join(path.relative_to(ROOT/'fashion_fastai').with_suffix('').parts) for path in paths]
    trees = {name: ast.parse(path.read_text(encoding='utf-8')) for name,path in zip(names, paths)}
    defined = {name: private_names(tree) for name,tree in trees.items()}
    ours = set().union(*defined.values())
    shared = {(name, used) for name,tree in trees.items() for used in names_from_elsewhere(tree)
        if is_private(used) and used in ours and used not in defined[name]}
    assert shared==PRIVATE_NAMES_STILL_SHARED
