"A soup is a complete run whose weights are a mean; it is never worse on the validation split than the best of its members, and nothing is judged on what it learned from"
import json
import pandas as pd, pytest, torch
from fashion_fastai.cli import main
from fashion_fastai.config import make_config
from fashion_fastai.data.from_config import catalogue_from_config
from fashion_fastai.core.errors import UsageError
from fashion_fastai.models.network import create_network, load_network, save_network
from fashion_fastai.run import Run, open_run, start_run
from fashion_fastai.experiments.soup import make_soup, mean_weights

def make_run(path, sample, seed=0, neck=None):
    "A run of random weights; the table tells its targets"
    settings = dict(data=dict(path=str(sample)), model=dict(arch='test_resnet', weights='none', neck=neck or {}), image=dict(size=32, mean=(0.5,)*3, std=(0.5,)*3))
    config = make_config('two-head', settings)
    run = start_run(path, config, catalogue_from_config(config).schema)
    save_network(create_network(run.schema, 'test_resnet', 32, 'none', neck=neck, seed=seed), run.model)
    return run

@pytest.fixture(scope='module')
def runs(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp('soups')
    return [make_run(folder/f'seed{o}', sample, o) for o in (1,2,3)]

def test_a_soup_is_a_complete_run(runs, tmp_path, capfd):
    out = tmp_path/'soup'
    assert main(['soup', *[str(o.path) for o in runs], '--out', str(out)])==0
    said,made = capfd.readouterr(),open_run(out)
    assert f'run: {out}' in said.out and 'the best alone' in said.err
    members = json.loads((out/'soup.json').read_text())['members']
    kept = [o for o in members if o['kept']]
    assert members[0]['kept'] and members[0]['alone']==max(o['alone'] for o in members)<=max(o['mean'] for o in kept)
    assert {o.name for o in out.iterdir()}=={'config.yaml', 'schema.json', 'model.safetensors', 'soup.json', 'metrics.json', 'calibration.json', 'co_occurrence.json', 'predictions', 'figures',
        'report.html', 'MODEL_CARD.md', 'ood_detector.safetensors', 'reference_sample.safetensors'}
    assert [o.name for o in tmp_path.iterdir()]==['soup'] # neither a lock nor a passing folder
    card = (out/'MODEL_CARD.md').read_text()
    if kept[1:]: assert 'the mean of the weights of' in card and made.config.model.origin.startswith('the mean')
    else: assert 'no mean is as good as' in said.out
    assert main(['evaluate', str(out)])==0
    assert main(['soup', *[str(o.path) for o in runs], '--out', str(out)])==2
    assert 'exists already' in capfd.readouterr().err

def test_what_cannot_be_averaged(runs, sample, tmp_path):
    wide,refitted = make_run(tmp_path/'wide', sample, neck=dict(kind='mlp', sizes=[8])),make_run(tmp_path/'refitted', sample)
    refitted.config.training.refit = True
    for some,said in (([runs[0], wide], 'is not a network of the same shape as .*: heads.0.0.weight is'), (runs[:1], 'two runs or more'), ([runs[0]]*2, 'is named twice'), ([runs[0], refitted], 'was refitted')):
        with pytest.raises(UsageError, match=said): make_soup(some, tmp_path/'soup')
    assert not (tmp_path/'soup').exists()

def test_the_same_weights_are_themselves(runs):
    weights = load_network(runs[0]).state_dict()
    for k,v in mean_weights([weights]*3).items(): assert torch.equal(v, weights[k]), k

def test_what_a_member_learned_from_judges_nothing(sample, tmp_path, runs):
    unsplit = tmp_path/'unsplit.csv'
    frame = pd.read_csv(sample, keep_default_na=False).drop(columns='split')
    frame.file = [str(sample.parent/o) for o in frame.file]
    frame.to_csv(unsplit, index=False)
    other = Run(tmp_path/'other')
    config = runs[0].config.model_copy(deep=True)
    config.data.path,config.data.allow_outside = str(unsplit),True
    save_network(load_network(runs[0]), start_run(other.path, config, runs[0].schema).model)
    with pytest.raises(UsageError, match='images that are held out from'): make_soup([runs[0], other], tmp_path/'soup')
    assert not (tmp_path/'soup').exists()
