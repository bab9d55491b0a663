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

def test_imports_go_downwards():
    "The notebooks of what is imported at the top of a module have no higher number than its own"
    said = {o: re.search(r'#\| *default_exp +([\w.]+)', o.read_text(encoding='utf-8')) for o in (ROOT/'nbs').glob('*.ipynb')}
    number = {found[1]: int(o.name[:2]) for o,found in said.items() if found}
    assert len(number)==len(said)
    for name,own in number.items():
        tree,package = ast.parse((ROOT/'fashion_fastai'/f'{name.replace(".", "/")}.py').read_text(encoding='utf-8')),name.split('.')[:-1]
        for o in (o for o in tree.body if isinstance(o, ast.ImportFrom) and o.level):
            module = '.'.join([*package[:len(package)+1-o.level], o.module])
            assert number[module]<=own, f'{name} imports {module}, which stands above it'

def test_every_module_has_a_notebook():
    "What was left when a notebook was renamed would go into the wheel"
    said = [re.search(r'#\| *default_exp +([\w.]+)', o.read_text(encoding='utf-8'))[1] for o in (ROOT/'nbs').glob('*.ipynb')]
    found = ['.'.join(o.relative_to(ROOT/'fashion_fastai').with_suffix('').parts) for o in (ROOT/'fashion_fastai').rglob('*.py') if not o.name.startswith('_')]
    assert sorted(set(found)-{'serving.app_page'})==sorted(said)

def test_every_data_file_goes_into_the_wheel():
    (patterns,) = re.findall(r"package_data=\{'fashion_fastai': (\[.*?\])\}", (ROOT/'setup.py').read_text())
    files = [o.relative_to(ROOT/'fashion_fastai') for o in (ROOT/'fashion_fastai').rglob('*.*') if o.suffix!='.py' and '__pycache__' not in o.parts]
    assert [str(o) for o in files if not any(o.match(p) for p in ast.literal_eval(patterns))]==[]

def test_a_wheel_can_be_made_from_the_archive_of_sources():
    "What setup.py reads must be in it"
    assert 'settings.ini' in (ROOT/'MANIFEST.in').read_text().split()
