"""Answered images a second of one run: torch, ONNX Runtime in float32 and in 8 bits. Once from files, as the predictor serves them (reading alone beside it: more than
that is not to be had), and once from decoded pixels, where only the network counts.

    python benchmarks/serve_throughput.py [TABLE] [--run RUN] [--write]

Without a run, linear heads are fitted for the table (`--epochs 0`).
"""
import os, subprocess, sys, tempfile, time
from pathlib import Path
from bench import alternate, arguments, rates, report

WAYS = {'torch': 'run', 'ONNX float32': 'float32.onnx', 'ONNX int8': 'int8.onnx'}

def images(args):
    "Files of the table, repeated until there are enough"
    from fashion_fastai.run import open_run
    from fashion_fastai.serving.inputs import find_image_files
    paths,n = list(map(str, find_image_files(args.table).paths)),64*args.batches
    return (paths*(1+n//len(paths)))[:n], open_run(args.runs['run']).config.image

def prepare(name, args):
    if name!='torch': os.environ['OMP_NUM_THREADS'] = '1' # ONNX Runtime and the decoder have threads of their own
    else:
        from fashion_fastai.core.allocator import tune_allocator
        tune_allocator()
    from fashion_fastai.data.images import ImageReader
    from fashion_fastai.serving.predictor import Predictor
    paths,image = images(args)
    reader = ImageReader.from_config(image)
    if name=='reading': work = lambda: [None for _ in reader.stream(paths)]
    else:
        predictor = Predictor.load(args.runs[WAYS[name]])
        if args.files: work = lambda: predictor(paths)
        else:
            pixels,_ = ImageReader(image.size, image.fit).decode(paths)
            work = lambda: [None for _ in predictor.compute(pixels[i:i+64] for i in range(0, len(pixels), 64))]
    def timed():
        started = time.perf_counter()
        work()
        return len(paths)/(time.perf_counter()-started)
    return timed

def agreement(args):
    "For each file the share of images with the answer of torch, for each target"
    from fashion_fastai.serving.predictor import Predictor
    paths = list(dict.fromkeys(images(args)[0]))
    frames = {name: Predictor.load(args.runs[file])(paths).frame() for name,file in WAYS.items()}
    targets = Predictor.load(args.runs['float32.onnx']).schema.names
    same = lambda frame: ', '.join(f"{(frame[o]==frames['torch'][o]).mean():.1%} {o}" for o in targets)
    return '; '.join(f'{name}: {same(o)}' for name,o in frames.items() if name!='torch')

if __name__=='__main__':
    args = arguments(__doc__, rounds=7, batches=12, run='')
    tool = [sys.executable, '-m', 'fashion_fastai.cli']
    with tempfile.TemporaryDirectory() as folder:
        run = args.run or f'{folder}/run'
        if not args.run: subprocess.run([*tool, 'train', '--data', args.table, '--epochs', '0', '--out', run], check=True, capture_output=True)
        args.runs = {'run': run} | {o: f'{folder}/{o}' for o in ('float32.onnx', 'int8.onnx')}
        from fashion_fastai.commands.export import export_command
        for o in ('float32.onnx', 'int8.onnx'): export_command(Path(run), Path(args.runs[o]), int8=o=='int8.onnx')
        texts = []
        for args.files in (True, False):
            seen = alternate((*WAYS, *(['reading'] if args.files else [])), prepare, args, args.rounds)
            texts.append(rates(seen, ('torch', 'ONNX float32'), f"answers from {'files' if args.files else 'decoded pixels'}, batches of 64"))
        texts.append(f'The same answers as torch on {len(set(images(args)[0])):,} images: {agreement(args)}.')
    report('serve_throughput', '\n\n'.join(texts), args.write)
