"`--goal balanced`: rare classes are found, by biases of the saved network and nothing else"
import json
import numpy as np, pandas as pd, pytest, timm, torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from fashion_fastai.cli import main
from fashion_fastai.config import make_config
from fashion_fastai.core.errors import UsageError
from fashion_fastai.evaluation.evaluate import evaluate
from fashion_fastai.experiments.prepare import prepare
from fashion_fastai.models.heads import HEADS
from fashion_fastai.run import open_run
from fashion_fastai.serving.predictor import Predictor

GREY = dict(shirt=110, dress=120, skirt=130)
ROWS = dict(shirt=240, dress=24, skirt=12)

@pytest.fixture(scope='module')
def skewed(tmp_path_factory):
    "A table of grey images: three classes that overlap, of which one is ten and twenty times as frequent as the others"
    folder,rng = tmp_path_factory.mktemp('skewed'),np.random.default_rng(0)
    rows = []
    for category,n in ROWS.items():
        for i in range(n):
            pixels = np.clip(rng.normal(GREY[category], 8)+rng.normal(0, 2, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder/f'{category}{i}.png')
            split = 'valid' if i%2 else 'train'
            rows.append(dict(file=f'{category}{i}.png', category=category, attributes='plain'*(i%3==0), split=split))
    pd.DataFrame(rows).to_csv(folder/'labels.csv', index=False)
    return folder/'labels.csv'

@pytest.fixture(scope='module')
def options(skewed, tmp_path_factory):
    file = tmp_path_factory.mktemp('weights')/'resnet10t.safetensors'
    torch.manual_seed(0)
    save_file(timm.create_model('resnet10t').state_dict(), file)
    small = ['--arch', 'resnet10t', '--weights', str(file), '--size', '32', '--epochs', '0']
    return ['train', '--data', str(skewed), *small]

@pytest.fixture(scope='module')
def runs(options, tmp_path_factory):
    "The same training with both goals"
    folder = tmp_path_factory.mktemp('goals')
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('FASHION_CACHE', str(folder/'cache'))
        for goal in 'accuracy', 'balanced': assert main([*options, '--goal', goal, '--out', str(folder/goal)])==0
    return {goal: open_run(folder/goal) for goal in ('accuracy', 'balanced')}

def category_scores(run): return json.loads(run.metrics.read_text())['targets']['category']

def test_rare_classes_are_found(runs):
    before,after = [category_scores(runs[goal])['mean_class_accuracy'] for goal in ('accuracy', 'balanced')]
    assert after>before+0.05

def test_the_card_names_the_goal(runs):
    cards = {goal: (run.path/'MODEL_CARD.md').read_text() for goal,run in runs.items()}
    assert 'balanced: every label counts the same' in cards['balanced'] and 'balanced:' not in cards['accuracy']

def test_it_is_in_the_weights(runs, skewed):
    "So evaluating and predicting need no code of their own"
    plain,balanced = [load_file(run.model) for run in runs.values()]
    assert [name for name in plain if not plain[name].equal(balanced[name])]==['heads.0.0.bias', 'heads.1.0.bias']
    run = runs['balanced']
    scores = evaluate(run).predictions.metrics('valid')['targets']['category']
    assert scores['mean_class_accuracy']==category_scores(run)['mean_class_accuracy']
    predictions,predictor = evaluate(run).predictions,Predictor.load(run.path)
    for i in range(0, len(predictions), 12):
        label = run.schema['category'].vocab[predictions.probs['category'][i].argmax()]
        assert predictor(skewed.parent/predictions.files[i])['category'].labels==(label,)

def test_a_head_without_a_bias_is_refused(skewed, monkeypatch):
    monkeypatch.setitem(HEADS, 'unbiased', lambda n_in, n_out: nn.Linear(n_in, n_out, bias=False))
    model = dict(arch='resnet10t', weights='none', heads=dict(category=dict(kind='unbiased')))
    config = make_config('balanced', dict(data=dict(path=str(skewed)), image=dict(size=32), model=model))
    with pytest.raises(UsageError, match='the head of category does not end in a linear layer with'): prepare(config)

def test_an_unknown_goal_names_both(options, tmp_path, capsys):
    assert main([*options, '--goal', 'ballanced', '--out', str(tmp_path/'run')])==2
    error = capsys.readouterr().err
    assert 'training.goal' in error and 'accuracy' in error and 'balanced' in error
