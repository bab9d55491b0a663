"""Install a wheel into empty environments, every Python with every extra; print seconds, MB and what happened

    python benchmarks/install_matrix.py dist/fashion_fastai-*.whl [--pythons 3.10,3.13] [--extras ,serve,onnx]
        [--no-deps] [--keep FOLDER] [--smoke]

An environment takes minutes and, for PyTorch, up to several gigabytes; without a GPU, set
PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu. `--extras` are separated by commas, several in one environment
joined by `+`; an empty one is the base. `--no-deps` installs the wheel alone: that tries this script, not the
dependencies. `--smoke` also runs every command (`tests/helpers/smoke.py`).
"""
import argparse, shutil, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = '3.10,3.11,3.12,3.13'
EXTRAS = ',app,serve,onnx,ray,log,tune,heic,excel,app+serve+onnx+tune+log+heic+excel'
TRIES = {'import': ['python', '-c', 'import fashion_fastai; print(fashion_fastai.__version__)'],
    'check': ['python', '-m', 'pip', 'check'], 'help': ['fashion-fastai', '--help'],
    'recipes': ['fashion-fastai', 'recipes']}

def runs(python): return subprocess.run([python, '-c', ''], capture_output=True).returncode==0

def interpreter(version):
    "Return the path of a Python, that of pyenv and uv included; None if there is none"
    found = [shutil.which(f'python{version}'), *(Path.home()/'.pyenv/versions').glob(f'{version}.*/bin/python')]
    if shutil.which('uv'):
        found.append(subprocess.run(['uv', 'python', 'find', version], capture_output=True, text=True).stdout.strip())
    return next((str(path) for path in found if path and runs(path)), None)

def megabytes(folder):
    return sum(path.lstat().st_size for path in folder.rglob('*') if path.is_file())/1e6

def timed(args, **kwargs):
    "Run a command; return its seconds, and the last line of what went wrong (empty: nothing)"
    start = time.monotonic()
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, **kwargs)
    lines = (done.stderr or done.stdout).strip().splitlines() or [f'exit code {done.returncode}']
    return time.monotonic()-start, '' if done.returncode==0 else lines[-1][:200]

def install(python, wheel, extra, environment, deps):
    "Install into a new environment and try it; return a row of the table"
    subprocess.run([python, '-m', 'venv', environment], check=True)
    what = f'{wheel}[{extra.replace("+", ",")}]' if extra else str(wheel)
    options = [] if deps else ['--no-deps']
    seconds,wrong = timed([environment/'bin/python', '-m', 'pip', 'install', *options, what])
    row = dict(seconds=round(seconds), MB=round(megabytes(environment)), wrong=wrong)
    for name,(program,*args) in TRIES.items():
        if row['wrong'] or not deps and name!='import': break
        seconds,wrong = timed([environment/'bin'/program, *args], cwd=environment)
        row |= {name: f'{seconds:.1f}', 'wrong': wrong and f'{name}: {wrong}'}
    return row

def smoke(environment, folder):
    "Run every command; return the last line of what went wrong"
    script = ROOT/'tests/helpers/smoke.py'
    _,wrong = timed([environment/'bin/python', script, environment/'bin/fashion-fastai', folder])
    return wrong

def rows(given, folder):
    "Yield the cells of each row"
    for version in given.pythons.split(','):
        python = interpreter(version)
        if not python: yield [version,'','','',*['']*len(TRIES),'not installed here']
        for extra in given.extras.split(',') if python else []:
            environment = folder/f'{version}-{extra or "base"}'
            row = install(python, given.wheel.resolve(), extra, environment, not given.no_deps)
            if given.smoke and not row['wrong']: row['wrong'] = smoke(environment, folder/f'smoke-{environment.name}')
            yield [version, extra or 'base', row['seconds'], row['MB'], *(row.get(name, '') for name in TRIES),
                row['wrong'] or 'works']
            if not given.keep: shutil.rmtree(environment)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('wheel', type=Path)
    parser.add_argument('--pythons', default=PYTHONS)
    parser.add_argument('--extras', default=EXTRAS)
    parser.add_argument('--no-deps', action='store_true')
    parser.add_argument('--smoke', action='store_true')
    parser.add_argument('--keep', type=Path)
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix='install-'))
    folder.mkdir(parents=True, exist_ok=True)
    heads = ['Python', 'extras', 'seconds', 'MB', *(f'{name}, s' for name in TRIES), 'result']
    print(f'| {" | ".join(heads)} |\n|{" --- |"*len(heads)}', flush=True)
    results = []
    for cells in rows(given, folder):
        print(f'| {" | ".join(map(str, cells))} |', flush=True)
        results.append(cells[-1])
    sys.exit(not set(results)<={'works', 'not installed here'})

if __name__=='__main__': main()
