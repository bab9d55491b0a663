"What strangers send is refused or a bad row, through the command line; see helpers/hostile.py"
import subprocess
import pytest
from helpers import hostile
from fashion_fastai.cli import main

QUICK = [*hostile.addresses(), 'a table of addresses for a training', 'tile.tif (8 x 8 pixels in a tile of 30,000 x 30,000)', 'half.jpg (a download that broke off)', 'program.jpg (PostScript)', 'thread.png (1 x 65,000 pixels)', 'pipe.jpg (a named pipe that nobody writes to)',
    'polyglot.gif (a zip behind a GIF)', 'exif-loop.jpg (a directory in itself)', 'phone.jpg (HEIC under the name of a JPEG)', 'a million columns', 'a file name that climbs out', 'a file name through a link that leads out', 'a link to /dev/zero',
    'a Parquet file of a million cells of 1 MB', 'an image of a Hugging Face set that climbs out', 'a billion laughs', 'a tag that calls code', 'a checkpoint for timm to open', 'a pickle with code as .safetensors',
    'a pickle with code as weights', 'a head of 16 GB', 'weights that are no numbers', 'settings with a tag that calls code', 'a calibration with NaN', 'half a surrogate as label', 'a name of two lines']

@pytest.fixture
def folder(tmp_path):
    "A folder that is removed however deep it is"
    yield tmp_path
    subprocess.run(['rm', '-rf', str(tmp_path)])

def test_a_selection(folder, capsys, monkeypatch):
    monkeypatch.setenv('FASHION_CACHE', str(folder/'cache'))
    cases = hostile.drawn(folder, lambda name: name in QUICK)
    assert {o.name for o in cases}==set(QUICK)
    for case in cases:
        capsys.readouterr()
        code = main([str(o) for o in case.args])
        said = hostile.what_was_said(case, code, capsys.readouterr().err)
        assert not (wrong := hostile.wrong(case, hostile.Outcome(code, said, 0, 0, 0))), f'{case.kind}: {case.name}: {wrong}'

@pytest.mark.slow
def test_all(folder):
    cases = hostile.corpus(folder)
    assert len(cases)>=60
    for case in cases:
        found = hostile.outcome(case)
        assert not (wrong := hostile.wrong(case, found)), f'{case.kind}: {case.name}: {wrong}'
        assert found.cpu<30, f'{case.kind}: {case.name}: {found.cpu} s' # a machine may be busy or slow: what is asked is that nothing hangs; python tests/helpers/hostile.py FOLDER --write measures
