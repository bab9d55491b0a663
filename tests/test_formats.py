"""Every published format is read correctly, and every mistake in it is reported with file and line"""
import io, json, warnings
from pathlib import Path
import pandas as pd, pyarrow as pa, pyarrow.parquet as pq, pytest
from PIL import Image
from fashion_fastai.data.catalogue import CatalogueWarning, read_catalogue
from fashion_fastai.data.images import ImageReader
from fashion_fastai.data.formats.products import PRODUCT_COLS, PRODUCT_TARGETS
from fashion_fastai.data.formats.registry import FORMATS, catalogue_from, convert, read_format
from fashion_fastai.core.errors import UsageError
from fashion_fastai.schema import schema_from_json
from helpers.meesho import QUESTIONS, draw_meesho


class SmallSet:
    "A small data set in a folder, which can be damaged line by line"
    def __init__(self, root): self.root = Path(root)
    def image(self, *names):
        for i, name in enumerate(names):
            path = self.root/name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (8, 8), (20*i, 40, 90)).save(path)
    def text(self, name, *lines):
        path = self.root/name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(lines)+'\n', encoding='utf-8')
    def lines(self, name): return (self.root/name).read_text(encoding='utf-8').splitlines()
    def change(self, name, line, text):
        "Replace a line, counted from 1, by `text`; None removes it"
        lines = self.lines(name)
        lines[line-1:line] = [] if text is None else [text]
        self.text(name, *lines)
    def remove(self, name): (self.root/name).unlink()


@pytest.fixture
def drawn(tmp_path): return SmallSet(tmp_path/'set')


def fails(name, drawn, *messages, **options):
    with pytest.raises(UsageError) as e: read_format(name, drawn.root, **options)
    for message in messages: assert message in str(e.value), str(e.value)


FILES = ['img/Pleated_Blouse/img_00000001.jpg', 'img/Pleated_Blouse/img_00000002.jpg', 'img/Denim_Romper/img_00000001.jpg', 'img/Tee/img_00000001.jpg']


@pytest.fixture
def benchmark(drawn):
    drawn.image(*FILES)
    drawn.text('Anno/list_category_cloth.txt', '3', 'category_name  category_type', 'Blouse         1', 'Hot pants      2', 'Romper         3')
    drawn.text('Anno/list_attr_cloth.txt', '4', 'attribute_name  attribute_type', 'a-line                  3', 'abstract chevron print  1',
        'denim                   2', 'never seen              5')
    drawn.text('Anno/list_category_img.txt', '4', 'image_name  category_label', *(f'{name}    {c}' for name, c in zip(FILES, (1, 1, 3, 2))))
    drawn.text('Anno/list_attr_img.txt', '4', 'image_name  attribute_labels', f'{FILES[0]}   1  1 -1 -1', f'{FILES[1]}   1 -1  0 -1', f'{FILES[2]}  -1 -1 -1 -1', f'{FILES[3]} 0 0 0 0')
    drawn.text('Anno/list_bbox.txt', '4', 'image_name  x_1  y_1  x_2  y_2', *(f'{name}  001 002 007 00{4+i}' for i, name in enumerate(FILES)))
    drawn.text('Eval/list_eval_partition.txt', '4', 'image_name evaluation_status', *(f'{name}   {split}' for name, split in zip(FILES, ('train', 'val', 'test', 'train'))))
    return drawn


def test_deepfashion(benchmark):
    labels = read_format('deepfashion', benchmark.root)
    assert labels.frame.category.tolist() == ['Blouse', 'Blouse', 'Romper', 'Hot pants']
    assert labels.frame.attributes.tolist() == ['a-line abstract_chevron_print', 'a-line ?denim', '', '?']
    assert labels.frame.split.tolist() == ['train', 'valid', 'test', 'train']
    assert labels.frame.item.tolist() == ['Pleated_Blouse', 'Pleated_Blouse', 'Denim_Romper', 'Tee']
    assert labels.frame[['x1', 'y1', 'x2', 'y2']].iloc[3].tolist() == [1, 2, 7, 7]
    assert labels.schema['category'].vocab == ('Blouse', 'Hot pants', 'Romper')
    assert labels.schema['attributes'].vocab[-1] == 'never_seen'
    assert labels.schema.encode(labels.frame)['attributes'].tolist() == [[1, 1, 0, 0], [1, 0, -1, 0], [0]*4, [-1]*4]
    assert labels.images == benchmark.root and labels.group_col == 'item'


def test_deepfashion_attribute_types_reach_the_schema(benchmark, tmp_path):
    types = {'abstract_chevron_print': 'texture', 'denim': 'fabric', 'a-line': 'shape', 'never_seen': 'style'}
    assert read_format('deepfashion', benchmark.root).schema['attributes'].label_groups == types
    convert('deepfashion', benchmark.root, tmp_path/'labels.csv', images=benchmark.root)
    stored = json.loads((tmp_path/'labels.schema.json').read_text())['targets']
    assert list(stored[1]['label_groups'].items()) == list(types.items()) and 'label_groups' not in stored[0]
    catalogue = read_catalogue(tmp_path/'labels.csv')
    assert list(catalogue.schema['attributes'].group_positions()) == ['texture', 'fabric', 'shape', 'style']


def test_a_choice_of_targets_keeps_what_the_format_declares(benchmark):
    attributes = catalogue_from('deepfashion', benchmark.root, any_of=['attributes']).schema['attributes']
    assert attributes.vocab[-1] == 'never_seen' and attributes.label_groups['denim'] == 'fabric'
    both = catalogue_from('deepfashion', benchmark.root, one_of=['category', 'item'], any_of=['attributes'])
    assert both.schema.names == ['category', 'item', 'attributes'] # `item` is not a target of the format
    assert both.schema['attributes'].vocab[-1] == 'never_seen'


def test_an_empty_cell_can_be_unknown_in_every_format(benchmark):
    known = catalogue_from('deepfashion', benchmark.root).codes['attributes']
    unknown = catalogue_from('deepfashion', benchmark.root, empty='unknown').codes['attributes']
    assert known[2].tolist() == [0]*4 and unknown[2].tolist() == [-1]*4


def test_deepfashion_joins_by_name_and_finds_other_layouts(benchmark):
    rows = benchmark.lines('Anno/list_attr_img.txt')
    benchmark.text('Anno/list_attr_img.txt', *rows[:2], *reversed(rows[2:]))
    before = read_format('deepfashion', benchmark.root).frame
    (benchmark.root/'Anno').rename(benchmark.root/'Anno_coarse')
    (benchmark.root/'Img').mkdir()
    (benchmark.root/'img').rename(benchmark.root/'Img/img')
    labels = read_format('deepfashion', benchmark.root)
    pd.testing.assert_frame_equal(labels.frame, before)
    assert labels.images == benchmark.root/'Img' and labels.frame.attributes[0] == 'a-line abstract_chevron_print'
    assert len(read_format('deepfashion', benchmark.root/'Anno_coarse', images=benchmark.root/'Img')) == 4


def test_deepfashion_without_boxes_and_with_line_ends_of_windows(benchmark):
    benchmark.remove('Anno/list_bbox.txt')
    for path in benchmark.root.rglob('*.txt'): path.write_bytes(path.read_bytes().replace(b'\n', b'\r\n')+b'\r\n')
    labels = read_format('deepfashion', benchmark.root)
    assert 'x1' not in labels.frame and labels.frame.attributes[1] == 'a-line ?denim'


@pytest.mark.parametrize('name,line,text,message', [
    ('Anno/list_category_cloth.txt', 1, '4', ['line 1: the count is 4, but 3 lines']),
    ('Anno/list_category_cloth.txt', 4, 'Romper', ['line 4: 1 field, but it must have 2']),
    ('Anno/list_category_cloth.txt', 4, 'Blouse   1', ['line 4: Blouse is listed for the second time']),
    ('Anno/list_category_img.txt', 1, 'x', ["line 1: 'x' must be the number of lines"]),
    ('Anno/list_category_img.txt', 5, None, ['line 1: the count is 4, but 3 lines']),
    ('Anno/list_category_img.txt', 5, f'{FILES[2]} 4', ['line 5: 4: the category must be a whole number from 1 to 3']),
    ('Anno/list_category_img.txt', 5, f'{FILES[2]} romper', ["line 5: 'romper': the category must be"]),
    ('Anno/list_category_img.txt', 5, f'{FILES[2]}', ['line 5: 1 field, but it must have 2']),
    ('Anno/list_category_img.txt', 5, f'{FILES[0]} 1', [f'line 5: {FILES[0]} is listed for the second time']),
    ('Anno/list_attr_cloth.txt', 3, 'a-line       9', ['line 3: 9: the number after the name must be a whole number from 1 to 5']),
    ('Anno/list_attr_cloth.txt', 3, 'abstract_chevron_print  1', ['line 4: abstract_chevron_print is listed for the second time']),
    ('Anno/list_attr_img.txt', 1, '5', ['line 1: the count is 5, but 4 lines']),
    ('Anno/list_attr_img.txt', 4, f'{FILES[1]}  1 -1 0', ['line 4: 3 values, but it must have 4']),
    ('Anno/list_attr_img.txt', 4, f'{FILES[1]}  1 -1 0 2', ["line 4: '2' for attribute 4: it must be 1"]),
    ('Anno/list_attr_img.txt', 4, f'{FILES[1]}  1 -1 0 -0', ["line 4: '-0' for attribute 4"]),
    ('Anno/list_attr_img.txt', 4, f'{FILES[1]}  1 -1 0 11', ["line 4: '11' for attribute 4"]),
    ('Anno/list_attr_img.txt', 5, '', ['line 5: 0 values, but it must have 4']),
    ('Anno/list_attr_img.txt', 4, 'img/other.jpg  1 -1 0 1', ['line 4: img/other.jpg is not in', 'list_category_img.txt']),
    ('Anno/list_attr_img.txt', 4, f'{FILES[0]}  1 -1 0 1', [f'line 4: {FILES[0]} is listed for the second time']),
    ('Anno/list_bbox.txt', 3, f'{FILES[0]} 1 2 7', ['line 3: 4 fields, but it must have 5: image_name x_1 y_1 x_2 y_2']),
    ('Anno/list_bbox.txt', 3, f'{FILES[0]} 1 2 7 8.5', ["line 3: '8.5': it must be a whole number"]),
    ('Eval/list_eval_partition.txt', 6, f'{FILES[3]} training', ["line 6: 'training': the split must be one of train, val, test"]),
    ('Eval/list_eval_partition.txt', 6, 'img/other.jpg train', ['line 6: img/other.jpg is not in']),
])
def test_deepfashion_errors(benchmark, name, line, text, message):
    benchmark.change(name, line, text)
    fails('deepfashion', benchmark, name.split('/')[1], *message)


@pytest.mark.parametrize('name', ['Anno/list_category_cloth.txt', 'Anno/list_attr_cloth.txt', 'Anno/list_category_img.txt', 'Anno/list_attr_img.txt', 'Eval/list_eval_partition.txt'])
def test_deepfashion_missing_file(benchmark, name):
    benchmark.remove(name)
    fails('deepfashion', benchmark, name.split('/')[1], 'no ')


def test_deepfashion_images_missing(benchmark):
    for name in FILES: benchmark.remove(name)
    fails('deepfashion', benchmark, f'{FILES[0]} is not in', '--images')


def test_deepfashion_in_many_blocks(benchmark, monkeypatch):
    import fashion_fastai.data.formats.deepfashion as module
    whole = read_format('deepfashion', benchmark.root).frame
    blocks = module._blocks
    monkeypatch.setattr(module, '_blocks', lambda path: blocks(path, 60))
    pd.testing.assert_frame_equal(read_format('deepfashion', benchmark.root).frame, whole)
    benchmark.change('Anno/list_attr_img.txt', 6, f'{FILES[3]} 0 0 0 x')
    fails('deepfashion', benchmark, "list_attr_img.txt: line 6: 'x' for attribute 4")


@pytest.fixture(params=[False, True], ids=['bare', 'with headers'])
def six(drawn, request):
    header = request.param
    names = [('floral', 1), ('solid color', 1), ('long_sleeve', 2), ('no_sleeve', 2), ('maxi', 3), ('crew', 4), ('denim', 5), ('cotton', 5), ('tight', 6), ('loose', 6)]
    drawn.text('split/list_attr_cloth.txt', '10', 'attribute_name  attribute_type', *(f'{a}   {b}' for a, b in names))
    def listed(name, head, *lines): drawn.text(f'split/{name}.txt', *([head] if header else []), *lines)
    for part, numbers in dict(train=(0, 1, 2), val=(3,), test=(4, 5)).items(): listed(part, 'picture_filename', *(f'img/{i:05}.jpg' for i in numbers))
    head = 'category1 category2 category3 category4 category5 category6'
    listed('train_attr', head, '0 0 0 0 1 1', '1 1 0 0 0 0', '0 1 0 0 1 0')
    listed('val_attr', head, '1 0 0 0 0 1')
    listed('train_bbox', 'x1 y1 x2 y2', '0 1 7 8', '1 1 6 7', '2 2 7 7')
    listed('train_landmards', 'landmark', *[' '.join('0'*16)]*2, ' '.join(map(str, range(16))))
    drawn.image(*(f'img/{i:05}.jpg' for i in range(6)))
    drawn.header = header
    return drawn


def test_deepfashion_six(six):
    labels = read_format('deepfashion-six', six.root)
    assert labels.one_of == ('texture', 'sleeve', 'length', 'neckline', 'fabric', 'fit')
    assert labels.frame.file.tolist() == [f'img/{i:05}.jpg' for i in range(6)]
    assert labels.frame.texture.tolist() == ['floral', 'solid color', 'floral', 'solid color', '', '']
    assert labels.frame.fabric.tolist() == ['cotton', 'denim', 'cotton', 'denim', '', '']
    assert labels.frame.split.tolist() == ['train']*3+['valid']+['test']*2
    assert [o.n_out for o in labels.schema] == [2, 2, 1, 1, 2, 2]
    assert labels.frame.x2.tolist()[:3] == [7, 6, 7] and labels.frame.x2.isna().tolist() == [False]*3+[True]*3
    assert labels.frame.landmarks[2] == ' '.join(map(str, range(16)))


def test_deepfashion_six_converted_gives_the_same_numbers(six, tmp_path):
    convert('deepfashion-six', six.root, tmp_path/'labels.csv')
    assert ',0,1,7,8,' in (tmp_path/'labels.csv').read_text() # and not 7.0, although test has no boxes
    schema = schema_from_json((tmp_path/'labels.schema.json').read_text())
    catalogue = read_catalogue(tmp_path/'labels.csv', schema=schema)
    assert catalogue.codes['fit'].tolist() == [1, 0, 0, 1, -1, -1]


def test_deepfashion_six_empty_test_labels_and_other_spelling(six):
    six.text('split/test_attr.txt', '')
    six.text('split/val_landmarks.txt', ' '.join('1'*16))
    labels = read_format('deepfashion-six', six.root)
    assert labels.frame.fit.tolist()[4:] == ['', ''] and labels.frame.landmarks[3] == ' '.join('1'*16)


@pytest.mark.parametrize('name,line,text,message', [
    ('train_attr', 2, '1 1 0 0 0 2', 'line {}: 2: fit must be a number from 0 to 1'),
    ('train_attr', 2, '1 1 1 0 0 0', 'line {}: 1: length must be a number from 0 to 0'),
    ('train_attr', 2, '1 1 0 0 0', 'line {}: 5 fields, but it must have 6: texture, sleeve'),
    ('train_attr', 2, '1 1 0 0 0 x', "line {}: 'x': it must be a whole number"),
    ('train_attr', 2, '1 1 0 0 0 -1', 'line {}: -1: fit must be'),
    ('train_attr', 2, None, 'has 2 lines for the 3 images of'),
    ('train_bbox', 2, '1 1 6', 'line {}: 3 fields, but it must have 4: x1 y1 x2 y2'),
    ('train_landmards', 2, '1 1 6', 'line {}: 3 fields, but it must have 16'),
    ('train', 2, 'img/00000.jpg', 'img/00000.jpg is listed for the second time'),
    ('train', 2, 'img/00001.jpg 1', 'line {}: 2 fields, but it must have 1'),
])
def test_deepfashion_six_errors(six, name, line, text, message):
    line += six.header
    six.change(f'split/{name}.txt', line, text)
    fails('deepfashion-six', six, message.format(line), *([] if name=='train' and 'second' in message else [f'{name}.txt']))


@pytest.mark.parametrize('name', ['train.txt', 'train_attr.txt', 'val_attr.txt', 'list_attr_cloth.txt'])
def test_deepfashion_six_file_missing(six, name):
    six.remove(f'split/{name}')
    fails('deepfashion-six', six, name, 'no ')


@pytest.mark.parametrize('line,text,message', [
    (1, '11', 'line 1: the count is 11, but 10 lines'), (3, 'floral  7', 'line 3: 7: the number after the name must be a whole number from 1 to 6'),
    (7, 'maxi  2', 'no value of group 3, length')])
def test_deepfashion_six_names(six, line, text, message):
    six.change('split/list_attr_cloth.txt', line, text)
    fails('deepfashion-six', six, 'list_attr_cloth.txt', message)


def test_deepfashion_six_fine_part(six):
    six.text('split/train_attr.txt', '1 0 1 0 1 1 0 1 0 1', '0 1 0 1 1 1 1 0 1 0', '0 0 0 1 1 1 0 1 1 0')
    assert read_format('deepfashion-six', six.root).frame.texture.tolist()[:3] == ['floral', 'solid color', '']
    six.change('split/train_attr.txt', 2, '1 1 0 1 1 1 1 0 1 0')
    fails('deepfashion-six', six, 'train_attr.txt', 'line 2: 2 values of texture; at most one is allowed')
    six.change('split/train_attr.txt', 2, '2 0 0 1 1 1 1 0 1 0')
    fails('deepfashion-six', six, 'train_attr.txt', 'line 2: 2: an attribute must be a whole number from 0 to 1')


@pytest.fixture
def pairs(drawn):
    drawn.image(*(f'deep_fashion/{o}.jpg' for o in ('train/00001', 'train/00002', 'test/00001')))
    drawn.text('train_category.csv', 'file_path, category_label', 'deep_fashion/train/00001.jpg, 1', 'deep_fashion/train/00002.jpg,9')
    drawn.text('train_attribute.csv', 'file_path,attribute_label', 'deep_fashion/train/00002.jpg,', 'deep_fashion/train/00001.jpg,3 10 11')
    drawn.text('test.csv', 'file_path', 'deep_fashion/test/00001.jpg')
    return drawn


def test_two_csv(pairs):
    labels = read_format('two-csv', pairs.root)
    assert labels.frame.values.tolist() == [['deep_fashion/train/00001.jpg', '1', '3 10 11', 'train'],
        ['deep_fashion/train/00002.jpg', '9', '', 'train'], ['deep_fashion/test/00001.jpg', '', '?', 'test']]
    assert [o.vocab for o in labels.schema] == [('1', '9'), ('3', '10', '11')]
    named = read_format('two-csv', pairs.root, categories='train_category.csv', attributes='train_attribute.csv', test='test.csv')
    pd.testing.assert_frame_equal(named.frame, labels.frame)


def test_two_csv_in_folders_with_a_sample_submission(pairs):
    for part in ('train', 'test'): (pairs.root/part).mkdir()
    for kind in ('category', 'attribute'): (pairs.root/f'train_{kind}.csv').rename(pairs.root/f'train/{kind}.csv')
    pairs.text('test/category.csv', 'file_path, category_label', 'deep_fashion/test/00001.jpg,')
    pairs.text('test/attribute.csv', 'file_path,attribute_label', 'deep_fashion/test/00001.jpg,')
    assert read_format('two-csv', pairs.root).frame.values.tolist()[2] == ['deep_fashion/test/00001.jpg', '', '?', 'test']


@pytest.mark.parametrize('name,line,text,message', [
    ('train_category.csv', 2, 'deep_fashion/train/00001.jpg,dress', "line 2: category_label is 'dress'; it must be one whole number"),
    ('train_category.csv', 2, 'deep_fashion/train/00001.jpg,1 2', "line 2: category_label is '1 2'"),
    ('train_category.csv', 2, ',1', 'line 2: file_path is empty'),
    ('train_category.csv', 3, 'deep_fashion/train/00001.jpg,1', 'line 3: deep_fashion/train/00001.jpg is listed for the second time'),
    ('train_attribute.csv', 3, 'deep_fashion/train/00001.jpg,3,10', 'line 3: 3 fields, but it must have 2: file_path, attribute_label'),
    ('train_category.csv', 3, 'deep_fashion/train/00002.jpg', 'line 3: 1 field, but it must have 2'),
    ('train_attribute.csv', 3, 'deep_fashion/train/00001.jpg,3;10', "line 3: attribute_label is '3;10'; it must be whole numbers between blanks"),
    ('train_attribute.csv', 2, None, 'deep_fashion/train/00002.jpg is missing, which'),
    ('train_attribute.csv', 2, 'deep_fashion/train/00003.jpg,1', 'line 2: deep_fashion/train/00003.jpg is not in'),
])
def test_two_csv_errors(pairs, name, line, text, message):
    pairs.change(name, line, text)
    fails('two-csv', pairs, name, message)


def test_two_csv_half_missing(pairs):
    pairs.remove('train_attribute.csv')
    fails('two-csv', pairs, 'train_category.csv: no attribute_label for the split train')
    fails('two-csv', pairs, 'categories and attributes are both needed', categories='train_category.csv')


def test_folders(drawn):
    drawn.image('dress/1.jpg', 'dress/2.PNG', 'shirt/1.jpg')
    drawn.text('dress/notes.txt', 'not an image')
    labels = read_format('folders', drawn.root)
    assert labels.frame.values.tolist() == [['dress/1.jpg', 'dress'], ['dress/2.PNG', 'dress'], ['shirt/1.jpg', 'shirt']]
    drawn.image('shirt/polo/2.jpg')
    fails('folders', drawn, 'the labels of dress/1.jpg are 1 folder, those of shirt/polo/2.jpg are 2; all must have the same number')


def test_folders_main_and_sub_with_split(drawn):
    drawn.image('train/top/polo/1.jpg', 'train/bottom/jeans/1.jpg', 'val/top/polo/2.jpg', 'test/top/polo/3.jpg')
    labels = read_format('folders', drawn.root)
    assert labels.one_of == ('main', 'sub') and sorted(labels.frame.split) == ['test', 'train', 'train', 'valid']
    drawn.image('train/bottom/polo/9.jpg')
    with pytest.warns(CatalogueWarning, match='polo lies in more than one main category'): labels = read_format('folders', drawn.root)
    assert 'bottom/polo' in labels.schema['sub'].vocab
    drawn.image('shoes/1.jpg')
    fails('folders', drawn, 'there is shoes; either all folders are splits or none')


def test_folders_errors(drawn):
    drawn.root.mkdir()
    fails('folders', drawn, 'no image')
    drawn.image('1.jpg')
    fails('folders', drawn, '1.jpg: 0 folders above the image')
    drawn.remove('1.jpg')
    drawn.image('a/b/c/d/e/f/1.jpg')
    fails('folders', drawn, '1.jpg: 6 folders above the image that are labels; it must have one (category), two')


def test_list_column(drawn):
    drawn.image('images/1.jpg', 'images/2.jpg')
    drawn.text('train.csv', 'id,Image Name,Category', '7,1.jpg,"Top, Ankle boots"', '8,2.jpg,')
    labels = read_format('list-column', drawn.root)
    assert labels.frame.to_dict('list') == dict(id=['7', '8'], file=['1.jpg', '2.jpg'], Category=['Top Ankle_boots', ''])
    assert labels.any_of == ('Category',) and labels.schema['Category'].vocab == ('Ankle_boots', 'Top')
    fails('list-column', drawn, "unknown column 'Categories'; did you mean Category?", any_of=['Categories'])
    drawn.change('train.csv', 3, '8,1.jpg,Top')
    fails('list-column', drawn, 'train.csv: line 3: 1.jpg is listed for the second time')
    drawn.change('train.csv', 3, '8,,Top')
    fails('list-column', drawn, 'train.csv: line 3: Image Name is empty', file_col='Image Name')
    drawn.change('train.csv', 3, '8,2.jpg')
    fails('list-column', drawn, 'train.csv: line 3: 2 fields, but it must have 3: id, Image Name, Category')
    drawn.text('train.csv', 'id,Image Name,Category', '7,1,Top')
    fails('list-column', drawn, 'train.csv: no column holds names of image files')
    drawn.text('test.csv', 'id')
    fails('list-column', drawn, '2 CSV files in it')


@pytest.fixture
def products(drawn):
    drawn.image('images/15970.jpg', 'images/39386.jpg')
    drawn.text('styles.csv', ','.join(PRODUCT_COLS), '15970,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,"Turtle, Check"',
        '39386,Men,Apparel,Bottomwear,Flip Flops,NA,Summer,2012,NA,Peter England Men, Party, Blue', '12369,Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,No image')
    return drawn


def test_products(products):
    with pytest.warns(CatalogueWarning, match='left out 1 of 3 rows without an image.*line 4: 12369.jpg'): labels = read_format('products', products.root)
    assert labels.one_of == PRODUCT_TARGETS and labels.frame.file.tolist() == ['15970.jpg', '39386.jpg']
    assert labels.frame.productDisplayName.tolist() == ['Turtle, Check', 'Peter England Men, Party, Blue']
    assert labels.frame.baseColour.tolist() == ['Navy Blue', ''] and labels.schema['articleType'].vocab == ('Flip Flops', 'Shirts')


@pytest.mark.parametrize('line,text,message', [
    (1, 'id,gender', 'line 1: the header must be id,gender,masterCategory'), (3, '39386,Men,Apparel', 'line 3: 3 fields, but it must have 10'),
    (3, 'x,Men,Apparel,Bottomwear,Flip Flops,NA,Summer,2012,NA,Peter', "line 3: 'x': the id must be a whole number"),
    (4, '15970,Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,Again', 'line 4: 15970 is listed for the second time')])
def test_products_errors(products, line, text, message):
    products.change('styles.csv', line, text)
    fails('products', products, 'styles.csv', message)


def test_products_without_images(products):
    fails('products', products, 'none of the 3 images', images=products.root)
    products.remove('styles.csv')
    fails('products', products, 'styles.csv: no such file')


def png(color):
    file = io.BytesIO()
    Image.new('RGB', (8, 8), color).save(file, 'PNG')
    return file.getvalue()


KINDS = pa.schema([('image', pa.struct([('bytes', pa.binary()), ('path', pa.string())])), ('label', pa.int64()), ('attributes', pa.list_(pa.int64())), ('brand', pa.string())])
FEATURES = dict(image=dict(_type='Image'), label=dict(names=['dress', 'shirt', 'never seen'], _type='ClassLabel'),
    attributes=dict(feature=dict(names=['belted', 'polka dots'], _type='ClassLabel'), _type='Sequence'), brand=dict(dtype='string', _type='Value'))


def hub_table(colors, labels, features=FEATURES):
    rows = dict(image=[o and dict(bytes=png(o), path=f'{o}.png') for o in colors], label=labels, attributes=[[0, 1], *[[]]*(len(colors)-1)], brand=list('abcdef'[:len(colors)]))
    schema = KINDS.with_metadata({'huggingface': json.dumps(dict(info=dict(features=features)))}) if features else KINDS
    return pa.table(rows, schema=schema)


def save_to_disk(table, folder, stream=True):
    folder.mkdir(parents=True)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(folder/'data-00000-of-00001.arrow'), table.schema) as f: f.write_table(table)
    (folder/'state.json').write_text(json.dumps(dict(_data_files=[dict(filename='data-00000-of-00001.arrow')], _split=None)))
    (folder/'dataset_info.json').write_text(json.dumps(dict(features=FEATURES)))


def check_hub(labels):
    assert labels.one_of == ('label',) and labels.any_of == ('attributes',)
    assert labels.schema['label'].vocab == ('dress', 'shirt', 'never seen') and labels.schema['attributes'].vocab == ('belted', 'polka_dots')
    assert labels.schema.encode(labels.frame)['label'].tolist() == [0, 1, -1]
    assert labels.frame.attributes.tolist() == ['belted polka_dots', '', '']
    assert (labels.images/labels.frame.file[1]).read_bytes() == png('red') # the same bytes, not encoded again
    assert labels.frame.file[0] == labels.frame.file[2] and labels.frame.brand.tolist() == list('abc')


@pytest.mark.parametrize('kind', ['stream', 'file', 'parquet'])
def test_hf(drawn, tmp_path, kind):
    table = hub_table(['navy', 'red', 'navy'], [0, 1, -1])
    if kind=='parquet':
        drawn.root.mkdir()
        pq.write_table(table, drawn.root/'train-00000-of-00001.parquet')
    else: save_to_disk(table, drawn.root, kind=='stream')
    labels = read_format('hf', drawn.root, images=tmp_path/'images')
    check_hub(labels)
    assert 'split' not in labels.frame and len(list((tmp_path/'images').iterdir())) == 2


def test_hf_splits_converted(drawn, tmp_path):
    save_to_disk(hub_table(['navy', 'red'], [0, 1]), drawn.root/'train')
    save_to_disk(hub_table(['lime'], [1]), drawn.root/'validation')
    drawn.text('dataset_dict.json', '{"splits": ["train", "validation"]}')
    convert('hf', drawn.root, tmp_path/'labels.csv')
    catalogue = read_catalogue(tmp_path/'labels.csv', schema=schema_from_json((tmp_path/'labels.schema.json').read_text()))
    assert catalogue.split_sizes() == {'train': 2, 'valid': 1} and catalogue.decode(ImageReader(8))[1].shape == (3, 8, 8, 3)
    assert catalogue.files[0].startswith('labels_images/') and catalogue.files[0].endswith('.png')


def test_hf_of_the_hub(drawn, tmp_path):
    (drawn.root/'data').mkdir(parents=True)
    for i, part in enumerate(['train', 'test']): pq.write_table(hub_table(['navy', 'red'], [0, i], None), drawn.root/f'data/{part}-00000-of-00001-6cff4c.parquet')
    fails('hf', drawn, 'no column is a ClassLabel', 'It has label, attributes, brand', images=tmp_path)
    labels = read_format('hf', drawn.root, one_of=['label', 'brand'], images=tmp_path)
    assert labels.frame.split.tolist() == ['test', 'test', 'train', 'train'] and labels.schema['brand'].vocab == ('a', 'b')
    fails('hf', drawn, "unknown column 'brandt'; did you mean brand?", one_of=['brandt'], images=tmp_path)


@pytest.mark.parametrize('valid', ['dev', 'Validation', 'val', 'partial-valid'])
def test_hf_splits_as_people_name_them(drawn, tmp_path, valid):
    for part,labels in (('training', [0, 1]), (valid, [1, 0]), ('testing', [0, 0])):
        (drawn.root/part).mkdir(parents=True)
        pq.write_table(hub_table(['navy', 'red'], labels), drawn.root/part/'0000.parquet')
    assert sorted(read_format('hf', drawn.root, images=tmp_path).frame.split)==['test']*2+['train']*2+['valid']*2

def test_hf_lists_and_vectors(drawn, tmp_path):
    "Columns of text with lists, of truth values, and with vectors of 0 and 1"
    drawn.root.mkdir()
    rows = dict(image=[dict(bytes=png(color), path=None) for color in ('navy', 'red', 'lime')], kind=list('abc'),
        written=["['maxi', 'wide fit']", '[]', '["maxi"]'], is_maxi=[True, False, True], is_wide=[True, False, False], hot=[[1, 1], [0, 0], [1, 0]])
    pq.write_table(pa.table(rows), drawn.root/'train.parquet')
    expected = ['maxi wide_fit', '', 'maxi']
    assert read_format('hf', drawn.root, images=tmp_path, one_of=['kind'], any_of=['written']).frame.written.tolist()==expected
    for spec,labels in (('hot=maxi,wide fit', expected), ('made=is_*', ['maxi wide', '', 'maxi'])):
        table = read_format('hf', drawn.root, images=tmp_path, one_of=['kind'], one_hot=[spec])
        assert table.frame[table.any_of[0]].tolist()==labels
    fails('hf', drawn, 'hot holds vectors of 2 zeros and ones', '--one-hot hot=FIRST,SECOND', one_of=['kind'], any_of=['hot'], images=tmp_path)
    fails('hf', drawn, "unknown column 'has_maxi'", one_hot=['has_maxi'], images=tmp_path)

def test_hf_errors(drawn, tmp_path):
    drawn.root.mkdir()
    fails('hf', drawn, 'no dataset_dict.json, state.json or .parquet file in it')
    file = drawn.root/'train.parquet'
    pq.write_table(hub_table(['navy', 'red'], [0, 3]), file)
    fails('hf', drawn, 'train.parquet: row 2: label is 3; it must be a number from 0 to 2', images=tmp_path)
    pq.write_table(hub_table(['navy', None], [0, 1]), file)
    with pytest.warns(CatalogueWarning, match='1 rows have no image'): assert read_format('hf', drawn.root, images=tmp_path).frame.file[1] == ''
    file.write_text('no parquet')
    fails('hf', drawn, 'train.parquet cannot be read', images=tmp_path)
    drawn.text('state.json', '{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    fails('hf', drawn, 'data-00000-of-00001.arrow: no such file', images=tmp_path)


def test_table(drawn, tmp_path):
    drawn.image('images/1.jpg', 'images/2.jpg')
    drawn.text('shop.csv', 'name,kind,tags,split', '1.jpg,dress,"belted; polka dots",train', '2.jpg,shirt,?,valid')
    table = drawn.root/'shop.csv'
    options = dict(one_of=['kind'], any_of=['tags'], sep=';', file_col='name', images=drawn.root/'images')
    with pytest.warns(CatalogueWarning, match='start from .*images; give --images'): convert('table', table, tmp_path/'out/labels.csv', **options)
    assert sorted(o.name for o in (tmp_path/'out').iterdir()) == ['labels.csv', 'labels.schema.json']
    catalogue = read_catalogue(tmp_path/'out/labels.csv', options['images'], schema=schema_from_json((tmp_path/'out/labels.schema.json').read_text()))
    assert catalogue.codes['tags'].tolist() == [[1, 1], [-1, -1]] and catalogue.files[0] == '1.jpg'
    with pytest.raises(UsageError, match='no column category or attributes'): read_format('table', table, file_col='name')
    with pytest.raises(UsageError, match='no column file with the names of the images among name, kind'): read_format('table', table, one_of=['kind'])
    with pytest.raises(UsageError, match='labels.csv exists already'): convert('table', table, tmp_path/'out/labels.csv', **options)
    with pytest.raises(UsageError, match='ends in .csv'): convert('table', table, tmp_path/'labels.txt', **options)


def test_catalogue_from_a_format(benchmark):
    with warnings.catch_warnings(record=True): catalogue = catalogue_from('deepfashion', benchmark.root)
    assert catalogue.split_sizes() == {'train': 2, 'valid': 1, 'test': 1} and catalogue.schema['attributes'].n_out == 4
    assert catalogue.group[0] == catalogue.group[1] == 'Pleated_Blouse'
    with warnings.catch_warnings(record=True): catalogue = catalogue_from('deepfashion', benchmark.root, one_of=['category'], all_as='test')
    assert catalogue.schema.names == ['category']
    with warnings.catch_warnings(record=True): assert len(catalogue_from('deepfashion', benchmark.root, images=None, one_of=None, on_bad='skip')) == 4
    with pytest.raises(UsageError, match="unknown option 'images'.*of the format folders"): catalogue_from('folders', benchmark.root/'img', images='img')
    benchmark.remove(FILES[2])
    with pytest.raises(UsageError, match='no such file'): catalogue_from('deepfashion', benchmark.root)


def test_names():
    assert list(FORMATS) == 'table deepfashion deepfashion-six two-csv folders list-column products meesho hf imagefolder'.split()
    with pytest.raises(UsageError, match="unknown format 'folder'; did you mean folders"): read_format('folder', '.')
    with pytest.raises(UsageError, match='nowhere: no such file or folder'): read_format('folders', 'nowhere')


# Meesho

@pytest.fixture
def meesho(drawn):
    drawn.rows = draw_meesho(drawn.root)
    return drawn


def test_meesho(meesho):
    labels = read_format('meesho', meesho.root)
    assert labels.frame.file.tolist()[:2] == ['train_images/000000.jpg', 'train_images/000001.jpg']
    assert labels.frame.split.value_counts().to_dict() == dict(train=100, test=10)
    assert labels.schema['Category'].vocab == tuple(QUESTIONS)
    names = [f'women_tops_tunics_detail_{i}' for i in range(1, 11)]
    assert labels.schema.questions('Category')['Women Tops & Tunics'] == names
    assert len(labels.schema) == 1+sum(map(len, QUESTIONS.values())) == 18
    for (_,category,_,*cells),row in zip(meesho.rows, labels.frame.to_dict('records')):
        own = labels.schema.questions('Category')[category]
        assert [row[name] for name in own] == cells[:len(own)] and row['Category'] == category
        assert not any(row[name] for name in labels.schema.applies if name not in own)


def test_meesho_masks_every_question_outside_its_category(meesho, tmp_path):
    convert('meesho', meesho.root, tmp_path/'labels.csv')
    catalogue = read_catalogue(tmp_path/'labels.csv')
    assert catalogue.schema.applies == read_format('meesho', meesho.root).schema.applies
    categories, answers = pd.DataFrame(meesho.rows)[1], pd.DataFrame(meesho.rows).iloc[:,3:]
    for category,names in catalogue.schema.questions('Category').items():
        for i,name in enumerate(names):
            known = (categories==category) & (answers.iloc[:,i]!='')
            assert ((catalogue.codes[name][:100]>=0)==known).all() and (catalogue.codes[name][100:]==-1).all()
    assert (catalogue.codes['Category']>=0).all()


def test_meesho_without_test_images_and_with_chosen_targets(meesho):
    meesho.remove('test.csv')
    assert 'split' not in read_format('meesho', meesho.root).frame
    chosen = catalogue_from('meesho', meesho.root, one_of=['Category', 'kurtis_fit_shape']).schema
    assert chosen.applies == dict(kurtis_fit_shape=dict(Category=('Kurtis',)))
    assert catalogue_from('meesho', meesho.root, one_of=['sarees_color']).schema.applies is None


@pytest.mark.parametrize('line,text,message', [
    (2, 'x,Men Tshirts,2,black,round,,,,,,,,', ["line 2: 'x': the id must be a whole number"]),
    (3, '0,Sarees,3,,,,,,,,,,', ['line 3: 0 is listed for the second time']),
    (3, '00,Sarees,3,,,,,,,,,,', ['line 3: 0 is listed for the second time']),
    (3, '1,Saree,3,,,,,,,,,,', ["line 3: unknown Category 'Saree'; did you mean Sarees"]),
    (3, '1,Sarees,3,,,,red,,,,,,', ["line 3: attr_4 is 'red', but Sarees has 3 attributes"]),
    (3, '1,Sarees,3', ['line 3: 3 fields, but it must have 13']),
])
def test_meesho_errors(meesho, line, text, message):
    meesho.change('train.csv', line, text)
    fails('meesho', meesho, 'train.csv', *message)


def test_meesho_other_errors(meesho):
    table = pd.read_parquet(meesho.root/'category_attributes.parquet')
    def with_table(*messages, **columns):
        table.assign(**columns).to_parquet(meesho.root/'category_attributes.parquet')
        fails('meesho', meesho, 'category_attributes.parquet', *messages)
    with_table('row 1: Men Tshirts has 2 different attributes in Attribute_list and No_of_attribute 1', No_of_attribute=1)
    with_table('row 3: Sarees is listed for the second time', Category=['Men Tshirts', *['Sarees']*4])
    with_table("two columns would both be called 'sarees_color'", Attribute_list=[*table.Attribute_list[:1], ['border', 'color', 'COLOR'], *table.Attribute_list[2:]])
    table.drop(columns='Attribute_list').to_parquet(meesho.root/'category_attributes.parquet')
    fails('meesho', meesho, 'category_attributes.parquet', 'Attribute_list')
    meesho.remove('category_attributes.parquet')
    fails('meesho', meesho, 'no category_attributes.parquet')
