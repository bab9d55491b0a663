"""Whatever bytes come, a reader answers with what it read or with `UsageError` (`BadImage` for an image), in bounded time

A few seconds in `make test`; FUZZ_SECONDS=600 is the time for each reader in the slow test, in seconds of a core. What was found is kept in fuzz_found.json and read again each time."""
import base64, gzip, io, json, os, time, warnings, zipfile, zlib
from pathlib import Path
import numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq, pytest, yaml
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st
from PIL import Image
from safetensors.numpy import save as tensors
from fashion_fastai.config import make_config, read_recipe
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.data.formats.products import PRODUCT_COLS
from fashion_fastai.data.formats.registry import catalogue_from
from fashion_fastai.data.images import BadImage, ImageReader
from fashion_fastai.core.errors import UsageError
from fashion_fastai.core.files import read_json, read_text
from fashion_fastai.evaluation.calibration import Calibration, read_calibration
from fashion_fastai.evaluation.consistency import PairCounts
from fashion_fastai.evaluation.predictions import Predictions, read_predictions
from fashion_fastai.run import open_run
from fashion_fastai.schema import Schema, read_schema
from fashion_fastai.target import any_of, one_of
from fashion_fastai.serving.inputs import find_image_files
from fashion_fastai.serving.meesho import HEADER as MEESHO_HEADER
from fashion_fastai.serving.onnx_runtime import OnnxMetadata, read_metadata
from fashion_fastai.serving.submissions import check_submission, label_numbers, read_submission

FOUND = Path(__file__).parent/'helpers'/'fuzz_found.json'
SCHEMA = Schema(targets=[one_of('category', ['dress', 'shirt']), any_of('attributes', ['belted', 'striped'])])

# ---- valid sets: for each reader its files, and how they are read

def image(fmt, mode='RGB', size=(12,9), frames=1, **kwargs):
    rng,file = np.random.default_rng(0),io.BytesIO()
    made = [Image.fromarray(rng.integers(0, 255, (size[1], size[0], 4), dtype=np.uint8), 'RGBA').convert(mode) for _ in range(frames)]
    if frames>1: kwargs |= dict(save_all=True, append_images=made[1:])
    made[0].save(file, fmt, **kwargs)
    return file.getvalue()

def exif():
    fields = Image.Exif()
    fields[0x0112],fields[0x010F] = 6,'maker'
    return fields

def images():
    deep = io.BytesIO()
    Image.fromarray(np.arange(108, dtype=np.uint16).reshape(9,12)*600).save(deep, 'PNG')
    return {'a.jpg': image('JPEG', exif=exif(), icc_profile=b'icc'*50), 'b.jpg': image('JPEG', progressive=True), 'c.jpg': image('JPEG', 'CMYK'), 'd.jpg': image('MPO', frames=2),
        'a.png': image('PNG', exif=exif(), icc_profile=b'icc'*50), 'b.png': image('PNG', 'P', transparency=3), 'c.png': image('PNG', 'RGBA', frames=3), 'd.png': deep.getvalue(),
        'a.gif': image('GIF', 'P', frames=3, comment=b'shirt'), 'a.webp': image('WEBP'), 'b.webp': image('WEBP', 'RGBA', lossless=True, exif=exif()), 'c.webp': image('WEBP', frames=3),
        'a.bmp': image('BMP'), 'b.bmp': image('BMP', 'P'), 'a.tif': image('TIFF'), 'b.tif': image('TIFF', 'P', compression='tiff_lzw'), 'c.tif': image('TIFF', compression='jpeg'),
        'd.tif': image('TIFF', 'CMYK', compression='tiff_adobe_deflate', frames=2), 'e.tif': image('TIFF', '1', compression='group4'), 'f.tif': image('TIFF', 'F'), 'a.avif': image('AVIF')}

def lines(*rows): return ('\n'.join(rows)+'\n').encode()
def parquet(table):
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()
def arrow(table):
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as out: out.write_table(table)
    return file.getvalue()

DOT = image('PNG', size=(4,4))
TABLE = dict(file=['1.png', '2.png', '1.png'], category=['dress', 'shirt', ''], attributes=['belted', '?', 'striped ?belted'], split=['train', 'train', 'valid'], x1=['0', '', '1'], y1=['0', '', '1'],
    x2=['3', '', '4'], y2=['3', '', '4'])

def excel():
    file = io.BytesIO()
    pd.DataFrame(TABLE).to_excel(file, index=False)
    return file.getvalue()

def hub():
    features = dict(image=dict(_type='Image'), label=dict(names=['dress', 'shirt'], _type='ClassLabel'))
    kinds = [('image', pa.struct([('bytes', pa.binary()), ('path', pa.string())])), ('label', pa.int64()), ('tags', pa.list_(pa.string()))]
    rows = dict(image=[dict(bytes=DOT, path='1.png'), dict(bytes=None, path='2.png')], label=[0, -1], tags=[['a', 'b'], []])
    return pa.table(rows, schema=pa.schema(kinds, metadata={'huggingface': json.dumps(dict(info=dict(features=features)))}))

def written(thing, name, folder):
    thing.write(folder/name)
    return (folder/name).read_bytes()

def a_run():
    from fashion_fastai.models.network import create_network
    config = make_config('two-head', dict(model=dict(arch='test_resnet', weights='none', args=dict(drop_path_rate=0.1), heads={'*': dict(kind='mlp', sizes=[8])}), image=dict(size=32, mean=(0.5,)*3, std=(0.5,)*3)))
    network = create_network(SCHEMA, 'test_resnet', 32, 'none', config.model.heads)
    return {'config.yaml': config.to_yaml().encode(), 'schema.json': SCHEMA.to_json().encode(), 'model.safetensors': tensors({k: v.numpy() for k,v in network.state_dict().items()})}

def load_run(folder):
    from fashion_fastai.models.network import load_network
    load_network(open_run(folder))

def load_weights(folder):
    from fashion_fastai.models.weights import find_weights, load_model
    load_model('test_resnet', find_weights('test_resnet', folder/'weights.safetensors'))

def weights():
    import timm
    return {'weights.safetensors': tensors({k: v.numpy() for k,v in timm.create_model('test_resnet', num_classes=0).state_dict().items()})}

def of_format(name, **options): return lambda folder: catalogue_from(name, folder, **options)
def read_rows(folder):
    for o in ('labels.csv', 'labels.parquet', 'labels.jsonl', 'labels.xlsx', 'labels.csv.gz'):
        for work in (lambda: read_catalogue(folder/o, on_bad='skip').decode(ImageReader(16), on_bad='skip'), lambda: find_image_files(folder/o, split='train')):
            try: work()
            except UsageError: pass

ASKED = Schema(targets=[one_of('Category', ['Tshirts', 'Sarees']), one_of('color', ['red', 'blue']), any_of('details', ['lace', 'silk'], label_groups=dict(lace='part')), one_of('border', ['no'])],
    applies=dict(color=dict(Category=['Tshirts']), border=dict(Category=['Sarees'])))
NUMBERED = Schema(targets=[one_of('category', ['3', '7', '12']), any_of('attributes', ['1', '4'])])

def read_numbers(folder):
    for o in read_schema(folder/'schema.json'): label_numbers(o)

def read_submissions(folder):
    for name,file in (('category-csv', 'category.csv'), ('attribute-csv', 'attribute.csv'), ('six-txt', 'six.txt')):
        read_submission(name, folder/file)
        if name!='six-txt': check_submission(name, folder/file, NUMBERED)
    read_submission('meesho-csv', folder/'meesho.csv')
    check_submission('meesho-csv', folder/'meesho.csv', ASKED, ['0.png', '12.png'])

def onnx_facts():
    facts = OnnxMetadata(input='pixels', outputs=dict(category='category', attributes='attributes'), schema=SCHEMA, image=dict(size=32), thresholds=dict(attributes=dict(belted=0.3, striped=0.5)), temperatures=dict(category=1.5))
    return {'facts.json': facts.to_json().encode()}

def readers(folder):
    "For each reader its files and the function that reads them"
    dots,six = {'1.png': DOT, '2.png': DOT},['floral 1', 'solid 1', 'long 2', 'mini 3', 'v_neck 4', 'denim 5', 'tight 6', 'loose 6']
    counts = PairCounts(*SCHEMA.targets, np.array([3,2]), np.array([[3,2],[2,2]]), np.array([[1,0],[0,2]]))
    calibration = Calibration(SCHEMA, {'category': 1.5}, {'attributes': np.array([.3,.6])}, {})
    predictions = Predictions(SCHEMA, ['1.png', '2.png'], {o.name: np.full((2,2), .5, np.float32) for o in SCHEMA}, {'category': np.array([0,-1]), 'attributes': np.array([[1,0],[-1,0]], np.int8)})
    names = ['img/a/1.png', 'img/a/2.png', 'img/b/1.png']
    return {
    'images': (images(), None),
    'table': (dots|{'labels.csv': pd.DataFrame(TABLE).to_csv(index=False).encode(), 'labels.parquet': parquet(pa.table(TABLE)), 'labels.xlsx': excel(),
        'labels.jsonl': pd.DataFrame(TABLE).assign(tags=[['a', 'b'], [], None]).to_json(orient='records', lines=True).encode(),
        'labels.csv.gz': gzip.compress(pd.DataFrame(TABLE).to_csv(index=False, sep='|').encode(), mtime=0)}, read_rows),
    'deepfashion': (dict.fromkeys(names, DOT)|{'Anno/list_category_cloth.txt': lines('2', 'category_name category_type', 'Hot pants 1', 'Romper 3'),
        'Anno/list_attr_cloth.txt': lines('3', 'attribute_name attribute_type', 'pleated 3', 'abstract print 1', 'denim 2'),
        'Anno/list_category_img.txt': lines('3', 'image_name category_label', *(f'{o}  {i}' for o,i in zip(names, (1,1,2)))),
        'Anno/list_attr_img.txt': lines('3', 'image_name attribute_labels', *(f'{o}  1 -1  0' for o in names)),
        'Anno/list_bbox.txt': lines('3', 'image_name x_1 y_1 x_2 y_2', *(f'{o} 0 1 3 4' for o in names)),
        'Eval/list_eval_partition.txt': lines('3', 'image_name evaluation_status', *(f'{o} {p}' for o,p in zip(names, ('train', 'val', 'test'))))}, of_format('deepfashion')),
    'deepfashion-six': ({'img/0.png': DOT, 'img/1.png': DOT, 'split/list_attr_cloth.txt': lines('8', 'attribute_name attribute_type', *six), 'split/train.txt': lines('img/0.png', 'img/1.png'),
        'split/train_attr.txt': lines('0 0 0 0 0 1', '1 0 0 0 0 0'), 'split/train_bbox.txt': lines('1 2 3 4', '0 0 3 4'), 'split/train_landmards.txt': lines(' '.join('1'*16), ' '.join('0'*16))}, of_format('deepfashion-six')),
    'two-csv': (dots|{'train_category.csv': lines('file_path, category_label', '1.png,1', '2.png,0'), 'train_attribute.csv': lines('file_path,attribute_label', '2.png,', '1.png,3 10 11'), 'test.csv': lines('file_path', '3.png')}, of_format('two-csv', on_bad='skip')),
    'folders': ({'train/dress/1.png': DOT, 'train/shirt/2.png': DOT, 'val/dress/3.png': DOT}, of_format('folders')),
    'list-column': (dots|{'train.csv': lines('Image,Category', '1.png,"Ankle boots, Dress"', '2.png,Dress')}, of_format('list-column')),
    'products': ({'images/1.jpg': DOT, 'images/2.jpg': DOT, 'styles.csv': lines(','.join(PRODUCT_COLS), '1,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Check, Slim', '2,Men,Apparel,Topwear,Shirts,NA,Fall,2011,Casual,x')}, of_format('products')),
    'meesho': ({'train_images/000000.jpg': DOT, 'train_images/000012.jpg': DOT, 'test_images/000001.jpg': DOT, 'test.csv': lines('id,Category', '1,Sarees'), 'train.csv': lines('id,Category,len,attr_1,attr_2', '0,Men Tshirts,2,black,polo', '12,Sarees,1,no border,'),
        'category_attributes.parquet': parquet(pa.table(dict(Category=['Men Tshirts', 'Sarees'], No_of_attribute=[2, 1], Attribute_list=[['color', 'neck'], ['border']])))}, of_format('meesho')),
    'hf': ({'2.png': DOT, 'train-00000-of-00001.parquet': parquet(hub())}, lambda o: catalogue_from('hf', o, images=folder/'kept', on_bad='skip')),
    'hf-arrow': ({'dataset_dict.json': b'{"splits": ["train", "validation"]}', **{f'{part}/{k}': v for part in ('train', 'validation') for k,v in {'2.png': DOT, 'state.json': b'{"_data_files": [{"filename": "data.arrow"}]}', 'data.arrow': arrow(hub())}.items()}},
        lambda o: catalogue_from('hf', o, images=folder/'kept', on_bad='skip')),
    'schema': ({'schema.json': ASKED.to_json().encode()}, lambda o: read_schema(o/'schema.json')),
    'recipe': ({'mine.yaml': yaml.safe_dump(read_recipe('hierarchy-resnet34').model_dump()).encode()}, lambda o: make_config(str(o/'mine.yaml'))),
    'calibration': ({'calibration.json': written(calibration, 'c.json', folder)}, lambda o: read_calibration(o/'calibration.json', SCHEMA)),
    'pairs': ({'co_occurrence.json': json.dumps(counts.to_dict()).encode()}, lambda o: PairCounts.from_dict(read_json(o/'co_occurrence.json'), SCHEMA, 'co_occurrence.json')),
    'predictions': ({'valid.parquet': written(predictions, 'p.parquet', folder)}, lambda o: read_predictions(o/'valid.parquet').metrics('valid')),
    'label-numbers': ({'schema.json': NUMBERED.to_json().encode()}, read_numbers), 'onnx-facts': (onnx_facts(), lambda o: read_metadata(read_text(o/'facts.json'), 'shop.onnx')),
    'submissions': ({'category.csv': lines('file_path, category_label', '1.png,3', '2.png,7'), 'attribute.csv': lines('file_path,attribute_label', '1.png,1 4', '2.png,'), 'six.txt': lines('6 2 2 3 5 2', '0 0 0 0 0 0'),
        'meesho.csv': lines(MEESHO_HEADER, *(','.join([row, *['dummy_value']*9]) for row in ('0,Tshirts,1,red', '12,Sarees,1,no')))}, read_submissions),
    'run': (a_run(), load_run), 'weights': (weights(), load_weights)}

NAMES = 'images table deepfashion deepfashion-six two-csv folders list-column products meesho hf hf-arrow schema recipe calibration pairs predictions label-numbers onnx-facts submissions run weights'.split()

# ---- what is done to them

TOKENS = [b',', b'\n', b'\r', b'"', b"'", b'\x00', b'\xff', b'\xff\xfe', b'\xef\xbb\xbf', b'\xed\xa0\x80', '٣'.encode(), '\u2028'.encode(), '👗'.encode(), b'../', b'/', b'\\', b'.png', b'-1', b'0', b'9'*30, b'9'*5000, b'1e309',
    b'nan', b'?', b' ', b'\t', b'[', b'{', b'}', b':', b': ', b'- ', b'&a ', b'*a', b'<<: ', b'!!python/name:os.system ', b'!!bool ', b'~', b'null', b'true', b'2020-99-99', b'0x'+b'f'*5000, b'a'*5000, b'train', b'category', b'file', b'[['*600,
    b'\xff\xd8', b'\xff\xda', b'\x00\x00\x00\x00', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'\xff\xff\xff\x7f', b'IEND', b'PAR1', b'ARROW1']
VALUES = [None, True, 0, -1, 1.5, 2**31, 2**63, 10**30, 16**5000, 1e308, float('inf'), float('nan'), '', ' ', '?', '\x00', '../x', '/etc/passwd', 'a'*300, '👗', '\x1b[2J', [], {}, [[]], {'a': {}}, ['dress', 'dress'], {1: 2}, [None], [1e308], 'category', 'none', 'mlp', 64, 0.1]
COLUMNS = [pa.array([None, None]), pa.array([1, 2], pa.int8()), pa.array([2**63, 1], pa.uint64()), pa.array([0.5, None]), pa.array([float('nan'), float('inf')]), pa.array(['1.png', '../2.png']), pa.array(['', None]), pa.array([b'\xff', DOT]),
    pa.array([['a', 'b'], None]), pa.array([[], [None]], pa.list_(pa.string())), pa.array([[[1]], []]), pa.array([{'bytes': DOT, 'path': '../x'}, None]), pa.array([{'bytes': 'text', 'path': 3}, {'bytes': None, 'path': None}]), pa.array([True, None]),
    pa.array(['a', 'b']).dictionary_encode(), pa.array([1, 2], pa.timestamp('ns')), pa.array([1, 2], pa.duration('s')), pa.array([1, 2], pa.date32()), pa.array([[.5,.5],[.5,.5]], pa.list_(pa.float32(), 2)), pa.array([[.5]]*2, pa.list_(pa.float32(), 1)),
    pa.array([[1,0],None], pa.list_(pa.int8(), 2)), pa.array([[9,-9],[1,1]], pa.list_(pa.int64(), 2)), pa.array([None, 1], pa.decimal128(30, 2)), pa.array([10**20, 1], pa.decimal256(60)), pa.array([99, -99]), pa.array(['👗', '\x00'], pa.large_string()),
    pa.array([[('k', 1)], []], pa.map_(pa.string(), pa.int64()))]

def bytes_changed(data, draw):
    "`data` with one thing done to it"
    at,length = draw(st.integers(0, max(0, len(data)-1))),draw(st.sampled_from([1, 1, 2, 4, 16, 100, 1000]))
    how = draw(st.sampled_from(['set', 'insert', 'token', 'token', 'over', 'cut', 'end', 'again', 'move']))
    part = data[at:at+length]
    if how=='set': return data[:at]+draw(st.binary(min_size=1, max_size=4))+data[at+1:]
    if how=='insert': return data[:at]+draw(st.binary(min_size=1, max_size=8))+data[at:]
    if how=='token': return data[:at]+draw(st.sampled_from(TOKENS))+data[at:]
    if how=='over': return data[:at]+(token := draw(st.sampled_from(TOKENS)))+data[at+len(token):]
    if how=='cut': return data[:at]+data[at+length:]
    if how=='end': return data[:at]
    if how=='again': return data[:at]+part*draw(st.sampled_from([2, 3, 200]))+data[at+length:]
    to = draw(st.integers(0, len(data)))
    return data[:to]+part+data[to:]

def places(tree, path=()):
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for k,v in inner: yield from places(v, (*path, k))

def tree_changed(tree, draw):
    "`tree` with a value put in the place of another, taken away or added"
    path = draw(st.sampled_from(list(places(tree))))
    if not path: return draw(st.sampled_from(VALUES))
    at = tree
    for k in path[:-1]: at = at[k]
    how = draw(st.sampled_from(['put', 'put', 'put', 'remove', 'add']))
    if how=='put': at[path[-1]] = draw(st.sampled_from(VALUES))
    elif how=='remove': del at[path[-1]]
    elif isinstance(at, dict): at[draw(st.sampled_from(['x', '', 'kind', 'sizes', 'dropout', 'pretrained', 'depth', 'img_size', 'block_size', 'layers']))] = draw(st.sampled_from(VALUES))
    else: at.append(draw(st.sampled_from(VALUES)))
    return tree

def changed(name, data, draw):
    "The content of a file, damaged in its bytes or in its sense"
    if not draw(st.booleans()):
        if name.endswith('.json'): return json_of(tree_changed(json.loads(data), draw))
        if name.endswith('.yaml'): return yaml_of(tree_changed(yaml.safe_load(data), draw))
        if name.endswith(('.parquet', '.arrow')): return columns_changed(name, data, draw)
        if name.endswith('.safetensors'): return header_changed(data, draw)
        if name.endswith('.gz'): return gzip.compress(bytes_changed(gzip.decompress(data), draw), mtime=0)
        if name.endswith('.xlsx'): return workbook_changed(data, draw)
    for _ in range(draw(st.integers(1, 4))): data = bytes_changed(data, draw)
    return data

def json_of(tree):
    try: return json.dumps(tree).encode()
    except (ValueError, TypeError): return b'['+b'9'*5000+b']' # Python writes no number of so many digits

def yaml_of(tree):
    try: return yaml.safe_dump(tree).encode()
    except ValueError: return b'a: 0x'+b'f'*5000

def header_changed(data, draw):
    n = int.from_bytes(data[:8], 'little')
    tree = tree_changed(json.loads(data[8:8+n]), draw)
    head = json_of(tree)
    return len(head).to_bytes(8, 'little')+head+data[8+n:]

def workbook_changed(data, draw):
    "A workbook with one of its files damaged"
    with zipfile.ZipFile(io.BytesIO(data)) as archive: files = {name: archive.read(name) for name in archive.namelist()}
    damaged = draw(st.sampled_from([name for name in files if 'docProps' not in name and 'theme' not in name]))
    for _ in range(draw(st.integers(1, 4))): files[damaged] = bytes_changed(files[damaged], draw)
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name,content in files.items(): archive.writestr(name, content)
    return out.getvalue()

def columns_changed(name, data, draw):
    table = pq.read_table(io.BytesIO(data)) if name.endswith('.parquet') else pa.ipc.open_stream(data).read_all()
    table = table.slice(0, 2)
    columns = dict(zip(table.column_names, table.columns))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from([*columns, 'file', 'split', 'x1', 'image', 'category/truth', '']))
        if draw(st.booleans()) or at not in columns: columns[at] = draw(st.sampled_from(COLUMNS))
        elif len(columns)>1: del columns[at]
    rows = draw(st.sampled_from([0, 1, 2]))
    made = pa.table({k: v.slice(0, rows) for k,v in columns.items()})
    about = dict(table.schema.metadata or {})
    for k,v in about.items():
        if draw(st.booleans()): about[k] = changed('m.json', v, draw) if v[:1] in b'{[' else bytes_changed(v, draw)
    try: return (parquet if name.endswith('.parquet') else arrow)(made.replace_schema_metadata(about))
    except (pa.ArrowException, ValueError): return b''

# ---- the test

@pytest.fixture(scope='module')
def sets(tmp_path_factory): return readers(tmp_path_factory.mktemp('sets'))

def put(files, folder):
    for name,data in files.items():
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/name).write_bytes(data)

def try_reading(read, folder, damaged):
    "Read; anything but the documented errors goes through, and so does a reading of more than ten seconds"
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            if read: read(folder)
            for i,data in enumerate(damaged.values() if not read else ()): ImageReader(32, ('pad', 'squash', 'crop')[i%3]).read(data, None if i%2 else (1, 2, 6, 7))
        except (UsageError, BadImage) as e: assert len(str(e))<3000, f'a message of {len(str(e))} characters: {str(e)[:300]}'
    assert time.process_time()-started<10, 'takes too long'

def fuzz(name, sets, folder, examples, number):
    files,read = sets[name]
    put(files, folder)
    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), report_multiple_bugs=False, print_blob=False)
    @given(st.data())
    def one(data):
        target = data.draw(st.sampled_from([o for o in files if files[o] is not DOT] or list(files)))
        damaged = {target: changed(target, files[target], data.draw)}
        try:
            put(damaged, folder)
            try_reading(read, folder, damaged)
        except BaseException as e:
            if keep := os.environ.get('FUZZ_KEEP'): Path(keep).write_text(json.dumps({'reader': name, 'error': f'{type(e).__name__}: {e}'[:300], 'files': packed(damaged)}))
            raise
        finally: put({target: files[target]}, folder)
    one()

def packed(files): return {k: base64.b64encode(zlib.compress(v, 9)).decode() for k,v in files.items()}
def unpacked(files): return {k: zlib.decompress(base64.b64decode(v)) for k,v in files.items()}

@pytest.mark.parametrize('name', NAMES)
def test_a_little(name, sets, tmp_path): fuzz(name, sets, tmp_path, 15 if name in ('run', 'weights') else 60, 42)

@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_long(name, sets, tmp_path):
    started,ends,number,first = time.monotonic(),time.process_time()+float(os.environ.get('FUZZ_SECONDS', 20)),0,int(os.environ.get('FUZZ_SEED', 0))
    while time.process_time()<ends: fuzz(name, sets, tmp_path, 200, first+(number := number+1))
    print(f'{name}: {200*number:,} inputs in {time.process_time()-ends+float(os.environ.get("FUZZ_SECONDS", 20)):.0f} s of a core, {time.monotonic()-started:.0f} s by the clock')

@pytest.mark.parametrize('found', json.loads(FOUND.read_text()) if FOUND.is_file() else [], ids=lambda o: f'{o["reader"]}: {o["error"][:40]}')
def test_what_was_found(found, sets, tmp_path):
    files,read = sets[found['reader']]
    damaged = unpacked(found['files'])
    put(files|damaged, tmp_path)
    try_reading(read, tmp_path, damaged)
