"The comparison with peers scores what they write, and its parts fit together; nothing is installed or trained"
import ast, json, math
from argparse import Namespace
from pathlib import Path
import numpy as np, pytest

BENCHMARKS = Path(__file__).parents[1]/'benchmarks'
TABLE = '''file,category,attributes,split
1.jpg,dress,red dotted,train
2.jpg,shirt,blue,train
3.jpg,dress,red,train
4.jpg,shirt,,valid
5.jpg,dress,blue red,valid
6.jpg,dress,dotted,valid
7.jpg,shirt,red,valid
'''

@pytest.fixture
def peers_table(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peers_table
    return peers_table

@pytest.fixture
def table(tmp_path):
    path = tmp_path/'labels.csv'
    path.write_text(TABLE)
    return path

def perfect_probs(task):
    "Probabilities that are certain and right"
    return np.eye(len(task.categories))[task.valid.category],task.valid.attributes

def test_perfect_probabilities_score_one(peers_table, table, tmp_path):
    from peers.task import read_task, write_probs
    task = read_task(table)
    assert task.categories==['dress', 'shirt'] and task.attributes==['blue', 'dotted', 'red']
    assert task.valid.files==['4.jpg', '5.jpg', '6.jpg', '7.jpg'] and task.valid.category.tolist()==[1, 0, 0, 1]
    write_probs(tmp_path/'probs.npz', task, *perfect_probs(task))
    scores = peers_table.score(peers_table.read_probs(tmp_path/'probs.npz', table))
    assert list(scores)==list(peers_table.SCORES)
    assert all(scores[name]==1 for name in scores if not name.endswith('fitted')), scores

def test_a_peer_of_one_target_has_no_scores_for_the_other(peers_table, table, tmp_path):
    from peers.task import read_task, write_probs
    task = read_task(table)
    write_probs(tmp_path/'probs.npz', task, perfect_probs(task)[0])
    scores = peers_table.score(peers_table.read_probs(tmp_path/'probs.npz', table))
    assert scores['category/accuracy']==1 and math.isnan(scores['attributes/macro_f1'])

def rows(peers_table):
    "Two budgets of a contender with both targets, and one of a contender without attributes"
    def row(name, minutes, value, attributes):
        scores = {score: value if score.startswith('category') else attributes for score in peers_table.SCORES}
        return dict(name=name, minutes=minutes, seconds=58*minutes, **scores)
    return [row('ours', 10, 0.9, 0.6), row('ours', 3, 0.8, 0.5), row('autogluon_multimodal', 3, 0.7, math.nan)]

def test_table_and_curves(peers_table, tmp_path):
    found = rows(peers_table)
    lines = peers_table.table_of(found).splitlines()
    assert lines[2].startswith('| 3 | fashion-fastai train | 174 | 0.800 | 0.800 | 0.500 |')
    assert lines[3].startswith('| 3 | AutoGluon MultiModal | 174 | 0.700 | 0.700 |  |')
    assert peers_table.curves(found, 'category/accuracy')=={'ours': ([174, 580], [0.8, 0.9]),
        'autogluon_multimodal': ([174], [0.7])}
    assert list(peers_table.curves(found, 'attributes/macro_f1'))==['ours']
    peers_table.plot(found, tmp_path/'plots/peers.png')
    assert (tmp_path/'plots/peers.png').stat().st_size>10_000

def test_training_steps_end_in_time(peers_table):
    from peers.task import steps_in_time
    n_steps = steps_in_time(100, 0.5, n_valid=640)
    assert 0.5*n_steps+10*0.25<=95 < 0.5*(n_steps+1)+10*0.25
    assert steps_in_time(-5, 0.5, n_valid=640)==1

def test_every_contender_has_a_program_that_compiles(peers_table, tmp_path):
    args = Namespace(table='labels.csv', size=128, work=tmp_path)
    for name in peers_table.NAMES:
        line = peers_table.command(name, 'python', args, 3., tmp_path)
        assert '3' in line and name in peers_table.COLORS
        if line[2].startswith('peers.'): assert (BENCHMARKS/f'{line[2].replace(".", "/")}.py').is_file()
    for path in BENCHMARKS.rglob('*.py'): ast.parse(path.read_text(encoding='utf-8'))
    for path in (BENCHMARKS/'peers/requirements').iterdir(): assert path.stem in peers_table.NAMES

def test_a_run_is_measured_once(peers_table, tmp_path, monkeypatch):
    calls = []
    def fake_run(line, **options):
        calls.append(line)
        return Namespace(returncode=0)
    monkeypatch.setattr(peers_table.subprocess, 'run', fake_run)
    args = Namespace(table='labels.csv', size=128, work=tmp_path)
    folder = peers_table.run('plain_fastai', args, 3.)
    assert peers_table.run('plain_fastai', args, 3.)==folder and len(calls)==1
    assert json.loads((folder/'done.json').read_text())['size']==128
    args.size = 224
    peers_table.run('plain_fastai', args, 3.)
    assert len(calls)==2
