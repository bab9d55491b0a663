"""From JPEG files to pixels on a device, images per second: our reader on the cores of the CPU, and
`torchvision.io.decode_jpeg` on the device, both to squares of the same size.

With `--device cpu`, torchvision decodes on the CPU, which only shows that the benchmark runs. Files are read before the
clock starts for torchvision, and by our reader within it.

    python benchmarks/gpu_decode.py [TABLE] [--device cuda] [--size 224] [--n 2048] [--write]
"""
import statistics
import numpy as np
from bench import arguments, markdown, now, report, use_device

def ours(paths, size, device):
    "Return the seconds of our reader"
    import torch
    from fashion_fastai.config import ImageConfig
    from fashion_fastai.data.images import ImageReader
    reader = ImageReader.from_config(ImageConfig(size=size))
    boxes = np.full((len(paths), 4), np.nan)
    started = now()
    for _,pixels,_ in reader.stream(paths, boxes, 64): torch.from_numpy(pixels).to(device)
    return now()-started

def torchvision_decoder(paths, size, device):
    "Return the seconds of torchvision; a decoder on the device takes a list of files at once"
    import torch, torch.nn.functional as F
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    files = [read_file(str(path)) for path in paths]
    started = now()
    for i in range(0, len(files), 64):
        for image in decode_jpeg(files[i:i+64], mode=ImageReadMode.RGB, device=device):
            x = image[None].to(torch.float32)
            F.interpolate(x, (size, size), mode='bilinear', antialias=True).round().to(torch.uint8)
    return now()-started

if __name__=='__main__':
    args = arguments(__doc__, size=224, n=2048, rounds=5, device='cpu')
    device = use_device(args.device)
    from fashion_fastai.data.catalogue import read_catalogue
    catalogue = read_catalogue(args.table)
    paths = list(catalogue.take(np.arange(min(args.n, len(catalogue)))).paths)
    contenders,seconds = {'ours, CPU threads': ours, f'torchvision on {args.device}': torchvision_decoder},{}
    for number in range(args.rounds+1):
        for name,work in contenders.items():
            time = work(paths, args.size, device)
            if number: seconds.setdefault(name, []).append(time)
    rows = [[name, f'{len(paths)/statistics.median(values):.0f}'] for name,values in seconds.items()]
    table = markdown([f'JPEG files to {args.size} px on {args.device}', 'images/s (median)'], rows)
    report('gpu_decode', table, args.write)
