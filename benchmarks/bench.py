"Shared by the benchmarks: contenders that take turns in processes of their own, and results in docs/results.md"
import argparse, multiprocessing, os, platform, re, statistics, time
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent.parent/'docs/results.md'

def arguments(doc, **options):
    "Parse the arguments of a benchmark: a table, `--write`, and `options` with their defaults"
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', nargs='?',
        help='CSV with columns file, category, attributes and split; default: the embedded sample')
    parser.add_argument('--write', action='store_true', help='write the result to docs/results.md')
    for name,value in options.items():
        if value is False: parser.add_argument(f'--{name}', action='store_true')
        else: parser.add_argument(f'--{name}', type=type(value), default=value)
    args = parser.parse_args()
    if not args.table:
        from fashion_fastai.data.synthetic.dataset import sample_catalogue_path
        args.table = str(sample_catalogue_path())
    return args

def use_device(name):
    "Let fastai put everything on the device `name`, `cpu` or `cuda`; end if there is none"
    import torch
    from fastai.torch_core import default_device
    if name=='cuda' and not torch.cuda.is_available(): raise SystemExit('--device cuda: there is no GPU here')
    return default_device(name=='cuda')

def _cpu():
    "Return the name of the CPU"
    info = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').is_file() else ''
    return (re.findall(r'model name\s*: (.*)', info) or [platform.processor() or platform.machine()])[0]

def now():
    "Return a time in seconds, after all work that a GPU was given is done"
    import torch
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return time.perf_counter()

def machine():
    "Describe the machine and the versions that a result was measured with"
    import torch
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    versions = f'Python {platform.python_version()}, torch {version("torch")}, fastai {version("fastai")}'
    return f'{date.today()}, {cores} cores ({_cpu()}), {gpu}, {versions}'

def markdown(header, rows):
    "Return a Markdown table"
    lines = [header, ['---']*len(header), *rows]
    return '\n'.join('| '+' | '.join(map(str, line))+' |' for line in lines)

def report(name, text, write, page=RESULTS):
    "Print a result; with `write`, also put it between its marks in a page"
    text = f'{text}\n\n*{machine()}*'
    print(text, flush=True)
    if not write: return
    begin,end = f'<!-- {name} -->',f'<!-- /{name} -->'
    old = page.read_text(encoding='utf-8')
    if begin not in old: raise SystemExit(f'{page} has no mark {begin}')
    before,rest = old.split(begin)
    page.write_text(f'{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}', encoding='utf-8')

def _contender(prepare, name, args, pipe):
    "Prepare the work of a contender, then do it each time it is asked to"
    work = prepare(name, args)
    pipe.send('ready')
    while pipe.recv(): pipe.send(work())

def alternate(names, prepare, args, rounds):
    """Return the figures of each contender, `rounds` of them after one to warm up

    `prepare(name, args)` runs in a process of its own and returns a function that measures one figure. These functions
    take turns.
    """
    spawn = multiprocessing.get_context('spawn')
    pipes = {}
    for name in names:
        pipes[name],theirs = spawn.Pipe()
        spawn.Process(target=_contender, args=(prepare, name, args, theirs), daemon=True).start()
        pipes[name].recv()
    figures = {name: [] for name in names}
    for number in range(rounds+1):
        for name,pipe in pipes.items():
            pipe.send(True)
            figure = pipe.recv()
            if number: figures[name].append(figure)
    for pipe in pipes.values(): pipe.send(False)
    return figures

def rates(figures, references, title):
    "Return a table of median rates, and of medians of the ratios to the `references`"
    def ratio(name, other): return statistics.median(a/b for a,b in zip(figures[name], figures[other]))
    rows = [[name, f'{statistics.median(values):.0f}', *[f'{ratio(name, other):.2f}' for other in references]]
        for name,values in figures.items()]
    return markdown([title, 'images/s (median)', *[f'times {name}' for name in references]], rows)
