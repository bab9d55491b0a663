"Tutorials are kept with their outputs, which say nothing of the machine that they were made on"
import json, re
from pathlib import Path
import pytest

FOLDER = Path(__file__).parents[1]/'nbs'/'tutorials'
TUTORIALS = sorted(FOLDER.glob('*.ipynb'))

def cells(path): return [o for o in json.loads(path.read_text(encoding='utf-8'))['cells'] if o['cell_type']=='code']

def texts(cell):
    "All that the outputs of a cell say in words"
    for o in cell['outputs']:
        yield ''.join(o.get('text', ''))
        for kind,data in o.get('data', {}).items():
            if kind.startswith('text/'): yield ''.join(data)

def test_there_are_tutorials(): assert len(TUTORIALS)>=7

@pytest.mark.parametrize('path', TUTORIALS, ids=lambda o: o.stem)
def test_outputs(path):
    kinds = [o['output_type'] for cell in cells(path) for o in cell['outputs']]
    images = [o for cell in cells(path) for o in cell['outputs'] if 'image/png' in o.get('data', {})]
    assert images, 'a tutorial shows something'
    assert 'error' not in kinds
    assert path.stat().st_size<300_000
    said = [o for cell in cells(path) for o in texts(cell)]
    for wrong in (r'/tmp/|/home/|/root/|/work/|/Users/', r'\w+Warning\b|warnings\.warn', '\x1b'):
        assert not [o for o in said if re.search(wrong, o)], wrong

@pytest.mark.parametrize('path', TUTORIALS, ids=lambda o: o.stem)
def test_tagged(path):
    "`make test` leaves tutorials out, `make test-all` runs them: a cell without the tag would run without those before it"
    assert all('slow' in cell['metadata'].get('nbdev', {}) for cell in cells(path))
    assert all(cell['execution_count'] is None for cell in cells(path))
