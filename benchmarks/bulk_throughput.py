"""Bulk prediction of a table that is repeated to 20,000 rows, from image files to a written file of results.

Rates: `fashion-fastai predict` (torch; ONNX Runtime in float32 and in 8 bits) against its own ceiling (the same fused
network on decoded pixels; nothing is read or written), the network as it was trained on ready batches of 64, and
get_preds of plain fastai. They take turns.

Then all rows, in one process for each way: seconds, peak memory, and the results against those of `Predictor` in
memory.

    python benchmarks/bulk_throughput.py TABLE --run RUN [--onnx FILE] [--int8 FILE] [--rows 20000] [--write]
"""
import json, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd
from bench import alternate, arguments, markdown, rates, report

BULK = ('bulk', 'bulk, ONNX float', 'bulk, ONNX int8')

def repeated(table, n):
    "Write a Parquet table of `n` rows that repeats the images of `table`; return its path"
    files = pd.read_csv(table, dtype=str).file
    path = Path(tempfile.mkdtemp(prefix='bulk-'))/'rows.parquet'
    pd.DataFrame(dict(file=files.to_numpy()[np.arange(n)%len(files)])).to_parquet(path)
    return path

def model_of(name, args): return dict(zip(BULK, (args.run, args.onnx, args.int8)))[name]

def bulk(name, args):
    "Predict to a file"
    from fashion_fastai.serving.batch import predict_to_file
    from fashion_fastai.serving.inputs import Columns
    from fashion_fastai.serving.predictor import Predictor
    predictor = Predictor.load(model_of(name, args))
    table = repeated(args.table, args.turn)
    columns = Columns(images=Path(args.table).parent)
    def work():
        predict_to_file(predictor, table, table.with_name('results.parquet'), columns=columns)
        return args.turn
    return work

def ceiling(name, args):
    "Run only the network, fused or as it was trained"
    import torch
    from fashion_fastai.models.network import load_network
    from fashion_fastai.serving.predictor import Predictor
    predictor = Predictor.load(args.run)
    size = predictor.image.size
    if name=='ceiling':
        pixels = np.random.default_rng(0).integers(0, 255, (256,size,size,3), dtype=np.uint8)
        def work(): return sum(len(batch[0]) for batch in predictor.compute(pixels for _ in range(8)))
        return work
    network = load_network(predictor.run).to(memory_format=torch.channels_last)
    x = torch.rand(64, 3, size, size).to(memory_format=torch.channels_last)
    def work():
        with torch.inference_mode():
            for _ in range(16): network(x)
        return 16*64
    return work

def fastai(name, args):
    "Predict with plain fastai"
    from peers.plain_fastai import learner
    learn = learner(args.table)
    frame = learn.dls.train_ds.items
    frame = frame.iloc[np.arange(1024)%len(frame)]
    def work():
        with learn.no_bar(): learn.get_preds(dl=learn.dls.test_dl(frame, num_workers=0))
        return 1024
    return work

def reading(name, args):
    "Only read and decode images"
    from fashion_fastai.config import ImageConfig
    from fashion_fastai.data.images import ImageReader
    frame = pd.read_parquet(repeated(args.table, 2048))
    reader = ImageReader.from_config(ImageConfig())
    paths = [Path(args.table).parent/file for file in frame.file]
    return lambda: sum(len(batch[1]) for batch in reader.stream(paths))

def prepare(name, args):
    "Return a function that measures the rate of a contender, in images per second"
    if 'fastai' not in name:
        from fashion_fastai.core.allocator import tune_allocator
        tune_allocator() # as the command does
    contender = bulk if name in BULK else fastai if 'fastai' in name else reading if name=='reading' else ceiling
    work = contender(name, args)
    def timed():
        started = time.perf_counter()
        return work()/(time.perf_counter()-started)
    return timed

PREDICT_ALL = '''
import json, re, sys, time
model,table,images,out = sys.argv[1:]
from fashion_fastai.cli import main
started = time.perf_counter()
assert main(['predict', model, table, '--images', images, '--out', out])==0
seconds = time.perf_counter()-started
memory = int(re.search('VmHWM:.*?([0-9]+)', open('/proc/self/status').read())[1])/1024
print(json.dumps(dict(seconds=seconds, memory=memory)))
'''

def predict_all(name, args, n):
    "Predict `n` rows in a new process; return seconds, peak memory in MB and the results"
    table = repeated(args.table, n)
    out = table.with_name('results.parquet')
    paths = (model_of(name, args), table, Path(args.table).parent, out)
    process = subprocess.run([sys.executable, '-c', PREDICT_ALL, *map(str, paths)], capture_output=True, text=True)
    if process.returncode: raise SystemExit(process.stderr)
    return json.loads(process.stdout.splitlines()[-1]) | dict(results=pd.read_parquet(out))

def agreement(results, expected):
    "Return the share of equal results for each target"
    targets = [name.removesuffix('_probability') for name in expected if name.endswith('_probability')]
    return ', '.join(f'{name} {(results[name]==expected[name]).mean():.2%}' for name in targets)

def all_rows(args, names):
    "Return a table of the cost of all rows for each way, and of the memory for few rows"
    from fashion_fastai.serving.inputs import find_image_files
    from fashion_fastai.serving.predictor import Predictor
    expected = Predictor.load(args.run)(find_image_files(args.table)).frame()
    expected = pd.concat([expected]*(args.rows//len(expected)+1), ignore_index=True).head(args.rows)
    lines = []
    for name in names:
        few,many = predict_all(name, args, 1000),predict_all(name, args, args.rows)
        lines.append([name, f'{many["seconds"]:.0f}', f'{args.rows/many["seconds"]:.0f}', f'{few["memory"]:.0f}',
            f'{many["memory"]:.0f}', agreement(many['results'], expected)])
    header = ['command', 'seconds', 'images/s, start included', 'peak MB, 1,000 rows', f'peak MB, {args.rows:,} rows',
        'results equal to `Predictor` with torch in memory']
    return markdown(header, lines)

if __name__=='__main__':
    args = arguments(__doc__, rounds=5, rows=20000, turn=4096, run='', onnx='', int8='', part='all')
    if not args.run: raise SystemExit('name a run with --run')
    names = [name for name in BULK if model_of(name, args)]
    references = ('ceiling', 'as trained, batches of 64', 'plain fastai get_preds')
    texts = []
    if args.part in ('all', 'rates'):
        figures = alternate((*names, 'reading', *references), prepare, args, args.rounds)
        texts.append(rates(figures, references, f'{args.turn:,} rows a turn'))
    if args.part in ('all', 'rows'): texts.append(all_rows(args, names))
    report('bulk_throughput', '\n\n'.join(texts), args.write)
