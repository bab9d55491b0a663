"""Tables as programs and people write them: read right, or refused in one sentence that says what is in the way

What a table says must not depend on the file that it came in, so most tests compare with the plain CSV."""
import gzip, json, warnings
from pathlib import Path
import pandas as pd, pytest
from PIL import Image
from fashion_fastai.core.errors import CatalogueWarning, UsageError
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.data.formats.products import PRODUCT_COLS
from fashion_fastai.data.formats.registry import convert, read_format, recognised_format
from fashion_fastai.data.tables import read_table, table_columns, table_frames
from helpers import hostile

ROWS = 12

def frame():
    rows = [(f'img/{i}.jpg', ['shirt', 'dress', 'trousers'][i%3], 'striped' if i%2 else '') for i in range(ROWS)]
    return pd.DataFrame(rows, columns=['file', 'category', 'attributes'])

@pytest.fixture
def shop(tmp_path):
    "A folder with the images of a table"
    (tmp_path/'img').mkdir()
    for i in range(ROWS): Image.new('RGB', (8, 8), (20*i, 60, 90)).save(tmp_path/f'img/{i}.jpg')
    return tmp_path

def write(path, text, encoding='utf-8'):
    Path(path).write_bytes(text.encode(encoding))
    return path

def text(sep=',', **kwargs): return frame().to_csv(index=False, sep=sep, **kwargs)

def rows_of(line): return ''.join(line.format(*row)+'\n' for row in frame().itertuples(index=False))

AS_WRITTEN = { # name of the file and its text: all of them are the same table
    'semicolons with a mark': ('a.csv', '\ufeff'+text(';')),
    'the separator in the first line': ('a.csv', 'sep=;\n'+text(';')),
    'the separator in quotes, line ends of Windows': ('a.csv', ('"sep=|"\n'+text('|')).replace('\n', '\r\n')),
    'pipes': ('a.csv', text('|')),
    'tabs': ('a.tsv', text('\t')),
    'tabs in a header that has commas': ('a.tsv', text('\t').replace('attributes', '"attributes"')),
    'everything in quotes': ('A.CSV', text(quoting=1)),
    'a remark': ('a.csv', '# made by our tool, on a Monday, in the rain, late\n'+text()),
    'two remarks and a blank line': ('a.csv', '# made by\n#our tool\n\n'+text(';')),
    'a header that begins as a remark': ('a.csv', '# '+text()),
    'blanks in the header': ('a.csv', text().replace('file,category,attributes', ' file,category , attributes')),
    'blanks behind the separators': ('a.csv', 'file, category, attributes\n'+rows_of('{0}, "{1}", {2}')),
    'a blank line above': ('a.csv', '\n\n'+text()),
    'a separator at the end of each row': ('a.csv', 'file,category,attributes\n'+rows_of('{0},{1},{2},')),
    'JSON Lines': ('a.jsonl', frame().to_json(orient='records', lines=True)),
    'JSON Lines with lists and blank lines': ('a.ndjson',
        '\n\n'.join(json.dumps(dict(row, attributes=row['attributes'].split())) for row in frame().to_dict('records'))),
}

def catalogue(path): return read_catalogue(path, one_of=['category'], any_of=['attributes'])

def same(found, expected):
    assert found.files==expected.files
    for target in expected.schema:
        assert found.schema[target.name].vocab==target.vocab
        assert (found.codes[target.name]==expected.codes[target.name]).all()

@pytest.mark.parametrize('name', AS_WRITTEN)
def test_the_same_table(name, shop):
    frame().to_csv(shop/'plain.csv', index=False)
    file,content = AS_WRITTEN[name]
    same(catalogue(write(shop/file, content)), catalogue(shop/'plain.csv'))
    assert table_columns(shop/file)[:3]==['file', 'category', 'attributes']
    assert sum(len(part) for part in table_frames(shop/file, ['category'], 5))==ROWS

@pytest.mark.parametrize('file', ['a.csv.gz', 'a.tsv.gz', 'a.jsonl.gz', 'a.xlsx', 'a.parquet'])
def test_the_same_table_in_a_binary_file(file, shop):
    frame().to_csv(shop/'plain.csv', index=False)
    table,path = frame(),shop/file
    if file.endswith('.xlsx'): table.to_excel(path, index=False, sheet_name='Labels')
    elif file.endswith('.parquet'): table.to_parquet(path)
    elif 'jsonl' in file: table.to_json(path, orient='records', lines=True)
    else: table.to_csv(path, index=False, sep='\t' if 'tsv' in file else ',')
    same(catalogue(path), catalogue(shop/'plain.csv'))

def test_excel_without_its_extra(shop, monkeypatch):
    frame().to_excel(shop/'a.xlsx', index=False)
    monkeypatch.setitem(__import__('sys').modules, 'openpyxl', None)
    with pytest.raises(UsageError, match=r"pip install 'fashion_fastai\[excel\]'"): read_table(shop/'a.xlsx')

def test_numbers_of_excel_and_csv_are_the_same_labels(shop):
    table = frame().assign(size=[i%5 for i in range(ROWS)], kids=[i%3==0 for i in range(ROWS)])
    table.to_excel(shop/'a.xlsx', index=False)
    table.to_csv(shop/'a.csv', index=False)
    found,expected = (read_catalogue(shop/name, one_of=['size', 'kids']) for name in ('a.xlsx', 'a.csv'))
    same(found, expected)
    assert found.schema['size'].vocab==('0', '1', '2', '3', '4')

@pytest.mark.parametrize('parts', [['parts'], ['parts/*.csv'], ['p*/?.csv']])
def test_several_files_are_one_table(parts, shop, capsys):
    (shop/'parts').mkdir()
    for i in (0, 6): frame().iloc[i:i+6].to_csv(shop/f'parts/{i}.csv', index=False)
    with pytest.warns(CatalogueWarning, match='2 files are read as one table: 0.csv, 6.csv'):
        found = read_catalogue(shop/parts[0], shop, one_of=['category'], any_of=['attributes'])
    frame().to_csv(shop/'plain.csv', index=False)
    same(found, catalogue(shop/'plain.csv'))

def test_a_folder_with_one_table_is_that_table(shop):
    frame().to_csv(shop/'labels.csv', index=False)
    write(shop/'README.md', 'read me')
    assert len(catalogue(shop))==ROWS

REFUSED = { # file and text; what is said
    'a column twice': ('a.csv', 'file,category,category\n1.jpg,a,b\n', "two columns have the same name, 'category'"),
    'a column twice but for blanks': ('a.csv', 'file,category, category\n1.jpg,a,b\n', 'the same name'),
    'a second header': ('a.csv', 'file,labels,labels\n,category,attributes\n', "the same name, 'labels'"),
    'a comma without quotes': ('a.csv', text()+'img/1.jpg,dress,one, two\n', f"line {ROWS+2}: 4 fields, but the header has 3: "
        "'img/1.jpg,dress,one,two'; a comma inside a cell needs quotes"),
    'the same below a remark': ('a.csv', '# ours\n\n'+text()+'img/1.jpg,dress,one, two\n', f'line {ROWS+4}: 4 fields'),
    'a first row that is longer': ('a.csv', 'file,category\nimg/1.jpg,dress,one\n', 'line 2: 3 fields'),
    'a quote that is never closed': ('a.csv', text()+'"img/1.jpg,dress,x\nimg/2.jpg,dress,y\n', f'line {ROWS+2}: a quote is never'),
    'another encoding': ('a.csv', text().replace('dress', 'été').encode('cp1252'), 'not UTF-8; save it as "CSV UTF-8"'),
    'two bytes a letter': ('a.csv', text('\t').encode('utf-16'), 'not UTF-8'),
    'a JSON array': ('a.jsonl', frame().to_json(orient='records'), 'line 1 is not JSON Lines: it must be an object'),
    'half a line of JSON': ('a.jsonl', '{"file": "1.jpg"}\n{"file": "2.j', 'line 2 is not JSON Lines'),
    'a JSON name twice': ('a.jsonl', '{"file": "1.jpg", "file": "2.jpg"}\n', 'line 1 is not JSON Lines: a name occurs twice'),
    'an array in a .json file': ('a.json', frame().to_json(orient='records'), 'write JSON Lines'),
    'a text as a workbook': ('a.xlsx', text(), 'it is not an Excel workbook'),
    'an old spreadsheet': ('a.xls', text(), 'save it as .xlsx'),
    'a text as compressed': ('a.csv.gz', text(), 'cannot be read as a table'),
    'only a header': ('a.csv', 'file,category\n', 'the table is empty'),
}

@pytest.mark.parametrize('name', REFUSED)
def test_what_is_refused(name, tmp_path):
    file,content,says = REFUSED[name]
    (tmp_path/file).write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_table, lambda path: sum(map(len, table_frames(path, ['file'], 3)))):
        if name=='only a header' and read is not read_table: continue
        with pytest.raises(UsageError) as e: read(tmp_path/file)
        assert says in str(e.value) and 'tokenizing' not in str(e.value)

def test_a_cut_archive(tmp_path):
    with gzip.open(tmp_path/'a.csv.gz', 'wt') as file: file.write(text()*100)
    (tmp_path/'a.csv.gz').write_bytes((tmp_path/'a.csv.gz').read_bytes()[:-60])
    with pytest.raises(UsageError, match='cannot be read as a table'): read_table(tmp_path/'a.csv.gz')

def test_parts_that_do_not_fit(tmp_path):
    frame().to_csv(tmp_path/'a.csv', index=False)
    frame().drop(columns='attributes').to_csv(tmp_path/'b.csv', index=False)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.raises(UsageError, match='only a.csv has the column attributes; name one of them'): read_table(tmp_path)
    frame().to_csv(tmp_path/'a.csv.gz', index=False)
    with pytest.raises(UsageError, match='are not the parts of one table'): read_table(tmp_path/'a.*')

# ---- the schema that `data convert` wrote

@pytest.fixture
def converted(shop):
    "A table with a schema beside it that declares a label which no row has"
    frame().to_csv(shop/'labels.csv', index=False)
    vocab = dict(category=['dress', 'poncho', 'shirt', 'trousers'], attributes=['striped', 'woollen'])
    targets = [dict(name=name, kind=kind, vocab=vocab[name]) for name,kind in (('category', 'one_of'), ('attributes', 'any_of'))]
    write(shop/'labels.schema.json', json.dumps(dict(targets=targets)))
    return shop/'labels.csv'

def test_a_choice_of_targets_keeps_the_labels_of_the_schema(converted):
    assert read_catalogue(converted, one_of=['category']).schema['category'].vocab==('dress', 'poncho', 'shirt', 'trousers')
    assert read_catalogue(converted, one_of=['attributes']).schema['attributes'].vocab==('striped',) # another kind
    assert read_format('table', converted).schema['attributes'].vocab==('striped', 'woollen')
    assert read_format('table', converted, any_of=['attributes']).schema.names==['attributes']

def test_a_label_that_the_schema_lacks_names_the_schema(converted):
    table = read_table(converted)
    table.loc[3, 'category'] = 'cape'
    table.to_csv(converted, index=False)
    with pytest.raises(UsageError, match='row 4: unknown category .cape.*labels.schema.json lists the labels'): read_catalogue(converted)

# ---- products

def styles(**columns):
    rows = [(15000+i, 'Men', 'Apparel', 'Topwear', 'Shirts', 'Black', 'Fall', 2011.0, None if i%5==0 else 'Casual', 'Plain, thing') for i in range(ROWS)]
    return pd.DataFrame(rows, columns=PRODUCT_COLS).assign(**columns)

@pytest.fixture
def products(tmp_path):
    (tmp_path/'images').mkdir()
    for i in range(ROWS): Image.new('RGB', (8, 8), (20*i, 60, 90)).save(tmp_path/f'images/{15000+i}.jpg')
    return tmp_path

SAVED_AGAIN = dict(
    with_the_index=lambda table,path: table.to_csv(path),
    without_the_index=lambda table,path: table.to_csv(path, index=False),
    with_another_column=lambda table,path: table.assign(image=table.id.astype(str)+'.jpg').to_csv(path),
    in_another_order=lambda table,path: table[list(PRODUCT_COLS)[::-1]].to_csv(path, index=False, sep=';'))

@pytest.mark.parametrize('how', SAVED_AGAIN)
def test_products_saved_again(how, products, tmp_path):
    SAVED_AGAIN[how](styles(), products/'styles.csv')
    for source in (products, products/'styles.csv'):
        assert recognised_format(source)=='products'
        table = read_format('products', source)
        assert len(table)==ROWS and table.frame.productDisplayName[0]=='Plain, thing'
        assert table.frame.file[0]=='15000.jpg' and table.frame.year[0] in ('2011', '2011.0')
        assert table.schema['usage'].vocab==('Casual',)

def test_products_in_a_folder_below(products, tmp_path):
    (tmp_path/'above').mkdir()
    styles().to_csv(products/'styles.csv')
    (tmp_path/'above/set').symlink_to(products)
    assert len(read_format('products', tmp_path/'above'))==ROWS

def test_a_converted_table_is_no_product_catalogue(products, tmp_path):
    styles().to_csv(products/'styles.csv', index=False)
    assert len(convert('auto', products, products/'labels.csv', one_of=['articleType']).schema)==1
    assert recognised_format(products/'labels.csv')=='table'
    assert read_catalogue(products/'labels.csv').schema.names==['articleType']

def test_products_saved_with_a_wrong_id(products):
    styles(id=['x', *range(1, ROWS)]).to_csv(products/'styles.csv')
    with pytest.raises(UsageError, match="row 1: 'x': the id must be a whole number"): read_format('products', products)

# ---- folders

def images(root, *names):
    for i,name in enumerate(names):
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (8, 8), (20*i, 60, 90)).save(root/name)

def test_a_flat_test_folder(tmp_path):
    images(tmp_path, 'train/dress/1.jpg', 'train/shirt/2.jpg', 'val/dress/3.jpg', 'test/4.jpg', 'test/5.jpg')
    with pytest.warns(CatalogueWarning, match='the labels of 2 images that lie directly in test are unknown'):
        table = read_format('folders', tmp_path)
    assert table.schema['category'].vocab==('dress', 'shirt')
    assert table.frame.groupby('split').category.apply(list).to_dict()==dict(train=['dress', 'shirt'], valid=['dress'], test=['', ''])

@pytest.mark.parametrize('train,valid,test', [('training', 'validation', 'testing'), ('Train', 'dev', 'Test'), ('trn', 'VAL', 'tst')])
def test_folders_of_splits_as_people_name_them(tmp_path, train, valid, test):
    images(tmp_path, f'{train}/dress/1.jpg', f'{train}/shirt/2.jpg', f'{valid}/dress/3.jpg', f'{test}/4.jpg')
    with pytest.warns(CatalogueWarning, match='the labels of 1 images'): table = read_format('folders', tmp_path)
    assert table.one_of==('category',) and sorted(table.frame.split)==['test', 'train', 'train', 'valid']

@pytest.mark.parametrize('names,says', [(['test/1.jpg', 'test/2.jpg'], 'all images lie in test'), (['train/1.jpg', 'test/a/2.jpg'], '0 folders above')])
def test_what_is_no_flat_test(tmp_path, names, says):
    images(tmp_path, *names)
    with pytest.raises(UsageError, match=says): read_format('folders', tmp_path)

def test_levels_of_folders(tmp_path):
    images(tmp_path/'three', 'women/tops/tee/1.jpg', 'women/shoes/boot/2.jpg', 'men/tops/tee/3.jpg')
    with pytest.warns(CatalogueWarning, match='tops lies in more than one folder'): table = read_format('folders', tmp_path/'three')
    assert table.one_of==('level_1', 'level_2', 'level_3')
    assert set(table.frame.level_3)=={'women/tops/tee', 'women/shoes/boot', 'men/tops/tee'}
    images(tmp_path/'four', 'train/a/b/c/d/1.jpg', 'test/a/b/c/e/2.jpg')
    assert read_format('folders', tmp_path/'four').frame.level_4.tolist()==['e', 'd']
    images(tmp_path/'six', 'a/b/c/d/e/f/1.jpg')
    with pytest.raises(UsageError, match='6 folders above the image that are labels'): read_format('folders', tmp_path/'six')

# ---- labels that a run has not seen

def test_unseen_labels_can_be_ignored(shop):
    table = frame()
    schema = read_catalogue(write(shop/'a.csv', table.to_csv(index=False)), one_of=['category'], any_of=['attributes']).schema
    table.loc[3, 'category'],table.loc[[4, 5], 'attributes'] = 'poncho',['woollen striped', 'woollen']
    path = write(shop/'b.csv', table.to_csv(index=False))
    with pytest.raises(UsageError, match="row 4: unknown category 'poncho'"): read_catalogue(path, schema=schema)
    with pytest.warns(CatalogueWarning, match=r'ignored: category poncho \(1 row\), attributes woollen \(2 rows\)'):
        found = read_catalogue(path, schema=schema, on_unseen='ignore')
    assert found.codes['category'][3]==-1 and found.codes['attributes'][[4,5],0].tolist()==[1, 0]
    with pytest.raises(UsageError, match='did you mean ignore'): read_catalogue(path, schema=schema, on_unseen='ignor')

def test_unseen_labels_of_lists_and_numbers(shop):
    table = frame().assign(attributes=[['striped', 7] if i==2 else ['striped'] for i in range(ROWS)], category=[i%3 for i in range(ROWS)])
    table.iloc[:2].to_json(shop/'a.jsonl', orient='records', lines=True)
    table.to_json(shop/'b.jsonl', orient='records', lines=True)
    schema = read_catalogue(shop/'a.jsonl', one_of=['category'], any_of=['attributes'], valid_share=0.5).schema
    with pytest.warns(CatalogueWarning, match=r'category 2 \(4 rows\), attributes 7 \(1 row\)'):
        found = read_catalogue(shop/'b.jsonl', schema=schema, on_unseen='ignore')
    assert (found.codes['category']<0).sum()==4 and (found.codes['attributes'][:,0]==1).all()

# ---- bombs

def test_a_workbook_that_claims_to_be_small(tmp_path):
    "A shared text of 30 kB in 20,000 cells would be 600 MB"
    hostile.shared_text(tmp_path/'a.xlsx')
    with pytest.raises(UsageError, match='more than a hundred times its size'): read_table(tmp_path/'a.xlsx')

def test_a_workbook_with_a_cell_far_away(tmp_path):
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    hostile.workbook(tmp_path/'a.xlsx', hostile.sheet_row(1, 0)+hostile.sheet_row(2, 1)+far, ['file', '1.jpg'])
    assert read_table(tmp_path/'a.xlsx').file.tolist()==['1.jpg']
