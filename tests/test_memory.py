"Memory is level over the epochs of a training"
import platform
from pathlib import Path
import pytest
from fashion_fastai.data.sample import sample_catalogue_path

@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0]!='glibc', reason='the C library is not glibc')
@pytest.mark.parametrize('what', ['pictures', 'labels'])
def test_five_epochs(what, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]/'benchmarks'))
    from memory import growth, in_process, learner_of_labels, learner_of_pictures
    make,arg = (learner_of_pictures, sample_catalogue_path()) if what=='pictures' else (learner_of_labels, 50_000)
    seen,_ = in_process(growth, make, arg, True, GLIBC_TUNABLES='glibc.malloc.tcache_count=0') # else glibc adds up to 2.5 % of its own, by chance
    assert len(seen)==5 and max(seen)<1.02*seen[0], seen
