"Taxonomies of any depth: read from a table, kept in answers and scores, and answered down to the level that can be accepted"
import json
import numpy as np, pandas as pd, pytest, torch
from fashion_fastai.cli import main
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.catalogue import make_catalogue
from fashion_fastai.evaluation.acceptance import accept, accepted_paths
from fashion_fastai.evaluation.coverage import as_acceptance, fit_promises
from fashion_fastai.evaluation.predictions import Predictions
from fashion_fastai.evaluation.taxonomy import contradictions, enforce_taxonomy, level_answers, path_scores, true_paths
from fashion_fastai.models.network import create_network
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema, schema_from_json, taxonomy_of
from fashion_fastai.target import one_of

KINDS = dict(coat='outer', jacket='outer', jumpsuit='whole', dress='whole', shirt='top', sweater='top', t_shirt='top',
    shorts='bottom', skirt='bottom', trousers='bottom')
DEPARTMENTS = dict(outer='winter', whole='party', top='daily', bottom='daily')
LEVELS = ['department', 'group', 'category']

def with_levels(sample):
    "Return the table of the sample with two levels above its category"
    table = pd.read_csv(sample)
    return table.assign(group=table.category.map(KINDS), department=table.category.map(KINDS).map(DEPARTMENTS))

def read(table, sample, levels=LEVELS, **options):
    names = [level.removesuffix('*') for level in levels]
    return make_catalogue(table, 'shop.csv', sample.parent, one_of=names, taxonomy=levels, on_bad='keep', **options)

def test_a_chain_of_three_is_read(sample):
    tree = read(with_levels(sample), sample).schema.taxonomy
    assert tree.levels==tuple(LEVELS) and len(tree.paths)==len(KINDS)
    assert tree.ancestors('category', 'department')['skirt']==['daily']
    assert schema_from_json(read(with_levels(sample), sample).schema.to_json()).taxonomy==tree

def test_a_label_below_two_is_a_mistake_or_meant(sample):
    table = with_levels(sample)
    table.loc[table.index[table.category=='shirt'][0], 'group'] = 'bottom'
    with pytest.raises(UsageError, match=r'group and category are no taxonomy: shirt belongs to top in .*write category\*'):
        read(table, sample)
    tree = read(table, sample, ['department', 'group*', 'category*']).schema.taxonomy
    assert set(tree.ancestors('category', 'group')['shirt'])=={'bottom', 'top'}

def test_a_branch_that_is_not_divided_is_not_asked_further(sample):
    table = with_levels(sample)
    table.loc[table.group=='outer', 'category'] = ''
    schema = read(table, sample).schema
    assert ('winter', 'outer') in schema.taxonomy.paths
    assert set(schema.applies['category']['group'])=={'bottom', 'top', 'whole'}

def drawn_schema():
    targets = [one_of('department', sorted(set(DEPARTMENTS.values()))), one_of('group', sorted(DEPARTMENTS)), one_of('category', sorted(KINDS))]
    return Schema(targets=targets, taxonomy=taxonomy_of(LEVELS, DEPARTMENTS, KINDS))

def draw(n, seed=0):
    "Return predictions of heads that err on their own: the narrower the level, the more often"
    schema,random = drawn_schema(),np.random.default_rng(seed)
    category = random.integers(0, len(KINDS), n)
    names = [schema['category'].vocab[i] for i in category]
    group = np.array([schema['group'].vocab.index(KINDS[name]) for name in names])
    department = np.array([schema['department'].vocab.index(DEPARTMENTS[KINDS[name]]) for name in names])
    truth = dict(department=department, group=group, category=category)
    def head(name, sharpness):
        logits = random.normal(size=(n, schema[name].n_out))
        logits[np.arange(n), truth[name]] += sharpness
        return (np.exp(logits)/np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    probs = dict(department=head('department', 3.), group=head('group', 2.), category=head('category', 2.))
    return Predictions(schema, [f'{i}.jpg' for i in range(n)], probs, truth)

def test_the_best_path_contradicts_nothing_and_is_right_more_often():
    predictions = draw(4000)
    decoded,true = enforce_taxonomy(predictions),true_paths(predictions)
    assert contradictions(predictions.schema, predictions.probs).mean()>0.1
    assert not contradictions(predictions.schema, decoded.probs).any()
    plain,best = [path_scores(level_answers(p.schema, p.probs), *true) for p in (predictions, decoded)]
    assert best['path_accuracy']>plain['path_accuracy']+0.1 and best['hierarchical_f1']>plain['hierarchical_f1']
    for name in LEVELS: assert (decoded.probs[name].argmax(1)==predictions.truth[name]).mean()>=(predictions.probs[name].argmax(1)==predictions.truth[name]).mean()

def test_two_levels_alone_are_as_before():
    "Of two levels the best pair has the highest product of probabilities"
    schema = Schema(targets=drawn_schema().targets[1:], taxonomy=taxonomy_of(LEVELS[1:], KINDS))
    predictions = draw(300)
    found = enforce_taxonomy(Predictions(schema, predictions.files, predictions.probs))
    group,category = [found.probs[name].argmax(1) for name in LEVELS[1:]]
    parent = np.array([schema['group'].vocab.index(KINDS[label]) for label in schema['category'].vocab])
    product = predictions.probs['category']*predictions.probs['group'][:,parent]
    assert (category==product.argmax(1)).all() and (group==parent[category]).all()

def test_unsure_answers_end_at_the_level_that_can_be_accepted():
    held_out,new = draw(3000),draw(3000, seed=1)
    acceptance = as_acceptance(fit_promises(held_out, 0.95), 0.95, 0.9)
    paths = accepted_paths(new, accept(acceptance, new, {}))
    depth = np.array([len(path) for path in paths])
    assert ((depth==np.arange(4)[:,None]).mean(1)>0.02).all() # some answers end at each level
    truth = [tuple(new.schema[name].vocab[new.truth[name][i]] for name in LEVELS) for i in range(len(new))]
    nodes = sum(depth)
    right = sum(path[:i+1]==true[:i+1] for path,true in zip(paths, truth) for i in range(len(path)))
    assert right/nodes>=0.95
    answers = np.where(np.arange(3)<depth[:,None], level_answers(new.schema, new.probs), -1)
    assert path_scores(answers, *true_paths(new))['hierarchical_precision']==pytest.approx(right/nodes)

def test_broader_levels_can_be_derived():
    schema = drawn_schema()
    network = create_network(schema, 'resnet10t', weights='none', derive=True).eval()
    department,group,category = [logits.softmax(1) for logits in network(torch.rand(2, 3, 64, 64))]
    parent = torch.tensor([schema['group'].vocab.index(KINDS[label]) for label in schema['category'].vocab])
    assert torch.allclose(group, torch.zeros(2, 4).index_add(1, parent, category), atol=1e-5)
    assert torch.allclose(department.sum(1), torch.ones(2), atol=1e-5)
    shared = Schema(targets=schema.targets[1:], taxonomy=dict(levels=LEVELS[1:], paths=[*((g, c) for c,g in KINDS.items()), ('top', 'coat')]))
    with pytest.raises(UsageError, match='derive: category coat belongs to several labels of group'):
        create_network(shared, 'resnet10t', weights='none', derive=True)

def test_the_commands_with_three_levels(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    with_levels(sample).to_csv(tmp_path/'shop.csv', index=False)
    flags = ['--one-of', ','.join(LEVELS), '--taxonomy', ','.join(LEVELS), '--size', '48', '--epochs', '0']
    assert main(['train', '--data', str(tmp_path/'shop.csv'), '--images', str(sample.parent), *flags, '--out', str(tmp_path/'run')])==0
    scores = json.loads(open_run(tmp_path/'run').metrics.read_text())['taxonomy']
    assert scores['levels']==LEVELS and set(scores['between'])=={'department > group', 'department > category', 'group > category'}
    assert main(['calibrate', str(tmp_path/'run'), '--accept-precision', '0.3', '--confidence', '0.6'])==0
    def predict(file, *flags):
        assert main(['predict', str(tmp_path/'run'), str(tmp_path/'shop.csv'), '--images', str(sample.parent), '--out', str(file), *flags])==0
        return pd.read_csv(file, keep_default_na=False)
    plain,consistent = predict(tmp_path/'plain.csv'),predict(tmp_path/'consistent.csv', '--enforce-taxonomy')
    assert (consistent.category.map(KINDS)==consistent.group).all() and (consistent.group.map(DEPARTMENTS)==consistent.department).all()
    for row in plain.itertuples():
        levels = [level for level in row.accepted_path.split(' > ') if level]
        assert levels==[row.department, row.group, row.category][:len(levels)]
    assert 'department > group > category: ' in capsys.readouterr().out
