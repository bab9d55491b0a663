"Memory stays flat over the epochs of a training, and only commands change the allocator"
import platform
from pathlib import Path
import pytest
from fashion_fastai.data.synthetic.dataset import sample_catalogue_path

ROOT = Path(__file__).parents[1]

def test_the_library_leaves_the_allocator_alone():
    "The command line and the worker processes of a cluster are ours; a notebook belongs to its user"
    callers = {path.name for path in (ROOT/'fashion_fastai').rglob('*.py') if ' tune_allocator()' in path.read_text(encoding='utf-8')}
    assert callers-{'allocator.py'}=={'cli.py', 'ray_cluster.py'}

@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0]!='glibc', reason='the C library is not glibc')
@pytest.mark.parametrize('what', ['images', 'labels'])
def test_five_epochs(what, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT/'benchmarks'))
    from memory import growth, in_process, learner_of_labels, learner_of_images
    make,arg = (learner_of_images, sample_catalogue_path()) if what=='images' else (learner_of_labels, 50_000)
    seen,_ = in_process(growth, make, arg, True)
    assert len(seen)==5 and max(seen)<1.05*seen[0], seen
