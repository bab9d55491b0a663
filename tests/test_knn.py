"kNN, the second baseline, is shown beside the linear probe: in the log, the run, the report and by `evaluate`"
import json, re
from fashion_fastai.cli import main

SCORES = re.compile(r'in \d+ s: category/accuracy ([\d.]+), category/mean_class_accuracy [\d.]+, '
    r'attributes/samples_f1 [\d.]+, attributes/macro_f1 [\d.]+')

def baseline_line(log, name):
    (line,) = [line for line in log.splitlines() if line.startswith(f'Quick baseline ({name}')]
    return line

def test_the_log_has_both(probe_run):
    for name in ('linear probe, no fine-tuning)', 'kNN on the same features, cosine, k=20)'):
        assert float(SCORES.search(baseline_line(probe_run[1], name))[1])>0.2 # of twelve categories

def test_the_run_has_both(probe_run):
    run,log = probe_run
    scores = json.loads((run/'linear_probe.json').read_text())
    assert scores['knn']['rows']==scores['rows'] and scores['knn']['targets'].keys()==scores['targets'].keys()
    accuracy = scores['knn']['targets']['category']['accuracy']
    assert f'category/accuracy {accuracy:.3f}' in baseline_line(log, 'kNN')
    assert '<th scope="col">kNN</th>' in (run/'report.html').read_text()
    assert '| quick baseline (linear probe) | kNN |' in (run/'MODEL_CARD.md').read_text()

def test_evaluate_has_both(probe_run, capsys):
    assert main(['evaluate', str(probe_run[0])])==0
    assert 'linear probe    kNN' in capsys.readouterr().out

def test_scores_without_knn_are_read(probe_run, capsys):
    run,_ = probe_run
    file = run/'linear_probe.json'
    text = file.read_text()
    try:
        file.write_text(json.dumps({name: value for name,value in json.loads(text).items() if name!='knn'}))
        assert main(['evaluate', str(run)])==0
        output = capsys.readouterr().out
        assert 'linear probe' in output and 'kNN' not in output
    finally: file.write_text(text)
