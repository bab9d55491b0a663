"Memory stays flat over the epochs of a training, and only commands change the allocator"
import platform
from pathlib import Path
import pytest
from fashion_fastai.data.synthetic.dataset import sample_catalogue_path

ROOT = Path(__file__).parents[1]

def test_the_library_leaves_the_allocator_alone():
    "Commands and cluster workers run in processes of their own; a notebook runs in its user's"
    modules = (ROOT/'fashion_fastai').rglob('*.py')
    callers = {path.name for path in modules if ' tune_allocator()' in path.read_text(encoding='utf-8')}
    assert callers-{'allocator.py'}=={'cli.py', 'ray_cluster.py'}

@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0]!='glibc', reason='the C library is not glibc')
@pytest.mark.parametrize('data', ['images', 'labels'])
def test_memory_is_flat_over_five_epochs(data, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT/'benchmarks'))
    from memory import growth, in_process, learner_of_labels, learner_of_images
    make,arg = (learner_of_images, sample_catalogue_path()) if data=='images' else (learner_of_labels, 50_000)
    megabytes,_ = in_process(growth, make, arg, True)
    assert len(megabytes)==5 and max(megabytes)<1.05*megabytes[0], megabytes
