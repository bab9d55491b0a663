"""Predicted images per second of one run: torch, ONNX Runtime in float32 and in 8 bits. Once from files, as the
predictor serves them (beside it reading alone, which is the limit), and once from decoded pixels, where only the
network counts.

    python benchmarks/serve_throughput.py [TABLE] [--run RUN] [--write]

Without a run, linear heads are fitted for the table (`--epochs 0`).
"""
import os, subprocess, sys, tempfile, time
from pathlib import Path
from bench import alternate, arguments, rates, report

FILES = {'torch': 'run', 'ONNX float32': 'float32.onnx', 'ONNX int8': 'int8.onnx'}

def images(args):
    "Return image files of the table, repeated until there are enough, and the run's image settings"
    from fashion_fastai.run import open_run
    from fashion_fastai.serving.inputs import find_image_files
    paths = list(map(str, find_image_files(args.table).paths))
    n = 64*args.batches
    return (paths*(1+n//len(paths)))[:n], open_run(args.paths['run']).config.image

def prepare(name, args):
    "Return a function that measures the rate of a contender, in images per second"
    if name!='torch': os.environ['OMP_NUM_THREADS'] = '1' # ONNX Runtime and the decoder have threads of their own
    else:
        from fashion_fastai.core.allocator import tune_allocator
        tune_allocator()
    work,n = contender(name, args)
    def timed():
        started = time.perf_counter()
        work()
        return n/(time.perf_counter()-started)
    return timed

def contender(name, args):
    "Return the work of a contender and its number of images"
    from fashion_fastai.data.images import ImageReader
    from fashion_fastai.serving.predictor import Predictor
    paths,image = images(args)
    if name=='reading':
        reader = ImageReader.from_config(image)
        return lambda: [None for _ in reader.stream(paths)], len(paths)
    predictor = Predictor.load(args.paths[FILES[name]])
    if args.files: return lambda: predictor(paths), len(paths)
    pixels,_ = ImageReader(image.size, image.fit).decode(paths)
    def from_pixels(): return list(predictor.compute(pixels[i:i+64] for i in range(0, len(pixels), 64)))
    return from_pixels, len(paths)

def agreement(args):
    "Return the share of images with the result of torch, for each file and target"
    from fashion_fastai.serving.predictor import Predictor
    paths = list(dict.fromkeys(images(args)[0]))
    frames = {name: Predictor.load(args.paths[file])(paths).frame() for name,file in FILES.items()}
    targets = Predictor.load(args.paths['float32.onnx']).schema.names
    expected = frames.pop('torch')
    def shares(frame):
        return ', '.join(f'{(frame[target]==expected[target]).mean():.1%} {target}' for target in targets)
    return '; '.join(f'{name}: {shares(frame)}' for name,frame in frames.items())

if __name__=='__main__':
    args = arguments(__doc__, rounds=7, batches=12, run='')
    tool = [sys.executable, '-m', 'fashion_fastai.cli']
    with tempfile.TemporaryDirectory() as folder:
        run = args.run or f'{folder}/run'
        train = [*tool, 'train', '--data', args.table, '--epochs', '0', '--out', run]
        if not args.run: subprocess.run(train, check=True, capture_output=True)
        args.paths = {'run': run} | {name: f'{folder}/{name}' for name in ('float32.onnx', 'int8.onnx')}
        from fashion_fastai.commands.export import export_command
        export_command(Path(run), Path(args.paths['float32.onnx']))
        export_command(Path(run), Path(args.paths['int8.onnx']), int8=True)
        texts = []
        for args.files in (True, False):
            figures = alternate((*FILES, *(['reading'] if args.files else [])), prepare, args, args.rounds)
            source = 'files' if args.files else 'decoded pixels'
            texts.append(rates(figures, ('torch', 'ONNX float32'), f'prediction from {source}, batches of 64'))
        texts.append(f'Results equal to torch on {len(set(images(args)[0])):,} images: {agreement(args)}.')
    report('serve_throughput', '\n\n'.join(texts), args.write)
