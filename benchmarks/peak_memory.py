"""Memory of the `train` command at its highest, as `/usr/bin/time -v` tells it, with the settings that make it smaller.

    python benchmarks/peak_memory.py [TABLE] [--epochs 2] [--write]      # --write puts it into docs/how-to/memory.md
"""
import ctypes.util, os, subprocess, sys, tempfile
from pathlib import Path
from bench import RESULTS, arguments, markdown, report

PAGE = RESULTS.parent/'how-to/memory.md'
MICRO = '[micro-batches](training-tricks.md)'
CASES = [ # what, options, whether another allocator is loaded first
    ('as it comes: 64 images of 128 px in a batch', [], False),
    ('another allocator, see below', [], True),
    ('smaller images', ['--size', '96'], False),
    ('smaller batches', ['--batch-size', '32'], False),
    (f'the same batch in {MICRO}: same gradients, a third more time', ['--set', 'training.micro_batch_size=16'], False),
    (f'{MICRO} and another allocator', ['--set', 'training.micro_batch_size=16'], True)]

def peak(command, library):
    "Resident memory of a command at its highest, GB"
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | ({'LD_PRELOAD': library} if library else {}))
    _,status,used = os.wait4(child.pid, 0)
    if status: raise SystemExit(f'{" ".join(command)} failed')
    return used.ru_maxrss/1e6

if __name__=='__main__':
    args,tcmalloc = arguments(__doc__, epochs=2),ctypes.util.find_library('tcmalloc_minimal')
    rows = []
    for what,options,other in CASES:
        if other and not tcmalloc: continue
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, '-m', 'fashion_fastai.cli', 'train', '--data', args.table, '--epochs', str(args.epochs), '--out', str(Path(folder)/'run'), *options]
            highest = peak(command, tcmalloc if other else None)
        rows.append([what, f'`{f"LD_PRELOAD={tcmalloc} " if other else ""}{" ".join(["fashion-fastai train", *options])}`', f'{highest:.1f}'])
    report('peaks', markdown(['what', 'command', 'peak (GB)'], rows), args.write, PAGE)
