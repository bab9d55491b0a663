"""A soup is a complete run with mean weights. It is never worse on the validation split than the best of its members,
and no member was trained on that split"""
import json
import pandas as pd, pytest, torch
from fashion_fastai.cli import main
from fashion_fastai.config import make_config
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.from_config import catalogue_from_config
from fashion_fastai.experiments.soup import make_soup, mean_weights
from fashion_fastai.models.network import create_network, load_network, save_network
from fashion_fastai.run import Run, open_run, start_run

FILES = {'config.yaml', 'schema.json', 'model.safetensors', 'soup.json', 'metrics.json', 'calibration.json',
    'co_occurrence.json', 'predictions', 'figures', 'report.html', 'MODEL_CARD.md', 'ood_detector.safetensors',
    'reference_sample.safetensors'}

def make_run(path, sample, seed=0, neck=None):
    "Write a run with random weights and the targets of the table"
    settings = dict(data=dict(path=str(sample)), model=dict(arch='test_resnet', weights='none', neck=neck or {}),
        image=dict(size=32, mean=(0.5,)*3, std=(0.5,)*3))
    config = make_config('two-head', settings)
    run = start_run(path, config, catalogue_from_config(config).schema)
    save_network(create_network(run.schema, 'test_resnet', 32, 'none', neck=neck, seed=seed), run.model)
    return run

@pytest.fixture(scope='module')
def runs(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp('soups')
    return [make_run(folder/f'seed{seed}', sample, seed) for seed in (1, 2, 3)]

def test_a_soup_is_a_complete_run(runs, tmp_path, capfd):
    args = ['soup', *[str(run.path) for run in runs], '--out', str(tmp_path/'soup')]
    assert main(args)==0
    output,soup = capfd.readouterr(),open_run(tmp_path/'soup')
    assert f'run: {soup.path}' in output.out and 'the best single run' in output.err
    members = json.loads((soup.path/'soup.json').read_text())['members']
    kept = [member for member in members if member['kept']]
    assert members[0]['kept'] and members[0]['alone']==max(member['alone'] for member in members)
    assert members[0]['alone']<=max(member['mean'] for member in kept)
    assert {path.name for path in soup.path.iterdir()}==FILES
    assert [path.name for path in tmp_path.iterdir()]==['soup'] # neither a lock nor a temporary folder
    if len(kept)>1:
        assert 'the mean of the weights of' in (soup.path/'MODEL_CARD.md').read_text()
        assert soup.config.model.origin.startswith('the mean')
    else: assert 'no soup is as good as' in output.out
    assert main(['evaluate', str(soup.path)])==0
    assert main(args)==2
    assert 'exists already' in capfd.readouterr().err

def test_what_cannot_be_averaged(runs, sample, tmp_path):
    wide = make_run(tmp_path/'wide', sample, neck=dict(kind='mlp', sizes=[8]))
    refitted = make_run(tmp_path/'refitted', sample)
    refitted.config.training.refit = True
    refused = [([runs[0], wide], 'is not a network of the same shape as .*: heads.0.0.weight is'),
        (runs[:1], 'two runs or more'), ([runs[0]]*2, 'is named twice'), ([runs[0], refitted], 'was refitted')]
    for some_runs,message in refused:
        with pytest.raises(UsageError, match=message): make_soup(some_runs, tmp_path/'soup')
    assert not (tmp_path/'soup').exists()

def test_the_mean_of_equal_weights_is_exact(runs):
    weights = load_network(runs[0]).state_dict()
    for key,tensor in mean_weights([weights]*3).items(): assert torch.equal(tensor, weights[key]), key

def test_a_member_trained_on_the_validation_split_is_refused(sample, tmp_path, runs):
    table = pd.read_csv(sample, keep_default_na=False).drop(columns='split')
    table.file = [str(sample.parent/file) for file in table.file]
    table.to_csv(tmp_path/'unsplit.csv', index=False)
    config = runs[0].config.model_copy(deep=True)
    config.data.path,config.data.allow_outside = str(tmp_path/'unsplit.csv'),True
    other = start_run(tmp_path/'other', config, runs[0].schema)
    save_network(load_network(runs[0]), other.model)
    with pytest.raises(UsageError, match='images that are held out from'):
        make_soup([runs[0], Run(other.path)], tmp_path/'soup')
    assert not (tmp_path/'soup').exists()
