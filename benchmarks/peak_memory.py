"""Peak memory of the `train` command, as `/usr/bin/time -v` reports it, with settings that reduce it.

    python benchmarks/peak_memory.py [TABLE] [--epochs 2] [--write]      # --write puts it into docs/how-to/memory.md
"""
import ctypes.util, os, subprocess, sys, tempfile
from pathlib import Path
from bench import RESULTS, arguments, markdown, report

PAGE = RESULTS.parent/'how-to/memory.md'
MICRO = '[micro-batches](training-tricks.md)'
CASES = [ # title, options, whether another allocator is preloaded
    ('default: batches of 64 images of 128 px', [], False),
    ('another allocator, see below', [], True),
    ('smaller images', ['--size', '96'], False),
    ('smaller batches', ['--batch-size', '32'], False),
    (f'the same batch in {MICRO}: same gradients, a third more time', ['--set', 'training.micro_batch_size=16'], False),
    (f'{MICRO} and another allocator', ['--set', 'training.micro_batch_size=16'], True)]

def peak(command, library):
    "Return the peak resident memory of a command in GB"
    variables = dict(LD_PRELOAD=library) if library else {}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | variables)
    _,status,usage = os.wait4(child.pid, 0)
    if status: raise SystemExit(f'{" ".join(command)} failed')
    return usage.ru_maxrss/1e6

if __name__=='__main__':
    args = arguments(__doc__, epochs=2)
    tcmalloc = ctypes.util.find_library('tcmalloc_minimal')
    train = [sys.executable, '-m', 'fashion_fastai.cli', 'train', '--data', args.table, '--epochs', str(args.epochs)]
    rows = []
    for title,options,is_preloaded in CASES:
        if is_preloaded and not tcmalloc: continue
        with tempfile.TemporaryDirectory() as folder:
            command = [*train, '--out', str(Path(folder)/'run'), *options]
            highest = peak(command, tcmalloc if is_preloaded else None)
        shown = ' '.join([*([f'LD_PRELOAD={tcmalloc}'] if is_preloaded else []), 'fashion-fastai train', *options])
        rows.append([title, f'`{shown}`', f'{highest:.1f}'])
    report('peaks', markdown(['what', 'command', 'peak (GB)'], rows), args.write, PAGE)
