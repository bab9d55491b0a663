"""Seconds until something is seen: the help, the recipes, a first result for one image (a new process each time;
median).

    python benchmarks/start_up.py [TABLE] [--write]
"""
import statistics, subprocess, sys, tempfile, time
from pathlib import Path
from bench import arguments, markdown, report

def seconds(command, rounds):
    "Return the median time of a command, after one run that warms the disk cache up"
    times = []
    for _ in range(rounds+1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter()-started)
    return statistics.median(times[1:])

if __name__=='__main__':
    args = arguments(__doc__, rounds=5)
    tool = str(Path(sys.executable).parent/'fashion-fastai')
    with tempfile.TemporaryDirectory() as folder:
        run = f'{folder}/run'
        image = next(Path(args.table).parent.rglob('*.jpg'))
        train = [tool, 'train', '--data', args.table, '--epochs', '0', '--out', run]
        subprocess.run(train, check=True, capture_output=True)
        predict = [tool, 'predict', run, str(image), '--out', f'{folder}/results.csv']
        commands = {'`fashion-fastai --help`': [tool, '--help'],
            '`fashion-fastai recipes`': [tool, 'recipes'],
            '`import fastai.vision.all` alone': [sys.executable, '-c', 'import fastai.vision.all'],
            '`fashion-fastai predict RUN one.jpg`': predict}
        rows = [[name, f'{seconds(command, args.rounds):.2f}'] for name,command in commands.items()]
    report('start_up', markdown(['command', 'seconds (median)'], rows), args.write)
