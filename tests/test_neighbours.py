"What the nearest neighbours say stands beside linear heads, wherever these are told"
import json, re
import pytest
from fashion_fastai.cli import main

@pytest.fixture(scope='module')
def solved(sample, tmp_path_factory):
    "A run whose heads were solved, and what was said meanwhile"
    import contextlib, io, os
    folder = tmp_path_factory.mktemp('neighbours')
    before,said = os.environ.get('FASHION_CACHE'),io.StringIO()
    os.environ['FASHION_CACHE'] = str(folder/'cache')
    try:
        with contextlib.redirect_stderr(said): assert main(['train', '--data', str(sample), '--size', '64', '--epochs', '0', '--out', str(folder/'run')])==0
        yield folder/'run',said.getvalue()
    finally: os.environ.pop('FASHION_CACHE') if before is None else os.environ.update(FASHION_CACHE=before)

def test_the_log_has_both(solved):
    line = re.compile(r'in \d+ s: category/accuracy ([\d.]+), category/mean_class_accuracy [\d.]+, attributes/samples_f1 [\d.]+, attributes/macro_f1 [\d.]+')
    heads,neighbours = [o for o in solved[1].splitlines() if o.startswith(('the linear probe, linear heads', 'kNN on the same features, cosine, k=20'))]
    assert float(line.search(heads)[1])>0.2 and float(line.search(neighbours)[1])>0.2 # of twelve categories

def test_the_run_has_both(solved):
    run,said = solved
    scores = json.loads((run/'linear_probe.json').read_text())
    assert scores['knn']['rows']==scores['rows'] and scores['knn']['targets'].keys()==scores['targets'].keys()
    assert f'category/accuracy {scores["knn"]["targets"]["category"]["accuracy"]:.3f}' in said.split('kNN')[1]
    assert '<th scope="col">kNN</th>' in (run/'report.html').read_text()
    assert '| linear probe | kNN |' in (run/'MODEL_CARD.md').read_text()

def test_evaluate_has_both(solved, capsys):
    assert main(['evaluate', str(solved[0])])==0
    assert 'linear probe    kNN' in capsys.readouterr().out

def test_scores_from_before_there_were_neighbours_are_read(solved, tmp_path, capsys):
    file = solved[0]/'linear_probe.json'
    whole = file.read_text()
    try:
        file.write_text(json.dumps({k: v for k,v in json.loads(whole).items() if k!='knn'}))
        assert main(['evaluate', str(solved[0])])==0
        said = capsys.readouterr().out
        assert 'linear probe' in said and 'kNN' not in said
    finally: file.write_text(whole)
