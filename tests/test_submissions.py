"Submissions: their exact bytes, what is read back, and every refusal, after which nothing is written"
import re, subprocess, sys
import numpy as np, pytest
from fashion_fastai.core.errors import UsageError
from fashion_fastai.evaluation.predictions import Predictions
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of
from fashion_fastai.serving.submissions import SUBMISSIONS, check_submission, label_numbers, read_submission, submission_lines, submission_targets, write_submission

GROUPS = dict(texture=7, sleeve=3, length=3, neckline=4, fabric=6, fit=3)
two = Schema(targets=[any_of('attributes', map(str, range(15))), one_of('category', map(str, range(10))), one_of('color', ['red', 'blue', 'green'])])
six = Schema(targets=[any_of('details', ['belted']), *(one_of(name, [f'{name} {i}' for i in range(n)]) for name,n in GROUPS.items())])
HEADER = 'file_path, category_label'
QUESTIONS = {'Men Tshirts': ['tshirts_color', 'tshirts_neck'], 'Women Tops & Tunics': [f'tops_{i}' for i in range(10)]}
asked = Schema(targets=[one_of('Category', list(QUESTIONS)), *(one_of(name, ['no', 'short sleeves', 'a, b']) for names in QUESTIONS.values() for name in names)],
    applies={name: {'Category': [category]} for category,names in QUESTIONS.items() for name in names})
MEESHO_HEADER = 'id,Category,len,attr_1,attr_2,attr_3,attr_4,attr_5,attr_6,attr_7,attr_8,attr_9,attr_10'
DUMMIES = ','.join(['dummy_value']*8)

def hot(n, rows):
    "Probabilities that are high for the labels of each row"
    probs = np.full((len(rows), n), 0.1, dtype=np.float32)
    for i,labels in enumerate(rows): probs[i, labels] = 0.8
    return probs

@pytest.fixture
def shop():
    return Predictions(two, ['00001.jpg', '00002.jpg', '00003.jpg'],
        dict(attributes=hot(15, [[11,3,10], [], [0]]), category=hot(10, [1,9,0]), color=hot(3, [2,0,1])))

@pytest.fixture
def groups():
    rows = [[5,0,2,1,4,0], [6,2,2,3,5,2]]
    probs = {name: hot(n, [row[i] for row in rows]) for i,(name,n) in enumerate(GROUPS.items())}
    return Predictions(six, ['img/00000.jpg', 'img/00001.jpg'], dict(details=hot(1, [[],[]]), **probs))

@pytest.fixture
def meesho():
    probs = {t.name: hot(t.n_out, [[0], [1]]) for t in asked}
    return Predictions(asked, ['test_images/000000.jpg', 'test_images/000012.jpg'], probs)

def fails(*messages): return pytest.raises(UsageError, match='.*'.join(map(re.escape, messages)))

# exact bytes

def test_category_csv(shop, tmp_path):
    write_submission('category-csv', shop, tmp_path/'c.csv', prefix='deep_fashion/test/')
    assert (tmp_path/'c.csv').read_bytes() == (b'file_path, category_label\n'
        b'deep_fashion/test/00001.jpg,1\ndeep_fashion/test/00002.jpg,9\ndeep_fashion/test/00003.jpg,0\n')
    table = read_submission('category-csv', tmp_path/'c.csv')
    assert table.columns.tolist() == ['file_path', 'category_label']
    assert table.values.tolist() == [[f'deep_fashion/test/0000{i}.jpg', c] for i,c in ((1,1), (2,9), (3,0))]

def test_attribute_csv(shop, tmp_path):
    write_submission('attribute-csv', shop, tmp_path/'a.csv')
    assert (tmp_path/'a.csv').read_bytes() == b'file_path,attribute_label\n00001.jpg,3 10 11\n00002.jpg,\n00003.jpg,0\n'
    table = read_submission('attribute-csv', tmp_path/'a.csv')
    assert table.columns.tolist() == ['file_path', 'attribute_label']
    assert table.attribute_label.tolist() == [[3,10,11], [], [0]]

def test_six_txt(groups, tmp_path):
    write_submission('six-txt', groups, tmp_path/'prediction.txt', files=['img/00000.jpg', 'img/00001.jpg'])
    assert (tmp_path/'prediction.txt').read_bytes() == b'5 0 2 1 4 0\n6 2 2 3 5 2\n'
    assert read_submission('six-txt', tmp_path/'prediction.txt').values.tolist() == [[5,0,2,1,4,0], [6,2,2,3,5,2]]

def test_meesho_csv(meesho, tmp_path):
    meesho.probs['tshirts_neck'][0] = [0.1, 0.2, 0.7]
    write_submission('meesho-csv', meesho, tmp_path/'m.csv', files=meesho.files)
    assert (tmp_path/'m.csv').read_text() == (f'{MEESHO_HEADER}\n0,Men Tshirts,2,no,"a, b",{DUMMIES}\n'
        f'12,Women Tops & Tunics,10,{",".join(["short sleeves"]*10)}\n')
    table = read_submission('meesho-csv', tmp_path/'m.csv')
    assert table.id.tolist() == [0, 12] and table.attr_2.tolist() == ['a, b', 'short sleeves'] and table.attr_10.tolist() == ['dummy_value', 'short sleeves']

def test_meesho_csv_with_the_given_categories(meesho, tmp_path):
    write_submission('meesho-csv', meesho, tmp_path/'m.csv', categories=['Men Tshirts', 'Men Tshirts'])
    assert (tmp_path/'m.csv').read_text().splitlines()[2] == f'12,Men Tshirts,2,short sleeves,short sleeves,{DUMMIES}'
    with fails("test_images/000012.jpg: unknown Category 'Men Tshirt'; did you mean Men Tshirts"): submission_lines('meesho-csv', meesho, categories=['Men Tshirts', 'Men Tshirt'])

def test_results_leave_out_questions_of_other_categories(meesho):
    table = meesho.results()
    assert table.tshirts_color.tolist() == ['no', 'n/a'] and table.tops_9.tolist() == ['n/a', 'short sleeves']
    assert table.tops_9_probability.tolist() == ['', '0.8000'] and table.Category.tolist() == list(QUESTIONS)

def test_a_name_with_a_comma_comes_back(shop, tmp_path):
    shop.files[:] = ['red, long.jpg', '"best".jpg', ' größe.jpg']
    write_submission('category-csv', shop, tmp_path/'c.csv', files=list(shop.files))
    assert (tmp_path/'c.csv').read_bytes().split(b'\n')[1] == b'"red, long.jpg",1'
    assert read_submission('category-csv', tmp_path/'c.csv').file_path.tolist() == shop.files

# which labels, which targets

def test_thresholds(shop):
    shop.probs['attributes'][1,[4,7]] = 0.4,0.45
    each = np.full(15, 0.5)
    each[4] = 0.3
    assert submission_lines('attribute-csv', shop, {'attributes': 0.35})[2] == '00002.jpg,4 7'
    assert submission_lines('attribute-csv', shop, {'attributes': each})[2] == '00002.jpg,4'
    assert submission_lines('attribute-csv', shop)[2] == '00002.jpg,'
    with pytest.raises(UsageError, match='category is one_of'): submission_lines('attribute-csv', shop, {'category': 0.35})

def test_a_chosen_target(shop, tmp_path):
    write_submission('category-csv', shop, tmp_path/'c.csv', target='color')
    assert read_submission('category-csv', tmp_path/'c.csv').category_label.tolist() == [2,0,1] # positions

def test_numbers_of_labels():
    assert label_numbers(one_of('category', ['10', '2', '-1'])) == [10,2,-1]
    assert label_numbers(one_of('size', ['10', '2', 'XL'])) == [0,1,2]
    with fails('category', "'01'"): label_numbers(one_of('category', ['1', '01']))

def test_attributes_rise_by_number_whatever_the_order_of_the_vocabulary():
    schema = Schema(targets=[any_of('attributes', ['10', '9', '2'])])
    assert submission_lines('attribute-csv', Predictions(schema, ['a.jpg'], dict(attributes=hot(3, [[0,1,2]]))))[1] == 'a.jpg,2 9 10'

@pytest.mark.parametrize('name,schema,target,messages', [
    ('six-txt', two, None, ['six-txt needs 6 one_of targets', 'attributes (any_of), category (one_of), color (one_of)']),
    ('six-txt', six, 'fit', ['six-txt needs 6 one_of targets, not fit']),
    ('category-csv', Schema(targets=[any_of('attributes', 'ab')]), None, ['category-csv needs 1 one_of target;', 'attributes (any_of)']),
    ('category-csv', two, 'attributes', ['needs 1 one_of target, not attributes']),
    ('attribute-csv', two, 'atributes', ["unknown target 'atributes'; did you mean attributes?"]),
    ('meesho-csv', two, None, ['meesho-csv needs a run on the Meesho challenge (--format meesho)']),
    ('meesho-csv', Schema(targets=asked.targets, applies={name: {'Category': ['Men Tshirts']} for names in QUESTIONS.values() for name in names}), None, ['meesho-csv needs a run on the Meesho challenge']),
    ('meesho-csv', Schema(targets=asked.targets, applies=dict(tshirts_color={'Category': ['Men Tshirts']})), None, ['meesho-csv needs a run on the Meesho challenge']),
    ('meesho-csv', asked, 'tops_1', ['has the answers to all questions, not only to tops_1']),
    ('category.csv', two, None, ["unknown submission 'category.csv'; did you mean category-csv"]),
])
def test_targets_that_do_not_fit(name, schema, target, messages):
    with fails(*messages): submission_targets(name, schema, target)

# what is not written

@pytest.fixture
def refused(tmp_path):
    "Writing fails, and what stood there still stands"
    path = tmp_path/'old.csv'
    path.write_text('old')
    def check(*messages, name='category-csv', **kwargs):
        with fails(*messages): write_submission(name, kwargs.pop('predictions'), path, **kwargs)
        assert path.read_text()=='old' and [o.name for o in tmp_path.iterdir()]==['old.csv']
    return check

def test_an_image_without_a_prediction(shop, refused):
    shop.probs['category'][1:] = np.nan
    refused('2 of 3 images have no prediction', '00002.jpg: could not be read', '00003.jpg', predictions=shop)
    refused('00002.jpg: no such file', '00003.jpg: is not an image', predictions=shop, bad={1: 'no such file', 2: 'is not an image'})
    assert len(submission_lines('attribute-csv', shop)) == 4 # the other target has answers

def test_one_of_six_without_a_prediction(groups, refused):
    groups.probs['fit'][0] = np.nan
    refused('six-txt must be complete', 'img/00000.jpg', name='six-txt', predictions=groups)

@pytest.mark.parametrize('files,messages', [
    (['00001.jpg', '00003.jpg', '00002.jpg'], ['line 3: it is about 00002.jpg, but it must be about 00003.jpg']),
    (['00001.jpg', '00002.jpg'], ['line 4: 00003.jpg is not in the given list']),
    (['00001.jpg', '00002.jpg', '00003.jpg', '00004.jpg'], ['00004.jpg is missing']),
    (['test/00001.jpg', '00002.jpg', '00003.jpg'], ['line 2: 00001.jpg is not in the given list']),
    (['00001.jpg', '00002.jpg', '00002.jpg'], ['entry 3: 00002.jpg is listed for the second time']),
    ([], ['line 2: 00001.jpg is not in the given list']),
])
def test_other_files(shop, refused, files, messages): refused(*messages, predictions=shop, files=files)

def test_six_txt_in_another_order(groups, refused):
    refused('line 1: it is about img/00000.jpg', name='six-txt', predictions=groups, files=['img/00001.jpg', 'img/00000.jpg'])

@pytest.mark.parametrize('name', SUBMISSIONS)
def test_a_repeated_image(shop, groups, meesho, refused, name):
    predictions = {'six-txt': groups, 'meesho-csv': meesho}.get(name, shop)
    predictions.files[1] = predictions.files[0]
    refused('image 2', predictions.files[0], name=name, predictions=predictions)

def test_meesho_images_that_have_no_id(meesho, refused):
    refused('a prefix (test/) does not go with it', name='meesho-csv', predictions=meesho, prefix='test/')
    meesho.files[1] = 'test_images/shirt.jpg'
    refused('test_images/shirt.jpg: the name of the image must be its id', name='meesho-csv', predictions=meesho)
    meesho.files[1] = 'train_images/0.jpg'
    refused('image 2 (train_images/0.jpg): the id 0 is listed for the second time', name='meesho-csv', predictions=meesho)

def test_names_that_break_a_line(shop, refused):
    shop.files[2] = 'a\nb.jpg'
    refused('cannot be named on one line', predictions=shop)

def test_no_images(refused):
    refused('it has no rows', predictions=Predictions(two, [], {o.name: np.zeros((0, o.n_out), dtype=np.float32) for o in two}))

# what is not read

ROWS = {
    'category-csv': (HEADER, 'a.jpg,1', 'b.jpg,9'),
    'attribute-csv': ('file_path,attribute_label', 'a.jpg,3 10 11', 'b.jpg,'),
    'six-txt': ('5 0 2 1 4 0', '6 2 2 3 5 2'),
    'meesho-csv': (MEESHO_HEADER, f'0,Men Tshirts,2,no,short sleeves,{DUMMIES}', f'12,Men Tshirts,2,no,"a, b",{DUMMIES}'),
}
SCHEMAS = {'category-csv': two, 'attribute-csv': two, 'six-txt': six, 'meesho-csv': asked}

@pytest.mark.parametrize('name', SUBMISSIONS)
def test_right_files_pass(name, tmp_path):
    (tmp_path/'s').write_bytes(('\n'.join(ROWS[name])+'\n').encode())
    files = ['0.jpg', '000012.jpg'] if name=='meesho-csv' else ['a.jpg', 'b.jpg']
    for given in (ROWS[name], tmp_path/'s', str(tmp_path/'s')): check_submission(name, given, SCHEMAS[name], files)
    assert len(read_submission(name, tmp_path/'s')) == 2

@pytest.mark.parametrize('name,line,text,messages', [
    ('category-csv', 1, 'file_path,category_label', ["line 1 is 'file_path,category_label'; it must be 'file_path, category_label'"]),
    ('attribute-csv', 1, 'file_path, attribute_label', ["it must be 'file_path,attribute_label'"]),
    ('category-csv', 2, 'a.jpg, 1', ["line 2 is 'a.jpg, 1'; it must be like 'deep_fashion/test/00001.jpg,1'"]),
    ('category-csv', 2, 'a.jpg,', ['line 2']),
    ('category-csv', 2, 'a.jpg,1 2', ['line 2']),
    ('category-csv', 3, 'b.jpg,1.0', ['line 3']),
    ('category-csv', 3, 'b.jpg,dress', ['line 3']),
    ('category-csv', 3, 'b.jpg,1,2', ['line 3']),
    ('category-csv', 3, ',1', ['line 3']),
    ('category-csv', 3, '', ['line 3']),
    ('category-csv', 3, 'b.jpg,1\r', ['line 3']),
    ('attribute-csv', 2, 'a.jpg,3  10', ['line 2']),
    ('attribute-csv', 2, 'a.jpg,3 10 ', ['line 2']),
    ('attribute-csv', 3, 'b.jpg', ['line 3']),
    ('six-txt', 1, '5 0 2 1 4', ["line 1 is '5 0 2 1 4'; it must be like '5 0 2 1 4 0'"]),
    ('six-txt', 1, '5 0 2 1 4 0 1', ['line 1']),
    ('six-txt', 2, '5,0,2,1,4,0', ['line 2']),
    ('six-txt', 2, '5 0 2  1 4 0', ['line 2']),
    ('meesho-csv', 1, 'id,Category,attr_1', ["line 1 is 'id,Category,attr_1'; it must be 'id,Category,len,attr_1,"]),
    ('meesho-csv', 2, '0,Men Tshirts,2,no,no', ["line 2 is '0,Men Tshirts,2,no,no'; it must have 13 cells"]),
    ('meesho-csv', 3, f'x,Men Tshirts,2,no,no,{DUMMIES}', ['line 3', 'whole numbers as id and len']),
    ('meesho-csv', 3, '"', ['line 3']),
])
def test_a_wrong_line(name, line, text, messages, tmp_path):
    lines = list(ROWS[name])
    lines[line-1] = text
    path = tmp_path/'wrong.csv'
    path.write_bytes(('\n'.join(lines)+'\n').encode())
    with fails(str(path), *messages): read_submission(name, path)
    with fails(name, *messages): check_submission(name, lines, SCHEMAS[name])

@pytest.mark.parametrize('name,line,text,message', [
    ('category-csv', 2, 'a.jpg,10', 'line 2: 10 is no label of category; its 10 labels are between 0 and 9'),
    ('category-csv', 3, 'a.jpg,1', 'line 3: a.jpg is listed for the second time'),
    ('attribute-csv', 2, 'a.jpg,3 15', 'line 2: 15 is no label of attributes'),
    ('attribute-csv', 2, 'a.jpg,3 -1', 'line 2: -1 is no label of attributes'),
    ('attribute-csv', 2, 'a.jpg,3 3', 'line 2: a label is repeated'),
    ('six-txt', 2, '0 3 0 0 0 0', 'line 2: 3 is no label of sleeve; its 3 labels are between 0 and 2'),
    ('meesho-csv', 2, f'0,Men Tshirts,2,no,short,{DUMMIES}', "line 2: unknown attr_2 'short'; did you mean short sleeves"),
    ('meesho-csv', 2, f'0,Men Tshirts,3,no,no,{DUMMIES}', 'line 2: len is 3, but Men Tshirts has 2 attributes'),
    ('meesho-csv', 2, f'0,Men Tshirts,2,no,no,no{DUMMIES[11:]}', "line 2: unknown attr_3 'no'"),
    ('meesho-csv', 2, f'0,Shoes,2,no,no,{DUMMIES}', "line 2: unknown Category 'Shoes'"),
    ('meesho-csv', 3, f'0,Men Tshirts,2,no,no,{DUMMIES}', 'line 3: 0 is listed for the second time'),
])
def test_labels_that_do_not_exist(name, line, text, message):
    lines = list(ROWS[name])
    lines[line-1] = text
    with fails(message): check_submission(name, lines, SCHEMAS[name])

def test_too_few_rows():
    with fails('six-txt: 2 rows for 3 images'): check_submission('six-txt', ROWS['six-txt'], six, ['a.jpg', 'b.jpg', 'c.jpg'])
    with fails('c.jpg is missing'): check_submission('category-csv', ROWS['category-csv'], two, ['a.jpg', 'b.jpg', 'c.jpg'])

def test_files_that_are_none(tmp_path):
    with fails('no such file'): read_submission('six-txt', tmp_path/'absent.txt')
    (tmp_path/'empty').write_bytes(b'')
    (tmp_path/'cut').write_bytes(b'5 0 2 1 4 0\n6 2 2')
    (tmp_path/'latin').write_bytes(b'file_path, category_label\n\xe9.jpg,1\n')
    with fails('it has no rows'): read_submission('six-txt', tmp_path/'empty')
    with fails('line 1 is'): read_submission('category-csv', tmp_path/'empty')
    with fails("its last line '6 2 2' does not end"): read_submission('six-txt', tmp_path/'cut')
    with fails('cannot be read as text'): read_submission('category-csv', tmp_path/'latin')
    with fails('cannot be read as text'): read_submission('category-csv', tmp_path)

def test_knows_no_torch():
    code = "import sys, fashion_fastai.serving.submissions; print([o for o in ('torch','fastai','timm') if o in sys.modules])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout=='[]\n'
