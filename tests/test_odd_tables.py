"""Tables and folders as exports, spreadsheets and notebooks leave them: what is trained on in silence must be right

Each input is one of a kind that public reports describe; `tests/test_cells.py` and `tests/test_table_files.py` have others."""
import json, os, warnings
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image
from fashion_fastai.core.errors import CatalogueWarning, UsageError
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.data.formats.registry import catalogue_from, convert, read_format, recognised_format
from fashion_fastai.serving.inputs import Columns, check_source
from fashion_fastai.target import one_of
from fashion_fastai.audit.similar_labels import pairs_by_name

N = 12
KINDS = ['shirt', 'dress', 'trousers']

@pytest.fixture
def shop(tmp_path):
    "A folder with twelve images, and the table of their names and categories"
    (tmp_path/'img').mkdir()
    for i in range(N): Image.new('RGB', (8, 8), (20*i, 60, 90)).save(tmp_path/f'img/{i}.jpg')
    frame = pd.DataFrame(dict(file=[f'img/{i}.jpg' for i in range(N)], category=[KINDS[i%3] for i in range(N)]))
    frame.attrs['folder'] = str(tmp_path)
    return frame

def read(frame, **kwargs):
    "Write a table beside its images and read it; return the catalogue and what it warned of"
    path = Path(frame.attrs['folder'])/'shop.csv'
    frame.to_csv(path, index=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        catalogue = read_catalogue(path, **kwargs)
    return catalogue,' '.join(str(warning.message) for warning in caught if warning.category is CatalogueWarning)

def refused(path, *words, **kwargs):
    with pytest.raises(UsageError) as error, warnings.catch_warnings():
        warnings.simplefilter('ignore', CatalogueWarning)
        read_catalogue(path, **kwargs)
    for word in words: assert word in str(error.value), str(error.value)
    assert len(str(error.value))<600

# ---- labels

@pytest.mark.parametrize('blank', [' ', '\u00a0', '\u200b', '\ufeff', '\u3000', '\u200f'])
def test_blanks_that_nobody_sees_make_no_labels(shop, blank):
    frame = shop.assign(category=[label+blank*(i%2) for i,label in enumerate(shop.category)], tags=f'wide{blank}')
    assert set(read(frame, one_of='category', any_of='tags')[0].schema['category'].vocab)==set(KINDS)
    assert read(frame, any_of='tags')[0].schema['tags'].vocab==('wide',)

def test_a_blank_that_does_not_break_is_a_blank(shop):
    assert read(shop.assign(tags='wide\u00a0fit'), any_of='tags')[0].schema['tags'].vocab==('fit', 'wide')
    lists = shop.assign(tags="['wide\u00a0fit', 'maxi']")
    assert read(lists, any_of='tags')[0].schema['tags'].vocab==('maxi', 'wide fit')

SAID = { # what the table has -> columns, options, words of the warning
    'words for nothing': (dict(category=['nan', 'None', 'NULL', 'dress']*3), {}, "has the labels 'NULL', 'None', 'nan'"),
    'text that was read wrongly': (dict(category=['robe d\u2019été'.encode().decode('cp1252'), 'shirt']*6), {}, 'were damaged'),
    'a page of HTML in each cell': (dict(category=['<li>maxi</li>', '<li>wide</li>']*6), {}, "starts or ends '<li>maxi</li>'"),
    'several separators': (dict(tags=['maxi', 'wide', 'maxi|wide']*4), dict(any_of='tags', sep=','), "'maxi|wide' hold other labels"),
    'probabilities': (dict(tags=['0.9', '0.1']*6), dict(any_of='tags'), 'its labels are numbers such as 0.1'),
    'labels in numbered columns': (dict(tag1=['maxi', 'wide']*6, tag2=['wide', 'maxi']*6), dict(any_of='tag1,tag2'),
        'tag1, tag2 are 2 targets with the same labels'),
    'columns of -1 and 1': (dict(wide=['-1', '1']*6, maxi=['1', '-1']*6), dict(one_of='wide,maxi'), '--one-hot wide,maxi makes them one target'),
    'a single label': (dict(category='dress'), {}, 'there is nothing to tell apart'),
    'a column that says which rows train': (dict(is_train=[1, 1, 0]*4), {}, 'the column is_train holds splits and is not used'),
    'a split called eval': (dict(phase=['TRAIN', 'TRAIN', 'EVAL']*4), {}, 'the column phase holds splits and is not used'),
    'type and tags in the first row of a product': (dict(sku=[i//3 for i in range(N)], tags=['maxi wide', None, None]*4),
        dict(one_of='category', any_of='tags', group_col='sku'), '8 rows are read as images without any label'),
}

@pytest.mark.parametrize('kind', SAID)
def test_what_is_hardly_right_is_said(shop, kind):
    columns,options,words = SAID[kind]
    assert words in read(shop.assign(**columns), **options)[1]

def test_a_plain_table_needs_no_word(shop):
    assert read(shop.assign(neckline=['none', 'V', 'round']*4, size=['36,5', '37', '-1']*4), one_of='category,neckline,size')[1]==''

@pytest.mark.parametrize('mark', [('x', ''), ('1', '-1'), ('on', 'off'), ('\u2713', '')])
def test_ticks_are_truth_values_of_one_target(shop, mark):
    frame = shop.assign(wide=[mark[i%2] for i in range(N)], maxi=[mark[i%3==0] for i in range(N)])
    catalogue = read(frame, one_hot='wide,maxi')[0]
    assert catalogue.codes['attributes'][:4].tolist()==[[0, 1], [1, 0], [1, 1], [0, 0]] # maxi, wide
    refused(Path(frame.attrs['folder'])/'shop.csv', '--one-hot wide,maxi', any_of='wide,maxi')

def test_half_a_quote_is_refused(shop):
    shop.assign(tags='"long, wide",striped').to_csv(Path(shop.attrs['folder'])/'q.csv', index=False)
    refused(Path(shop.attrs['folder'])/'q.csv', 'a part of something in brackets or quotes', any_of='tags', sep=',')

# ---- rows and splits

def test_a_few_contradictions_are_said(shop):
    twice = pd.concat([shop, shop.head(1).assign(category='skirt')])
    twice.attrs = shop.attrs
    assert 'rows 1 and 13 of img/0.jpg: shirt and skirt; only one of them can be right' in read(twice)[1]
    boxed = twice.assign(xmin=0, ymin=0, xmax=4, ymax=4)
    boxed.attrs = shop.attrs
    assert 'rename xmin, ymin, xmax, ymax to x1, y1, x2, y2' in read(boxed)[1]

def test_a_target_may_be_called_split(shop):
    assert read(shop.assign(split='wide'), one_of='category,split')[0].split_sizes()['train']>6

def test_numbers_of_splits_are_not_called_folds_only(shop):
    shop.assign(split=[i%3 for i in range(N)]).to_csv(Path(shop.attrs['folder'])/'s.csv', index=False)
    refused(Path(shop.attrs['folder'])/'s.csv', 'if they stand for train, valid and test', '--fold-col split')
    shop.assign(split='test').to_csv(Path(shop.attrs['folder'])/'t.csv', index=False)
    refused(Path(shop.attrs['folder'])/'t.csv', 'no row is in the train split')

# ---- files

REFUSED = { # name of the file and its content -> words of the message
    'no header': ('a.csv', b'img/0.jpg,shirt\nimg/1.jpg,dress\n', 'its first line, img/0.jpg, shirt, is no header'),
    'fields between blanks': ('a.csv', b'file category\nimg/0.jpg shirt\n', "its only column is 'file category'"),
    'blanks below commas': ('a.csv', b'file,category\nimg/0.jpg shirt\nimg/1.jpg dress\n', "line 2 has no ',', which separates the names"),
    'single quotes': ('a.csv', b"'file','category'\n'img/0.jpg','shirt'\n", 'its cells are in single quotes'),
    'a page of HTML': ('a.csv', b'<!DOCTYPE html>\n<title>Sign in, please</title>\n', 'it is a page of HTML'),
    'a pointer of Git LFS': ('a.csv', b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n', 'git lfs pull'),
    'Parquet called CSV': ('a.csv', b'PAR1\x15\x04', 'it is a Parquet file; call it .parquet'),
    'an old workbook called .xlsx': ('a.xlsx', b'\xd0\xcf\x11\xe0'+bytes(600), 'it is an old Excel workbook'),
    'a line that is not UTF-8': ('a.csv', b'file,category\nimg/0.jpg,shirt\nimg/1.jpg,caf\xe9\n', 'line 3: '),
    'pixels in columns': ('a.csv', ','.join(['label', *(f'pixel{i}' for i in range(784))]).encode()+b'\n'+b','.join([b'1']*785), 'hold the pixels'),
    'a feed as .txt': ('a.txt', b'id\timage_link\n', 'or .tsv if tabs do'),
    'an archive': ('a.zip', b'PK\x03\x04', 'unpack it'),
    'values by name': ('a.csv', b'file,category\n'+b'img/0.jpg,"{\'colour\': \'red\'}"\n'*3, 'make a column of each name'),
    'numbers that Excel rounded': ('a.csv', b'file,category\n1.08E+11,shirt\n1.09E+11,dress\n', 'numbers without their last digits'),
}

@pytest.mark.parametrize('kind', REFUSED)
def test_what_a_file_is_not(shop, kind):
    name,content,words = REFUSED[kind]
    path = Path(shop.attrs['folder'])/name
    path.write_bytes(content)
    refused(path, words)

def test_addresses_and_near_names_of_tables(shop):
    shop.to_csv(Path(shop.attrs['folder'])/'labels.csv')
    refused('https://shop.example/labels.csv', 'https://shop.example/labels.csv: addresses are not read; download the file first')
    refused(Path(shop.attrs['folder'])/'label.csv', 'no such file or folder; did you mean labels.csv?')
    refused(Path(shop.attrs['folder'])/'labels.csv', 'that is a file, not a folder', images=Path(shop.attrs['folder'])/'labels.csv')

@pytest.mark.parametrize('cell', ['im%67/{}.jpg', '"img/{}.jpg"', "b'img/{}.jpg'", "PosixPath('img/{}.jpg')", 'img/{}.jpg?v=12'])
def test_names_as_programs_write_them(shop, cell):
    assert read(shop.assign(file=[cell.format(i) for i in range(N)]))[0].files==shop.file.tolist()

def test_links_to_folders_are_counted(shop, tmp_path):
    (tmp_path/'classes').mkdir()
    os.symlink(tmp_path/'img', tmp_path/'classes/dress')
    with pytest.raises(UsageError, match='not followed is the link dress'): read_format('folders', tmp_path/'classes')
    (tmp_path/'img.zip').write_bytes(b'PK\x03\x04')
    with pytest.raises(UsageError, match='is a file, not a folder; unpack it'): read_format('folders', tmp_path/'img.zip')

# ---- formats

def test_a_folder_with_metadata_is_recognised(shop, tmp_path):
    for split in ('train', 'test'):
        (tmp_path/'set'/split).mkdir(parents=True)
        rows = [json.dumps(dict(file_name=f'{i}.jpg', label=KINDS[i%3], tags=['wide fit']*(i%2))) for i in range(6)]
        for i in range(6): Image.new('RGB', (8, 8)).save(tmp_path/f'set/{split}/{i}.jpg')
        (tmp_path/'set'/split/'metadata.jsonl').write_text('\n'.join(rows))
    assert recognised_format(tmp_path/'set')=='imagefolder'
    catalogue = catalogue_from('imagefolder', tmp_path/'set', one_of=['label'], any_of=['tags'])
    assert catalogue.split_sizes().keys()>={'train', 'test'} and len(catalogue)==12
    assert catalogue.schema['tags'].vocab==('wide_fit',)
    assert len(convert('auto', tmp_path/'set', tmp_path/'labels.csv'))==12

def test_parquet_with_images_is_a_dataset_of_the_hub(shop, tmp_path):
    data = (tmp_path/'img/0.jpg').read_bytes()
    pd.DataFrame(dict(image=[dict(bytes=data, path='0.jpg')]*3, label=KINDS)).to_parquet(tmp_path/'train.parquet')
    assert recognised_format(tmp_path/'train.parquet')=='hf'
    refused(tmp_path/'train.parquet', 'hold images themselves', '--format hf', file_col='image', one_of='label')

# ---- names of labels

def test_numbers_are_no_spellings_of_each_other():
    assert not pairs_by_name(one_of('size', ['-1', '1', '1.5', '15', '36,5', '365']), np.full(6, 9))

# ---- what is predicted

@pytest.mark.parametrize(('name', 'words'), [('list.txt', 'or .tsv if tabs do'), ('img.zip', 'unpack it'), ('*.jpg', 'leave out the quotes'),
    ('https://shop.example/1.jpg', 'https://shop.example/1.jpg: addresses are not read')])
def test_sources_that_are_no_images(shop, name, words, tmp_path):
    (tmp_path/'img/list.txt').write_text('0.jpg')
    (tmp_path/'img/img.zip').write_bytes(b'PK')
    with pytest.raises(UsageError) as error: check_source(name if '://' in name else tmp_path/'img'/name, Columns())
    assert words in str(error.value)

def test_a_table_of_paths_alone_names_its_column(shop, tmp_path):
    shop.rename(columns=dict(file='path'))[['path']].to_csv(tmp_path/'paths.csv', index=False)
    with pytest.raises(UsageError, match='name it with --file-col path'): check_source(tmp_path/'paths.csv', Columns())
