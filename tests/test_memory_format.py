"A network is trained in a memory format in which its backward pass is right"
import subprocess, sys
import numpy as np, pytest, torch
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.training.learner import fashion_learner

def fit(sample, arch, size)->list[torch.Tensor]: # images of the batches
    catalogue = read_catalogue(sample)
    catalogue = catalogue.take(np.concatenate([catalogue.where(split)[:n] for split,n in (('train', 8), ('valid', 4))]))
    learn,seen = fashion_learner(catalogue, arch, size, 4, 'none'),[]
    learn.model.register_forward_pre_hook(lambda network, args: seen.append(args[0]))
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
    assert all(values.isfinite().all() for values in learn.model.parameters())
    return [x for x in seen if len(x)==4]

@pytest.mark.parametrize('arch, is_apart', [('fastvit_t8', True), ('test_resnet', False)])
def test_images_have_the_format_of_the_network(sample, arch, is_apart):
    for x in fit(sample, arch, 64):
        assert x.is_contiguous()==is_apart and x.is_contiguous(memory_format=torch.channels_last)!=is_apart

@pytest.mark.slow # a training that ends the process, as it did
def test_fastvit_trains(sample):
    "In a process of its own: at 256 px the first step of `fastvit_sa12` in channels-last corrupts memory"
    code = f"from test_memory_format import fit; fit({str(sample)!r}, 'fastvit_sa12', 256)"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=__file__.rpartition('/')[0])
    assert done.returncode==0, (done.returncode, done.stderr[-500:])
