"The Meesho challenge from its files to the submission, on a drawn set: trained, scored by its protocol, submitted"
import json
import pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.data.formats.registry import convert
from fashion_fastai.run import open_run
from fashion_fastai.serving.submissions import check_submission, read_submission
from helpers.meesho import QUESTIONS, draw_meesho

def run_command(*args):
    assert main([str(arg) for arg in args])==0

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('meesho')
    draw_meesho(folder/'set', n=200, n_test=10)
    run_command('train', '--format', 'meesho', '--data', folder/'set', '--out', folder/'run', '--arch', 'fashion_cnn3', '--weights', 'none', '--size', 32, '--epochs', 2, '--batch-size', 32)
    return folder

@pytest.mark.slow
def test_meesho_from_files_to_submission(trained, capsys):
    run = open_run(trained/'run')
    metrics = json.loads(run.metrics.read_text())
    assert set(metrics['protocols']['meesho'])=={*QUESTIONS, 'mean'} and len(metrics['targets'])==18
    assert 0<metrics['protocols']['meesho']['mean']['f1']<=1
    run_command('evaluate', run.path, '--protocol', 'meesho')
    assert f'{metrics["protocols"]["meesho"]["mean"]["f1"]:.4f}' in capsys.readouterr().out
    convert('meesho', trained/'set', trained/'labels.csv')
    run_command('predict', run.path, trained/'labels.csv', '--images', trained, '--split', 'test', '--format', 'meesho-csv', '--out', trained/'out.csv')
    table, test = read_submission('meesho-csv', trained/'out.csv'), pd.read_csv(trained/'set/test.csv')
    assert table.id.tolist()==test.id.tolist() and table.Category.tolist()==test.Category.tolist()
    assert table.len.tolist()==[len(QUESTIONS[category]) for category in test.Category]
    check_submission('meesho-csv', trained/'out.csv', run.schema, [f'{number:06d}.jpg' for number in test.id])
    run_command('predict', run.path, trained/'set/test_images', '--format', 'meesho-csv', '--out', trained/'predicted.csv')
    assert 'no column Category' in capsys.readouterr().err and len(read_submission('meesho-csv', trained/'predicted.csv'))==10
