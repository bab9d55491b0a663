"The embedded sample: its table, its images, its cache, and that they are reproducible"
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.synthetic import dataset
from fashion_fastai.data.synthetic.attributes import (ATTRIBUTES, CATEGORIES, LENGTHS, NECKS, PATTERNS, RULES, SLEEVES,
    random_attributes)
from fashion_fastai.data.synthetic.dataset import draw_sample, sample_catalogue_path, sample_plan
from fashion_fastai.data.synthetic.renderer import draw_garment


def files_of(labels):
    folder = labels.parent
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*.*')}


@pytest.fixture(scope='module')
def small(tmp_path_factory): return draw_sample(tmp_path_factory.mktemp('drawn')/'small', n=60, size=48)


def test_table_and_images(small):
    table = pd.read_csv(small, keep_default_na=False)
    assert list(table) == ['file', 'category', 'attributes', 'split', 'product_id']
    assert table.category.value_counts().to_dict() == {category: 6 for category in CATEGORIES}
    assert set(table.attributes.str.split().explode().dropna()) <= set(ATTRIBUTES)
    images = [Image.open(small.parent/file) for file in table.file]
    assert {(image.size, image.mode, image.format) for image in images} == {((48, 48), 'RGB', 'JPEG')}
    assert min(np.asarray(image).std() for image in images) > 5
    assert sorted(path.name for path in small.parent.parent.iterdir()) == ['small'] # nothing temporary is left


def test_same_seed_same_bytes(small, tmp_path):
    assert files_of(draw_sample(tmp_path/'again', n=60, size=48)) == files_of(small)
    other = files_of(draw_sample(tmp_path/'other', n=10, size=48, seed=1))
    assert other['images/0001.jpg'] != files_of(small)['images/0001.jpg']


def test_a_larger_sample_changes_no_image(small, tmp_path):
    fewer = draw_sample(tmp_path/'fewer', n=15, size=48)
    assert fewer.read_text().splitlines() == small.read_text().splitlines()[:16]
    assert files_of(fewer)['images/0015.jpg'] == files_of(small)['images/0015.jpg']


def test_plan_keeps_products_together_and_splits_each_category():
    plan = sample_plan(1500)
    assert plan.groupby('product_id').split.nunique().max() == 1
    assert (plan.groupby('category').split.value_counts().unstack() == [120, 30]).all(axis=None)
    assert plan.file.is_unique and plan.product_id.duplicated().any()
    assert sample_plan(30).split.eq('valid').mean() == pytest.approx(.2, abs=.1)


def test_attributes_follow_the_rules():
    rng = np.random.default_rng(0)
    drawn = {category: [random_attributes(category, rng) for _ in range(200)] for category in CATEGORIES}
    assert {label for rows in drawn.values() for labels in rows for label in labels} == set(ATTRIBUTES)
    for category in ('trousers', 'shorts', 'skirt'):
        assert not {label for labels in drawn[category] for label in labels} & {'hooded', 'collared', 'v_neck', 'long_sleeve'}
    assert [] in drawn['shorts']


@pytest.mark.parametrize('category', CATEGORIES)
def test_every_attribute_of_a_category_is_visible(category):
    *groups, _ = RULES[category]
    groups = [[label for label, share in zip(labels, shares) if share] for labels, shares in zip((SLEEVES, LENGTHS, NECKS), groups)]
    usual = [labels[-1] for labels in groups if labels]
    def draw(labels):
        return np.asarray(draw_garment(category, labels, np.random.default_rng(5), np.random.default_rng(6), size=64), int)
    other_value = [[label if other in labels else other for other in usual] for labels in groups for label in labels[:-1]]
    added = [usual + [label] for label in (*PATTERNS, 'pockets')]
    images = [draw(labels) for labels in (usual, *other_value, *added)]
    for i, image in enumerate(images):
        assert all(np.abs(image - other).max() > 20 for other in images[:i]), i


@pytest.mark.parametrize('wrong, message', [(dict(n=0), 'n is 0'), (dict(size=8), 'size is 8'), (dict(seed=-1), 'seed is -1')])
def test_numbers_out_of_range_are_refused(tmp_path, wrong, message):
    with pytest.raises(UsageError, match=message): draw_sample(tmp_path/'sample', **wrong)
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_refused_and_kept(small):
    before = files_of(small)
    with pytest.raises(UsageError, match='exists already'): draw_sample(small.parent, n=1)
    assert files_of(small) == before


def test_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args): raise KeyboardInterrupt
    monkeypatch.setattr(dataset, 'draw_garment', interrupt)
    with pytest.raises(KeyboardInterrupt): draw_sample(tmp_path/'sample', n=2)
    assert not list(tmp_path.iterdir())


def test_unknown_names_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match='jumpsuit'): draw_garment('jumpsuits', [], rng)
    with pytest.raises(UsageError, match='striped'): draw_garment('shirt', ['stripes'], rng)


def test_cache_is_drawn_once_where_fashion_cache_says(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path/'cache'))
    monkeypatch.setattr(dataset, 'draw_sample', partial(draw_sample, n=3, size=32))
    labels = sample_catalogue_path()
    assert labels == tmp_path/'cache'/f'sample-{dataset.SAMPLE_VERSION}'/'labels.csv'
    assert 'drawing 3 images' in capsys.readouterr().err
    before = labels.stat().st_mtime_ns
    assert sample_catalogue_path() == labels and labels.stat().st_mtime_ns == before
    monkeypatch.setattr(dataset, 'SAMPLE_VERSION', dataset.SAMPLE_VERSION + 1)
    assert sample_catalogue_path() != labels


def test_slower_process_uses_the_sample_of_the_faster(tmp_path, monkeypatch):
    monkeypatch.setenv('FASHION_CACHE', str(tmp_path))
    draw_row = dataset._draw_row
    def overtaken(folder, row, view, size, seed): # another process finishes while this one draws
        if not (tmp_path/'sample-1').exists():
            monkeypatch.setattr(dataset, '_draw_row', draw_row)
            draw_sample(tmp_path/'sample-1', n=2, size=32, seed=9)
        return draw_row(folder, row, view, size, seed)
    monkeypatch.setattr(dataset, 'SAMPLE_VERSION', 1)
    monkeypatch.setattr(dataset, 'draw_sample', partial(draw_sample, n=3, size=32))
    monkeypatch.setattr(dataset, '_draw_row', overtaken)
    assert len(pd.read_csv(sample_catalogue_path())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ['sample-1']
