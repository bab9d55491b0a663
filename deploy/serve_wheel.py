"""Build the distribution fashion_fastai_serve: the modules of fashion_fastai, without packages that only training needs

    python deploy/serve_wheel.py FOLDER     writes the wheel into FOLDER
"""
import re, shutil, subprocess, sys, tempfile
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME,SUMMARY = 'fashion_fastai_serve','Predict and serve with fashion_fastai, without PyTorch'

def read_settings():
    "Return the content of settings.ini"
    settings = ConfigParser(delimiters=['='])
    settings.read(ROOT/'settings.ini', encoding='utf-8')
    return settings

def requirements():
    "Return the packages of the distribution, in the ranges that fashion_fastai and its extras state"
    settings = read_settings()
    stated = {}
    for key,text in settings['DEFAULT'].items():
        if not key.endswith('requirements'): continue
        for line in text.split('\n'): stated.setdefault(re.match(r'[\w.-]+', line)[0], line)
    return [stated[name] for name in settings['serve']['packages'].split()]

def write_tree(folder):
    "Copy what a build needs, with name, description and packages of the distribution"
    shutil.copytree(ROOT/'fashion_fastai', folder/'fashion_fastai', ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('LICENSE', 'README.md', 'setup.py', 'pyproject.toml'): shutil.copy(ROOT/name, folder)
    project = (folder/'pyproject.toml').read_text(encoding='utf-8')
    project = project.replace('name = "fashion_fastai"', f'name = "{NAME}"', 1)
    project = re.sub('(?m)^description = .*$', f'description = "{SUMMARY}"', project)
    (folder/'pyproject.toml').write_text(project, encoding='utf-8')
    facts = read_settings()['DEFAULT']
    settings = ConfigParser()
    settings['DEFAULT'] = dict(version=facts['version'], console_scripts=facts['console_scripts'],
        requirements='\n'.join(requirements()))
    with (folder/'settings.ini').open('w', encoding='utf-8') as file: settings.write(file)

def build(out):
    "Write the wheel into the folder `out`"
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder))
        pip = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--wheel-dir', str(out)]
        subprocess.run([*pip, folder], check=True)

if __name__=='__main__':
    if len(sys.argv)!=2: sys.exit(__doc__)
    build(Path(sys.argv[1]))
