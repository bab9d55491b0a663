"What the benchmarks share: processes that take turns, and a report that ends up in docs/results.md"
import argparse, multiprocessing, os, platform, re, statistics
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent.parent/'docs/results.md'

def arguments(doc, **numbers):
    "The arguments of a benchmark: a table, `--write`, and numbers with their defaults"
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', nargs='?', help='CSV with columns file, category, attributes and split; the embedded sample without it')
    parser.add_argument('--write', action='store_true', help='put the result into docs/results.md')
    for name,value in numbers.items(): parser.add_argument(f'--{name}', type=type(value), default=value)
    args = parser.parse_args()
    if not args.table:
        from fashion_fastai.data.synthetic.dataset import sample_catalogue_path
        args.table = str(sample_catalogue_path())
    return args

def _cpu():
    facts = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').is_file() else ''
    return (re.findall(r'model name\s*: (.*)', facts) or [platform.processor() or platform.machine()])[0]

def machine():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return f'{date.today()}, {cores} cores ({_cpu()}), no GPU, Python {platform.python_version()}, torch {version("torch")}, fastai {version("fastai")}'

def markdown(header, rows):
    "A table"
    return '\n'.join('| '+' | '.join(map(str, o))+' |' for o in [header, ['---']*len(header), *rows])

def report(name, text, write, page=RESULTS):
    "Print a result; with `write`, put it between its marks in a page"
    text = f'{text}\n\n*{machine()}*'
    print(text, flush=True)
    if not write: return
    begin,end = f'<!-- {name} -->',f'<!-- /{name} -->'
    written = page.read_text(encoding='utf-8')
    if begin not in written: raise SystemExit(f'{page} has no place {begin}')
    before,rest = written.split(begin)
    page.write_text(f'{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}', encoding='utf-8')

def _contender(prepare, name, args, pipe):
    work = prepare(name, args)
    pipe.send('ready')
    while pipe.recv(): pipe.send(work())

def alternate(names, prepare, args, rounds):
    "Figures of each contender: `prepare(name, args)` in a process of its own gives a function, and these take turns; the first round warms up"
    spawn,pipes,seen = multiprocessing.get_context('spawn'),{},{name: [] for name in names}
    for name in names:
        pipes[name],theirs = spawn.Pipe()
        spawn.Process(target=_contender, args=(prepare, name, args, theirs), daemon=True).start()
        pipes[name].recv()
    for number in range(rounds+1):
        for name,pipe in pipes.items():
            pipe.send(True)
            figure = pipe.recv()
            if number: seen[name].append(figure)
    for pipe in pipes.values(): pipe.send(False)
    return seen

def rates(seen, of, what):
    "A table of medians and of ratios to the contenders in `of`; a ratio is the median over the rounds"
    safe_divide = lambda name,other: statistics.median(a/b for a,b in zip(seen[name], seen[other]))
    rows = [[name, f'{statistics.median(o):.0f}', *[f'{safe_divide(name, other):.2f}' for other in of]] for name,o in seen.items()]
    return markdown([what, 'images/s (median)', *[f'times {o}' for o in of]], rows)
