"Tutorials are stored with their outputs, which must not contain anything of the machine that ran them"
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1]/'nbs'/'tutorials'
TUTORIALS = sorted(FOLDER.glob('*.ipynb'))
FORBIDDEN = r'/tmp/|/home/|/root/|/work/|/Users/', r'\w+Warning\b|warnings\.warn', '\x1b'

def code_cells(path):
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [cell for cell in cells if cell['cell_type']=='code']

def texts(cell):
    "Yield the text of all outputs of a cell"
    for output in cell['outputs']:
        yield ''.join(output.get('text', ''))
        for kind, data in output.get('data', {}).items():
            if kind.startswith('text/'): yield ''.join(data)

def test_there_are_tutorials(): assert len(TUTORIALS)>=7

@pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem)
def test_outputs(path):
    outputs = [output for cell in code_cells(path) for output in cell['outputs']]
    assert any('image/png' in output.get('data', {}) for output in outputs), 'a tutorial shows a figure'
    assert 'error' not in [output['output_type'] for output in outputs]
    assert path.stat().st_size<300_000
    shown = [text for cell in code_cells(path) for text in texts(cell)]
    for pattern in FORBIDDEN: assert not [text for text in shown if re.search(pattern, text)], pattern

@pytest.mark.parametrize('path', TUTORIALS, ids=lambda path: path.stem)
def test_tagged(path):
    "`make test` skips tutorials, `make test-all` runs them; a cell without the tag would run without those before it"
    assert all('slow' in cell['metadata'].get('nbdev', {}) for cell in code_cells(path))
    assert all(cell['execution_count'] is None for cell in code_cells(path))
