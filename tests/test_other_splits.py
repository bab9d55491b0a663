"Nothing that shapes a training sees the labels of another split: with other labels there, every weight is the same"
import numpy as np, pandas as pd, pytest, torch
from fashion_fastai.config import make_config, merge_settings
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.data.sampling import row_weights
from fashion_fastai.experiments.linear_probe import linear_probe
from fashion_fastai.experiments.prepare import plan, prepare
from fashion_fastai.experiments.train import fit, train

GROUPS = dict(dress='whole', coat='whole', jumpsuit='whole')
SMALL = dict(model=dict(arch='test_resnet', weights='none'), image=dict(size=32),
    data=dict(one_of=['group', 'category'], any_of=['attributes'], taxonomy='auto'),
    training=dict(epochs=1, batch_size=16, unfreeze='none', linear_probe=False))
ADJUSTED = dict(one_of=dict(adjust=1, balance=0.99), any_of=dict(balance=0.99, gamma_negative=2))
VARIANTS = dict(
    sampler=dict(training=dict(sampler='balanced', linear_probe=True), loss=dict(per_target=ADJUSTED)),
    weights=dict(loss=dict(class_weights='inverse', task_weights='uncertainty'), data=dict(label_noise=0.2)),
    derived=dict(model=dict(derive=True), loss=dict(per_target=ADJUSTED, weights=dict(main=0.5))),
    binary=dict(loss=dict(one_of='binary', binary_mean='outputs'), image=dict(augment=dict(mixup=0.4))),
    searched=dict(training=dict(lr='auto', sampler='balanced')))

def with_other_labels(table)->pd.DataFrame:
    "Give the rows outside train labels of their own: one rare category, another group for each, all attributes or none"
    other = table.split!='train'
    train = table[~other]
    table = table.copy()
    table.loc[other, 'category'] = train.category.value_counts().index[-1]
    table.loc[other, 'group'] = np.where(np.arange(other.sum())%2, 'whole', 'part')
    table.loc[other, 'attributes'] = train.attributes[train.attributes.str.len().idxmax()]
    return table

@pytest.fixture(scope='module')
def tables(sample):
    "Two tables with the same train split and the same labels, whose other rows have different labels"
    table = pd.read_csv(sample, keep_default_na=False)
    table['group'] = table.category.map(GROUPS).fillna('part')
    train = table[table.split=='train']
    known = table.category.isin(train.category)
    table = table[known & ((table.split=='train') | (np.arange(len(table))%2==0))].reset_index(drop=True)
    table.loc[np.flatnonzero(table.split=='valid')[::3], 'split'] = 'test'
    paths = [sample.parent/f'{name}_labels.csv' for name in ('these', 'other')]
    for path,labels in zip(paths, (table, with_other_labels(table))): labels.to_csv(path, index=False)
    return paths

def trained(table, settings)->dict[str, torch.Tensor]:
    "Train as `train` does, without the report; its linear probe needs no pretrained weights here"
    fields = merge_settings(merge_settings(SMALL, settings), dict(data=dict(path=str(table))))
    learn,config = prepare(make_config('two-head', fields))
    config = plan(learn, config, linear_probe(learn, config) if config.training.linear_probe else None)
    fit(learn, config.training)
    return {**learn.model.state_dict(), 'lr': torch.tensor(config.training.lr)}

def test_the_tables_differ_outside_train_only(tables):
    these,other = [read_catalogue(path, one_of=['group', 'category'], taxonomy='auto') for path in tables]
    assert these.schema==other.schema and these.schema.taxonomy is not None
    for name in these.schema.names:
        train = these.where('train')
        assert (these.codes[name][train]==other.codes[name][train]).all()
        assert (these.codes[name]!=other.codes[name]).any()
    assert np.array_equal(row_weights(these), row_weights(other))

SLOW = dict(searched=pytest.mark.slow)

@pytest.mark.parametrize('variant', [pytest.param(name, marks=SLOW.get(name, ())) for name in VARIANTS])
def test_labels_of_other_splits_change_no_weight(tables, variant, tmp_path, monkeypatch):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    first,second = [trained(table, VARIANTS[variant]) for table in tables]
    assert first.keys()==second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])]==[]

def test_files_of_a_run_that_follow_from_the_train_split(tables, tmp_path, monkeypatch):
    "Predictions need these files; scores and calibration follow from the validation split and differ"
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    for name in ('save_figures', 'write_report', 'write_model_card'):
        monkeypatch.setattr(f'fashion_fastai.evaluation.artifacts.{name}', lambda *args: None)
    runs = []
    for table in tables:
        fields = merge_settings(SMALL, dict(data=dict(path=str(table)), training=dict(sampler='balanced')))
        runs.append(train(make_config('two-head', fields), tmp_path/table.stem, lambda _: None))
    assert runs[0].schema==runs[1].schema
    for name in ('model', 'co_occurrence', 'ood_detector', 'reference'):
        assert getattr(runs[0], name).read_bytes()==getattr(runs[1], name).read_bytes(), name
    assert runs[0].metrics.read_bytes()!=runs[1].metrics.read_bytes()
