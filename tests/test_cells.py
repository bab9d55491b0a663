"Tables in the shapes that people write: right codes, or one sentence that says what to do"
import json, warnings
from pathlib import Path
import numpy as np, pandas as pd, pyarrow as pa, pytest
from PIL import Image
from fashion_fastai.audit.fixes import cleaned_copy
from fashion_fastai.audit.issues import issue_table
from fashion_fastai.cli import main
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.catalogue import CatalogueWarning, read_catalogue
from fashion_fastai.data.formats.registry import convert
from fashion_fastai.data.splits import SplitColumn, assign_folds, make_split
from fashion_fastai.serving.inputs import Columns, find_image_files, read_rows, table_column, write_rows

N = 60
LABELS = [[label for label,on in (('striped', i%2), ('wide fit', i%3==0), ('maxi', i%5==0)) if on] for i in range(N)]

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    "A table of 60 images with a category and lists of attributes; the images lie beside it"
    folder = tmp_path_factory.mktemp('shop')
    for i in range(N): Image.new('RGB', (8, 8), (4*i, 0, 0)).save(folder/f'{i}.jpg')
    frame = pd.DataFrame(dict(file=[f'{i}.jpg' for i in range(N)], category=[['dress', 'shirt', 'skirt'][i%3] for i in range(N)]))
    frame.attrs['folder'] = str(folder)
    return frame

def read(frame, name='table.csv', **kwargs):
    "Write `frame` beside its images and read it; what is warned of is left out"
    path = Path(frame.attrs['folder'])/name
    if name.endswith('.csv'): frame.to_csv(path, index=False)
    else: frame.to_parquet(path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', CatalogueWarning)
        return read_catalogue(path, **kwargs)

def labels_of(catalogue, name='attributes'):
    "The labels of each row"
    target = catalogue.schema[name]
    return [sorted(target.vocab[i] for i in np.flatnonzero(row)) for row in target.one_hot(catalogue.codes[name])]

def refused(frame, *words, **kwargs):
    with pytest.raises(UsageError) as error: read(frame, **kwargs)
    for word in words: assert word in str(error.value), str(error.value)
    assert len(str(error.value))<500

WANTED = [sorted(labels) for labels in LABELS]

# ---- 1: a missing group is a group of its own

@pytest.mark.parametrize('missing', [None, '', 'nan', '<NA>'])
def test_rows_without_a_product_are_split_one_by_one(shop, missing):
    product = [f'P{i//2}' if i<12 else missing for i in range(N)]
    catalogue = read(shop.assign(product=product), group_col='product')
    assert len(set(catalogue.group))==6+48
    assert 10<=catalogue.split_sizes()['valid']<=14

def test_rows_without_a_product_are_predicted_one_by_one(shop, tmp_path):
    path = Path(shop.attrs['folder'])/'products.csv'
    shop.assign(product=['A', 'A', None, None]+['B']*(N-4)).to_csv(path, index=False)
    write_rows([path], tmp_path, Columns(group='product'))
    assert read_rows(tmp_path).group_codes[1].to_pylist()==['A', '2.jpg', '3.jpg', 'B']

def test_folds_and_splits_of_any_groups():
    group = np.array(['A', None, 'A', np.nan, '']*20, dtype=object)
    fold = assign_folds(np.zeros(100, dtype=int), group)
    assert len(set(fold[group=='A']))==1 and np.bincount(fold).max()<60
    assert (make_split(np.zeros(100, dtype=int), group)=='valid').any()

# ---- 2: shapes of cells

@pytest.mark.parametrize('write', [str, json.dumps, lambda labels: str(np.array(labels, dtype=object)), lambda labels: str(tuple(labels)) if len(labels)>1 else str(labels)],
    ids=['python', 'json', 'numpy', 'tuples'])
def test_written_lists(shop, write):
    assert labels_of(read(shop.assign(attributes=[write(labels) for labels in LABELS])))==WANTED

def test_real_lists_and_sets(shop):
    assert labels_of(read(shop.assign(attributes=LABELS), 'lists.parquet'))==WANTED
    assert labels_of(read_catalogue(shop.assign(attributes=[set(labels) for labels in LABELS]), shop.attrs['folder']))==WANTED

def test_a_run_reads_the_same_labels_from_another_shape(shop):
    schema = read(shop.assign(attributes=[str(labels) for labels in LABELS])).schema
    for attributes in (LABELS, [json.dumps(labels) for labels in LABELS], ['|'.join(labels) for labels in LABELS]):
        assert labels_of(read_catalogue(shop.assign(attributes=attributes), shop.attrs['folder'], schema=schema))==WANTED

def hot(shop, write=int, prefix=''):
    return shop.assign(**{f'{prefix}{label}': [write(label in labels) for labels in LABELS] for label in ('maxi', 'striped', 'wide fit')})

@pytest.mark.parametrize('write', [int, float, bool, str, lambda on: 'yes' if on else 'no', lambda on: 2*on-1, lambda on: 1 if on else None],
    ids=['int', 'float', 'bool', 'text', 'yes', 'minus', 'gaps'])
def test_one_hot_columns(shop, write):
    catalogue = read(hot(shop, write), one_hot='maxi,striped,wide fit')
    assert labels_of(catalogue)==WANTED and catalogue.schema.names==['category', 'attributes']
    catalogue = read(hot(shop, write, 'attr_'), one_hot='attr_*', one_of='category')
    assert labels_of(catalogue, 'attr')==WANTED

def test_one_hot_columns_without_the_option(shop):
    refused(hot(shop), "--one-hot 'maxi,striped,wide fit'", any_of=['maxi', 'striped', 'wide fit'])
    with pytest.warns(CatalogueWarning, match='--one-hot'): read_catalogue(hot(shop), shop.attrs['folder'], one_of=['maxi', 'striped'])

def test_vectors(shop):
    vectors = [[int(label in labels) for label in ('striped', 'wide fit', 'maxi')] for labels in LABELS]
    for cells in (vectors, [str(np.array(vector)) for vector in vectors], [json.dumps(vector) for vector in vectors], [' '.join(map(str, vector)) for vector in vectors]):
        refused(shop.assign(attributes=cells), "--one-hot attributes=FIRST,SECOND", name='v.parquet')
        assert labels_of(read(shop.assign(attributes=cells), 'v.parquet', one_hot='attributes=striped,wide fit,maxi'))==WANTED
    refused(shop.assign(attributes=cells), 'row 1: attributes holds 3 numbers for 2 labels', one_hot='attributes=striped,maxi')

def test_dummies_of_a_category(shop):
    dummies = pd.get_dummies(shop, columns=['category']).assign(file=shop.file)
    dummies.attrs = shop.attrs
    assert (read(dummies, one_hot='category_*', one_of='category').codes['category']==np.arange(N)%3).all()

def long_table(shop):
    rows = [(f'{i}.jpg', label, category) for i,(labels,category) in enumerate(zip(LABELS, shop.category)) for label in labels or ['']]
    frame = pd.DataFrame(rows, columns=['ImageId', 'ClassId', 'category'])
    frame.attrs = shop.attrs
    return frame

def test_a_row_for_each_label(shop):
    frame = long_table(shop)
    refused(frame, 'is each row one label of its image? --long', file_col='ImageId', any_of='ClassId')
    catalogue = read(frame, file_col='ImageId', any_of='ClassId', one_of='category', long=True)
    assert (len(catalogue), labels_of(catalogue, 'ClassId'))==(N, WANTED)
    assert catalogue.row[1]==3 and len(read(frame, file_col='ImageId', any_of='ClassId', long=False))==len(frame)
    frame.loc[1, 'category'] = 'skirt'
    frame.loc[1, 'ImageId'] = '0.jpg'
    refused(frame, 'row 1: 0.jpg has another category in another row', file_col='ImageId', any_of='ClassId', one_of='category', long=True)

def test_a_row_for_each_label_as_categories(shop):
    frame = long_table(shop)
    with pytest.warns(CatalogueWarning, match='--any-of ClassId --long'):
        read_catalogue(frame, shop.attrs['folder'], file_col='ImageId', one_of='ClassId')

@pytest.mark.parametrize('write', [';'.join, ', '.join, str, json.dumps, '|'.join, '\n'.join], ids=['semicolon', 'comma', 'python', 'json', 'pipe', 'line'])
def test_several_images_in_a_cell(shop, write):
    frame = pd.DataFrame(dict(file=[write([f'{2*i}.jpg', f'{2*i+1}.jpg']) for i in range(N//2)], category=shop.category[:N//2]))
    frame.attrs = shop.attrs
    catalogue = read(frame)
    assert catalogue.files==shop.file.tolist() and catalogue.row.tolist()==sorted([*range(1, N//2+1)]*2)
    assert (pd.Series(catalogue.split).groupby(catalogue.row).nunique()==1).all()

@pytest.mark.parametrize('write', [';'.join, str, json.dumps, list], ids=['semicolon', 'python', 'json', 'list'])
def test_several_images_in_a_cell_are_predicted(shop, tmp_path, write, monkeypatch):
    monkeypatch.setattr('fashion_fastai.serving.inputs.BLOCK_ROWS', 7)
    path = Path(shop.attrs['folder'])/'several.parquet'
    cells = [write([f'{2*i}.jpg', f'{2*i+1}.jpg']) for i in range(N//2)]
    pd.DataFrame(dict(file=cells, kind=[f'K{i}' for i in range(N//2)], product=['A', 'A']+[None]*(N//2-2))).to_parquet(path)
    with pytest.warns(CatalogueWarning, match='30 cells of file name several images'): write_rows([path], tmp_path, Columns(group='product'))
    rows = read_rows(tmp_path)
    assert rows.names(0, N)==shop.file.tolist()
    assert rows.group_codes[0].tolist()==[0]*4+[i//2 for i in range(2, N-2)]
    assert table_column([path], Columns(), 'kind')[:3]==['K0', 'K0', 'K1']
    with pytest.warns(CatalogueWarning): assert find_image_files(path).names==shop.file.tolist()

LIST_TEXTS = {'python': str, 'json': json.dumps, 'plain': ','.join}

@pytest.mark.parametrize('form', LIST_TEXTS)
@pytest.mark.parametrize('format', ['table', 'list-column'])
def test_written_lists_are_converted(shop, form, format, tmp_path):
    path = Path(shop.attrs['folder'])/f'{form}.csv'
    shop.assign(attributes=[LIST_TEXTS[form](labels) for labels in LABELS]).to_csv(path, index=False)
    sep = ',' if (form, format)==('plain', 'table') else None
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', CatalogueWarning)
        table = convert(format, path, tmp_path/'labels.csv', any_of=['attributes'], sep=sep)
    assert table.schema['attributes'].vocab==('maxi', 'striped', 'wide_fit')
    assert table.frame.attributes[3]=='striped wide_fit' and table.frame.attributes[2]==''

def test_a_conversion_reads_every_shape_that_a_training_reads(shop, tmp_path):
    path = Path(shop.attrs['folder'])/'shapes.csv'
    hot(shop).to_csv(path, index=False)
    assert main(['data', 'convert', str(path), '--one-hot', 'maxi,striped,wide fit', '--out', str(tmp_path/'hot.csv')])==0
    long_table(shop).to_csv(path, index=False)
    assert main(['data', 'convert', str(path), '--file-col', 'ImageId', '--any-of', 'ClassId', '--long', '--out', str(tmp_path/'long.csv')])==0
    found = [pd.read_csv(tmp_path/f'{name}.csv', keep_default_na=False) for name in ('hot', 'long')]
    assert found[0].attributes.tolist()==found[1].ClassId.tolist()
    assert found[0].attributes[3]=='striped wide_fit' and len(found[1])==N
    assert main(['data', 'convert', str(path), '--file-col', 'ImageId', '--any-of', 'ClassId', '--out', str(tmp_path/'asked.csv')])==2

def test_lists_that_are_wrong(shop):
    attributes = [str(labels) for labels in LABELS]
    refused(shop.assign(attributes=['striped, maxi', *attributes[1:]]), 'row 1', 'which is no list of labels')
    refused(shop.assign(attributes=attributes, category=[str(['dress', 'shirt'])]*N), 'row 1: category holds 2 labels', '--any-of category')
    refused(shop.assign(attributes=["['striped',"]*10+['maxi']*(N-10)), 'attributes')
    assert read(shop.assign(category=[str([text]) for text in shop.category])).schema['category'].vocab==('dress', 'shirt', 'skirt')

@pytest.mark.parametrize('sep', ['|', ';', ',', '; ', '\n'])
def test_a_separator_that_nobody_named(shop, sep):
    frame = shop.assign(attributes=[sep.join(labels) for labels in LABELS])
    refused(frame, 'if it separates labels', '--sep')
    assert labels_of(read(frame, sep=sep))==WANTED

def test_odd_labels_are_told(shop):
    for label in ('(new)', '"quoted"', "men'"):
        with pytest.warns(CatalogueWarning, match='starts or ends'):
            read_catalogue(shop.assign(category=shop.category.replace('dress', label)), shop.attrs['folder'])

def test_a_cleaned_copy_has_no_brackets(shop):
    catalogue = read(shop.assign(attributes=[str(labels) for labels in LABELS]))
    issues = issue_table([dict(kind='spelling', target='attributes', given='maxi', suggested='striped', fix='rename label')])
    frame,changes = cleaned_copy(catalogue, issues)
    assert not frame.attributes.str.contains(r'[\[\]\']').any() and len(changes)==12
    assert frame.attributes[5]=='striped' and frame.attributes[3]=='striped|wide fit'

def test_a_split_table_is_plain(shop, tmp_path, capsys):
    hot(shop).to_csv(Path(shop.attrs['folder'])/'hot.csv', index=False)
    assert main(['data', 'split', str(Path(shop.attrs['folder'])/'hot.csv'), '--one-hot', 'maxi,striped,wide fit', '--out', str(tmp_path/'split.csv')])==0
    assert "--one-of category --any-of attributes --sep '|'" in capsys.readouterr().out
    assert labels_of(read_catalogue(tmp_path/'split.csv', shop.attrs['folder'], sep='|'))==WANTED

# ---- 5: one canonical text

SIZES = [36+i%5/2 if i%7 else None for i in range(N)]

def test_numbers_are_the_same_labels_in_every_file(shop):
    frame = shop.assign(size=SIZES)
    catalogues = [read(frame, one_of='size'), read(frame, 'sizes.parquet', one_of='size'), read(frame.assign(size=[str(size) if size else '' for size in SIZES]), one_of='size')]
    assert {catalogue.schema['size'].vocab for catalogue in catalogues}=={('36', '36.5', '37', '37.5', '38')}
    assert (catalogues[0].codes['size']==catalogues[1].codes['size']).all()

@pytest.mark.parametrize('trained', [bool, lambda on: str(on).upper(), int, lambda on: 'yes' if on else 'no'], ids=['bool', 'excel', 'int', 'words'])
def test_truth_values_are_understood_in_other_files(shop, trained):
    kids = [i%4==0 for i in range(N)]
    catalogue = read(shop.assign(kids=list(map(trained, kids))), one_of='kids')
    for write in (bool, str, int, float, lambda on: str(on).lower(), lambda on: 'Y' if on else 'N'):
        other = read(shop.assign(kids=list(map(write, kids))), 'kids.parquet', schema=catalogue.schema)
        assert (other.codes['kids']==catalogue.codes['kids']).all()
    mixed = read(shop.assign(kids=[['no', 'False', 'TRUE', '1'][i%4] for i in range(N)]), one_of='kids')
    assert mixed.schema['kids'].vocab==('False', 'True')

# ---- 6: splits

@pytest.mark.parametrize('column,train,valid', [('is_valid', False, True), ('is_valid', 0, 1), ('split', 'Training', 'dev'), ('split', 'TRAIN ', 'Val'), ('is_train', 'yes', 'no')])
@pytest.mark.parametrize('name', ['split.csv', 'split.parquet'])
def test_splits_as_people_write_them(shop, column, train, valid, name):
    frame = shop.assign(**{column: [valid if i%6==0 else train for i in range(N)]})
    kwargs = dict(split_col=column) if column=='is_train' else {}
    assert read(frame, name, **kwargs).where('valid').tolist()==list(range(0, N, 6))

def test_folds(shop):
    frame = shop.assign(fold=np.arange(N)%5)
    for fold in (3, '3'): assert read(frame, fold_col='fold', valid_fold=fold).where('valid').tolist()==list(range(3, N, 5))
    refused(frame, 'fold holds the folds 0, 1, 2, 3, 4; choose one with --valid-fold', fold_col='fold')
    refused(frame, 'unknown fold', '0, 1, 2, 3, 4', fold_col='fold', valid_fold=5)
    refused(frame.rename(columns=dict(fold='split')), 'numbers of folds', '--fold-col split --valid-fold 0')
    refused(shop.assign(split=[None, *['train']*(N-1)]), 'row 1: split is empty, as in 1 of 60 rows')
    refused(shop.assign(chosen=[i%2==0 for i in range(N)]), 'chosen holds False and True', split_col='chosen')

@pytest.mark.parametrize('columns,chosen,split', [(dict(is_valid=1), {}, 'dev'), (dict(split='Dev'), {}, 'valid'),
    (dict(subset='testing'), dict(split_col='subset'), 'test'), (dict(fold=3), dict(fold_col='fold', valid_fold='3'), 'valid')])
def test_a_prediction_finds_the_split_of_a_training(shop, tmp_path, columns, chosen, split):
    path = Path(shop.attrs['folder'])/'predicted.csv'
    others = dict(is_valid=0, split='training', subset='Train', fold=1)
    shop.assign(**{name: [value if i%6==0 else others[name] for i in range(N)] for name,value in columns.items()}).to_csv(path, index=False)
    write_rows([path], tmp_path, Columns(split=split, split_column=SplitColumn(**chosen)))
    assert read_rows(tmp_path).names(0, N)==shop.file[::6].tolist()

def test_a_split_that_cannot_be_found_is_told(shop, tmp_path):
    path = Path(shop.attrs['folder'])/'unsplit.csv'
    shop.assign(fold=1).to_csv(path, index=False)
    for columns,words in [(Columns(split='valid'), 'no column split to choose valid by; name it with --split-col'),
        (Columns(split='vlaid'), "unknown split 'vlaid'; did you mean valid"), (Columns(split='valid', split_column=SplitColumn('fodl')), 'did you mean fold'),
        (Columns(split='valid', split_column=SplitColumn(fold_col='fold')), 'choose one with --valid-fold')]:
        with pytest.raises(UsageError, match=words): write_rows([path], tmp_path, columns)

def test_an_unused_column_of_splits_is_told(shop):
    with pytest.warns(CatalogueWarning, match='--split-col subset'):
        read_catalogue(shop.assign(subset=['test' if i%5 else 'training' for i in range(N)]), shop.attrs['folder'])

# ---- 10: long and odd values

def test_prices_and_titles_are_told_in_a_line(shop):
    frame = shop.assign(price=[9.9+1.37*i for i in range(N)], title=[f'Nice thing number {i} '*5 for i in range(N)])
    for kwargs in (dict(one_of='price'), dict(one_of='title'), dict(any_of='title')):
        with pytest.warns(CatalogueWarning) as caught: read_catalogue(frame, frame.attrs['folder'], **kwargs)
        texts = [str(warning.message) for warning in caught]
        assert any('is a column of labels' in text or 'a column of labels?' in text for text in texts) and max(map(len, texts))<600

def test_column_names_with_commas(shop, capsys):
    frame = shop.rename(columns=dict(category='Art, Typ')).assign(**{'Farbe, Muster': ['red', 'blue, big']*(N//2), 'x,y': 'a'})
    frame.to_csv(Path(shop.attrs['folder'])/'a table.csv', index=False)
    table = str(Path(shop.attrs['folder'])/'a table.csv')
    assert main(['data', 'describe', table, '--one-of', 'Art, Typ,x,y', '--any-of', 'Farbe, Muster', '--sep', ','])==0
    assert 'targets Art, Typ, x,y, Farbe, Muster' in capsys.readouterr().out
    assert main(['data', 'describe', table, '--one-of', 'Art, Tüp'])==2
    assert main(['data', 'describe', table, '--any-of', 'Farbe, Muster'])==2
    assert "--sep ," in capsys.readouterr().err

# ---- 12: Python

class Foreign:
    "A frame of another library that exports Arrow data"
    def __init__(self, frame): self.table = pa.Table.from_pandas(frame)
    def __arrow_c_stream__(self, schema=None): return self.table.__arrow_c_stream__(schema)

def test_frames_are_tables(shop):
    folder,frame = shop.attrs['folder'],shop.assign(attributes=LABELS)
    expected = read_catalogue(frame, folder)
    foreign = Foreign(pd.DataFrame(frame).assign(attributes=LABELS))
    for other in (foreign, foreign.table, frame.set_index('file'), frame.set_axis(range(5, N+5))):
        catalogue = read_catalogue(other, folder)
        assert catalogue.files==expected.files and labels_of(catalogue)==WANTED
    assert read_catalogue(frame, str(folder), one_of='category').schema.names==['category']
    assert read_catalogue(frame, folder, any_of='attributes').schema.names==['attributes']

@pytest.mark.parametrize('table,kwargs,words', [(7, {}, 'not int'), (['a.csv'], {}, 'not list'), (pd.DataFrame(), {}, 'empty'),
    ('x.csv', dict(images=7), 'images must be the path of a folder'), (pd.DataFrame(dict(file=['a'])), dict(one_of=7), 'one_of must be the name'),
    (pd.DataFrame(dict(file=['a'], b=['c'])), dict(any_of={'b': 1, 3: 2}), 'any_of must be the name')])
def test_wrong_types_are_told_in_a_sentence(table, kwargs, words):
    with pytest.raises(UsageError, match=words): read_catalogue(table, **kwargs)
