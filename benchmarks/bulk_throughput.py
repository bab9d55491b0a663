"""Bulk prediction of a table that is repeated to 20,000 rows, from image files to a written file of answers.

Rates: `fashion-fastai predict` (torch; ONNX Runtime with floats and in 8 bits) against its own ceiling (the same folded network over pixels that are decoded already;
nothing is read or written), the network as it was trained over ready batches of 64, and get_preds of plain fastai. They take turns.

Then all rows in one process each: seconds, the most memory that it had, and the answers against those of `Predictor` in memory.

    python benchmarks/bulk_throughput.py TABLE --run RUN [--onnx FILE] [--int8 FILE] [--rows 20000] [--write]
"""
import json, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd
from bench import alternate, arguments, markdown, rates, report

BULK = 'bulk', 'bulk, ONNX float', 'bulk, ONNX int8'

def repeated(table, n, start=0):
    "A Parquet table of `n` rows of the images of `table`, over and over"
    files = pd.read_csv(table, dtype=str).file
    path = Path(tempfile.mkdtemp(prefix='bulk-'))/'rows.parquet'
    pd.DataFrame(dict(file=files.to_numpy()[np.arange(start, start+n)%len(files)])).to_parquet(path)
    return path

def model_of(name, args): return dict(zip(BULK, (args.run, args.onnx, args.int8)))[name]

def bulk(name, args):
    from fashion_fastai.serving.batch import predict_to_file
    from fashion_fastai.serving.predictor import Predictor
    from fashion_fastai.serving.inputs import Columns
    predictor,table = Predictor.load(model_of(name, args)),repeated(args.table, args.turn)
    columns = Columns(images=Path(args.table).parent)
    def work():
        predict_to_file(predictor, table, table.with_name('answers.parquet'), columns=columns)
        return args.turn
    return work

def ceiling(name, args):
    import torch
    from fashion_fastai.serving.predictor import Predictor
    predictor,size = Predictor.load(args.run),0
    size = predictor.image.size
    pixels = np.random.default_rng(0).integers(0, 255, (256,size,size,3), dtype=np.uint8)
    if name=='ceiling':
        def work(): return sum(len(o[0]) for o in predictor.compute(pixels for _ in range(8)))
        return work
    from fashion_fastai.models.network import load_network
    network = load_network(predictor.run).to(memory_format=torch.channels_last)
    x = torch.rand(64, 3, size, size).to(memory_format=torch.channels_last)
    def work():
        with torch.inference_mode():
            for _ in range(16): network(x)
        return 16*64
    return work

def fastai(name, args):
    from peers.plain_fastai import learner
    learn = learner(args.table)
    frame = learn.dls.train_ds.items
    frame = frame.iloc[np.arange(1024)%len(frame)]
    def work():
        with learn.no_bar(): learn.get_preds(dl=learn.dls.test_dl(frame, num_workers=0))
        return 1024
    return work

def reading(name, args):
    from fashion_fastai.config import ImageConfig
    from fashion_fastai.data.images import ImageReader
    frame,image = pd.read_parquet(repeated(args.table, 2048)),ImageConfig()
    paths = [Path(args.table).parent/o for o in frame.file]
    return lambda: sum(len(o[1]) for o in ImageReader.from_config(image).stream(paths))

def prepare(name, args):
    if 'fastai' not in name:
        from fashion_fastai.core.allocator import tune_allocator
        tune_allocator() # as the command does
    work = (bulk if name in BULK else fastai if 'fastai' in name else reading if name=='reading' else ceiling)(name, args)
    def timed():
        started = time.perf_counter()
        return work()/(time.perf_counter()-started)
    return timed

ALL = '''
import json, re, sys, time
model,table,images,out = sys.argv[1:]
from fashion_fastai.cli import main
started = time.perf_counter()
assert main(['predict', model, table, '--images', images, '--out', out])==0
print(json.dumps(dict(seconds=time.perf_counter()-started, memory=int(re.search('VmHWM:.*?([0-9]+)', open('/proc/self/status').read())[1])/1024)))
'''

def all_rows(name, args, n):
    "All rows in a process of their own: seconds, the most memory in MB, the file of answers"
    table = repeated(args.table, n)
    out = table.with_name('answers.parquet')
    done = subprocess.run([sys.executable, '-c', ALL, str(model_of(name, args)), str(table), str(Path(args.table).parent), str(out)], capture_output=True, text=True)
    if done.returncode: raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1]) | dict(answers=pd.read_parquet(out))

def agreement(answers, expected):
    "The share of answers that are the same, for each target"
    targets = [o.removesuffix('_probability') for o in expected if o.endswith('_probability')]
    return ', '.join(f'{o} {(answers[o]==expected[o]).mean():.2%}' for o in targets)

def measured(args, names):
    "A table of all rows for each way, and of few rows for memory"
    from fashion_fastai.serving.predictor import Predictor
    from fashion_fastai.serving.inputs import find_image_files
    first = len(pd.read_csv(args.table))
    expected = Predictor.load(args.run)(find_image_files(args.table)).frame()
    lines = []
    for name in names:
        few,many = all_rows(name, args, 1000),all_rows(name, args, args.rows)
        same = agreement(many['answers'], pd.concat([expected]*(args.rows//first+1), ignore_index=True).head(args.rows))
        lines.append([name, f'{many["seconds"]:.0f}', f'{args.rows/many["seconds"]:.0f}', f'{few["memory"]:.0f}', f'{many["memory"]:.0f}', same])
    return markdown(['command', 'seconds', 'images/s, start included', 'MB at most, 1,000 rows', f'MB at most, {args.rows:,} rows', 'the same answers as `Predictor` with torch in memory'], lines)

if __name__=='__main__':
    args = arguments(__doc__, rounds=5, rows=20000, turn=4096, run='', onnx='', int8='', part='all')
    if not args.run: raise SystemExit('name a run with --run')
    names = [o for o in BULK if model_of(o, args)]
    text = []
    if args.part in ('all', 'rates'):
        seen = alternate((*names, 'ceiling', 'reading', 'as trained, batches of 64', 'plain fastai get_preds'), prepare, args, args.rounds)
        text.append(rates(seen, ('ceiling', 'as trained, batches of 64', 'plain fastai get_preds'), f'{args.turn:,} rows a turn'))
    if args.part in ('all', 'rows'): text.append(measured(args, names))
    report('bulk_throughput', '\n\n'.join(text), args.write)
