"""A corpus of hostile inputs, run through the real command line: what is said, the exit code, seconds and memory of each

    python tests/helpers/hostile.py FOLDER [--write] [--forked]     draws the corpus into FOLDER, runs all of it; --write: also build/hostile-inputs.md, the page of the site

Each input gets a Python of its own, most of whose seconds go into importing torch. With --forked it gets a fork of one that has imported everything.
"""
import base64, gzip, importlib.util, io, json, multiprocessing, os, pickle, re, resource, struct, subprocess, sys, tempfile, time, zipfile, zlib
from dataclasses import dataclass
from pathlib import Path
import numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq
from PIL import Image

@dataclass
class Case:
    "One hostile input"
    name:str
    kind:str # images, tables, formats, schema files, recipes and settings, weights, run folders, submissions
    args:list # of the command line
    code:int = 2 # the exit code that is documented
    says:str = '' # stands in the message, or in the column `error` of the second row
    answers:Path|None = None # the answers of a prediction whose second row is hostile

class Code: # what it does when it is unpickled
    def __reduce__(self): return os.system, (f'touch {MARK}',)
MARK = Path(tempfile.gettempdir())/'fashion-fastai-foreign-code-ran'

# ---- images: each stands in a table after a good one, and must be a bad row, or be read

HEIC = base64.b64decode(''.join('''
    AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA
    AAAERAAAEAAQAAAAABegABAAAAAAAAADwAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAA
    AAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkA
    AAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAA
    QAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAERtZGF0AAAAOCgBrxOAecHFyL//+4lRX/tEWr/TTNiKUVvlCE//TR
    TF/GRDafISALPyDqlFgUIkR8zH7LvE3lVf
'''.split())) # 64 x 64 pixels, blue above red, by pillow-heif
NO_HEIC = None if importlib.util.find_spec('pi_heif') else 'is HEIC, which needs pi-heif'

def saved(image, fmt, **kwargs):
    file = io.BytesIO()
    image.save(file, fmt, **kwargs)
    return file.getvalue()

def chunk(kind, data): return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))
def png_of(width, height, *chunks, depth=8, color=2): return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, 0))+b''.join(chunks)+chunk(b'IEND', b'')

def scans(n):
    data = saved(Image.effect_noise((6000,8000), 50), 'JPEG', progressive=True, quality=30)
    at = data.rindex(b'\xff\xda')
    last = data[at:-2]
    return data[:at]+(last[:14]+b'\x00'*4)*n+b'\xff\xd9'

def noise(*shape): return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)

def loop_of_exif(): # its second directory is the first again
    return b'Exif\0\0II*\0\x08\0\0\0'+struct.pack('<H', 1)+struct.pack('<HHII', 0x8769, 4, 1, 8)+struct.pack('<I', 8)

def tiff_with_tile(side):
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1), (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 200), (325, 4, 1, 1000)]
    head = b'II*\0\x08\0\0\0'+struct.pack('<H', len(entries))+b''.join(struct.pack('<HHII', *o) for o in entries)+struct.pack('<I', 0)
    return head.ljust(200, b'\0')+zlib.compress(bytes(10**7))

def images():
    "Name, content (or what makes it) and what the row says; None where it is read"
    good = Image.fromarray(noise(60,40,3))
    jpeg,gif = saved(good, 'JPEG'),saved(good.convert('P'), 'GIF')
    frames = [Image.fromarray(noise(16,16,3)) for _ in range(500)]
    zeros = zlib.compress(bytes(50*2**20), 9)
    return {
        'bomb.png (400 megapixels of black, 50 KB)': (saved(Image.new('1', (20000,20000)), 'PNG'), 'megapixels'),
        'bomb.gif (claims 65,535 x 65,535)': (gif[:6]+b'\xff\xff\xff\xff'+gif[10:], 'megapixels'),
        'bomb.bmp (claims 100,000 x 100,000)': (b'BM'+bytes(8)+struct.pack('<IIiiHHIIIIII', 54, 40, 100000, 100000, 1, 24, 0, 0, 0, 0, 0, 0), 'megapixels'),
        'bomb.webp (16,000 x 16,000, lossless)': (lambda p: Image.new('RGB', (16000,16000)).save(p, 'WEBP', lossless=True, quality=0, method=0), 'megapixels'),
        'bomb.tif (claims 2,000,000,000 rows)': (saved(good, 'TIFF').replace(struct.pack('<HHII', 257, 4, 1, 60), struct.pack('<HHII', 257, 4, 1, 2*10**9)).replace(struct.pack('<HHIHH', 257, 3, 1, 60, 0), struct.pack('<HHII', 257, 4, 1, 2*10**9)), 'megapixels'),
        'tile.tif (8 x 8 pixels in a tile of 30,000 x 30,000)': (tiff_with_tile(30000), 'in tiles of 900'),
        'scans.jpg (48 megapixels, 20,000 scans)': (lambda p: p.write_bytes(scans(20_000)), 'scans; at most 500'),
        'half.jpg (a download that broke off)': (jpeg[:len(jpeg)//2], 'is damaged'),
        'half.png': ((o := saved(good, 'PNG'))[:len(o)//2], 'is damaged'),
        'half.avif': ((o := saved(good, 'AVIF'))[:len(o)//2], 'is'),
        'zeros.jpg (a head, then zeros)': (jpeg[:300]+bytes(10**6), 'is damaged'),
        'empty.jpg (no byte)': (b'', 'is not an image'),
        'byte.png (one byte)': (b'\x89', 'is not an image'),
        'text.jpg': (b'this is a text\n'*100, 'is not an image'),
        'page.png (HTML with a script)': (b'<html><script>alert(1)</script></html>', 'is not an image'),
        'drawing.png (SVG that names a file)': (b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>', 'is not an image'),
        'program.jpg (PostScript)': (saved(good, 'EPS'), 'is not an image'),
        'photoshop.jpg (PSD)': (b'8BPS\0\1'+bytes(6)+struct.pack('>HIIHH', 3, 30000, 30000, 8, 3)+bytes(14), 'is not an image'),
        'pickle.png (code)': (pickle.dumps(Code()), 'is not an image'),
        'archive.jpg (a zip of zeros)': (zipped({'a': bytes(10**7)}), 'is not an image'),
        'polyglot.gif (a zip behind a GIF)': (gif+zipped({'run.sh': b'rm -rf /'}), None),
        'polyglot.jpg (HTML behind a JPEG)': (jpeg+b'<script>alert(1)</script>'*1000, None),
        'wrong-ending.jpg (a PNG)': (saved(good, 'PNG'), None),
        'thread.png (1 x 65,000 pixels)': (saved(Image.new('RGB', (1,65000)), 'PNG'), 'is 1 x 65,000 pixels'),
        'thread.jpg (65,000 x 1 pixels)': (saved(Image.new('RGB', (65000,1)), 'JPEG'), 'is 65,000 x 1 pixels'),
        'icc.jpg (64 KB of noise as colour profile)': (saved(good, 'JPEG', icc_profile=noise(60000).tobytes()), None),
        'icc.png (a profile of 50 MB of zeros, packed)': (png_of(8, 8, chunk(b'iCCP', b'x\0\0'+zeros), chunk(b'IDAT', zlib.compress(bytes(200)))), 'is damaged'),
        'text.png (20 texts of 50 MB, packed)': (png_of(8, 8, *[chunk(b'zTXt', b'x%d\0\0' % i+zeros) for i in range(20)], chunk(b'IDAT', zlib.compress(bytes(200)))), 'is damaged'),
        'exif.jpg (noise as Exif)': (saved(good, 'JPEG', exif=b'Exif\0\0'+noise(5000).tobytes()), None),
        'exif-loop.jpg (a directory in itself)': (saved(good, 'JPEG', exif=loop_of_exif()), None),
        'endless.gif (500 frames)': (saved(frames[0], 'GIF', save_all=True, append_images=frames[1:], loop=0), None),
        'endless.png (500 frames)': (saved(frames[0], 'PNG', save_all=True, append_images=frames[1:]), None),
        'endless.webp (500 frames)': (saved(frames[0], 'WEBP', save_all=True, append_images=frames[1:]), None),
        'comments.gif (60 MB of comments)': (gif[:-1]+(b'\x21\xfe'+(b'\xff'+b'c'*255)*1000+b'\0')*234+b'\x3b', None),
        'comments-first.gif (60 MB of comments before the image)': (comments_first(gif), None),
        'long.jpg (10 GB of nothing behind a JPEG)': (lambda p: sparse(p, jpeg, 10**10), 'at most 256 are read'),
        'long.png (200 MB of nothing behind a PNG)': (lambda p: sparse(p, saved(good, 'PNG'), 2*10**8), None),
        'deep.png (49 megapixels of 16 bits)': (lambda p: Image.fromarray(np.full((7000,7000), 40000, dtype=np.uint16)).save(p, compress_level=1), None),
        'clear.png (49 megapixels with transparency)': (lambda p: Image.new('RGBA', (7000,7000), (9,9,9,9)).save(p, compress_level=1), None),
        'float.tif (not a number)': (saved(Image.new('F', (8,8), float('nan')), 'TIFF'), None),
        'folder.jpg (a folder)': (lambda p: p.mkdir(), 'is a folder'),
        'pipe.jpg (a named pipe that nobody writes to)': (lambda p: os.mkfifo(p), 'is a pipe or a device'),
        'circle.jpg (a link to itself)': (lambda p: p.symlink_to(p), ''),
        'phone.heic (HEIC, which is an extra)': (HEIC, NO_HEIC),
        'phone.jpg (HEIC under the name of a JPEG)': (HEIC, NO_HEIC),
        'half.heic': (HEIC[:300], NO_HEIC or 'is'),
        'brand.heic (a head, then zeros)': (HEIC[:24]+bytes(10**6), NO_HEIC or 'is'),
        'null byte in the name': ('a\0b.jpg', ''),
        'name of 5,000 letters': ('a'*5000+'.jpg', ''),
    }

def zipped(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        for k,v in files.items(): archive.writestr(k, v)
    return file.getvalue()

def comments_first(gif):
    start = 13+3*2**((gif[10]&7)+1)
    return gif[:start]+(b'\x21\xfe'+(b'\xff'+b'c'*255)*1000+b'\0')*234+gif[start:]

def sparse(path, data, size):
    with open(path, 'wb') as file:
        file.write(data)
        file.truncate(size)

def picture_cases(folder, run, wanted):
    for i,(name,(content,says)) in enumerate(images().items()):
        if not wanted(name): continue
        home = folder/f'images/{i:02}'
        home.mkdir(parents=True)
        Image.fromarray(noise(60,40,3)).save(home/'good.jpg')
        file = content if isinstance(content, str) else name.split(' (')[0]
        if callable(content): content(home/file)
        elif isinstance(content, bytes): (home/file).write_bytes(content)
        pq.write_table(pa.table(dict(file=['good.jpg', file])), home/'table.parquet')
        yield Case(name, 'images', ['predict', run, home/'table.parquet', '--out', home/'answers.csv'], 0, says, home/'answers.csv')

# ---- tables

KIND_OF_TEXTS = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml'

def workbook(path, rows, texts=(), padding=0):
    "Write a workbook whose sheet has the XML `rows` and that shares `texts`, with `padding` MB of blanks behind its sheet"
    from openpyxl import Workbook
    file = io.BytesIO()
    Workbook().save(file)
    about = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{KIND_OF_TEXTS}"/></Types>'
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as out:
        for name in source.namelist():
            data = source.read(name).decode()
            if name=='xl/worksheets/sheet1.xml':
                data = re.sub('<sheetData ?/>|<sheetData></sheetData>', f'<sheetData>{rows}</sheetData>', data)+' '*padding*10**6
            out.writestr(name, data.replace('</Types>', about))
        out.writestr('xl/sharedStrings.xml', '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
            +''.join(f'<si><t>{text}</t></si>' for text in texts)+'</sst>')

def sheet_row(i, *cells):
    "Return the XML of a row whose cells are positions of shared texts"
    return f'<row r="{i}">'+''.join(f'<c r="{"ABCDEF"[j]}{i}" t="s"><v>{cell}</v></c>' for j,cell in enumerate(cells))+'</row>'

def shared_text(path, n_rows=20_000, n_letters=30_000):
    "Write a workbook in which every cell is the same long text"
    workbook(path, sheet_row(1, 0)+''.join(sheet_row(i, 1) for i in range(2, n_rows)), ['file', 'x'*n_letters])

def small(n=6): return dict(file=[f'{i}.jpg' for i in range(n)], category=['dress', 'shirt', 'dress']*(n//3), split=['train']*(n-2)+['valid']*2)

def tables():
    "Name of the case, name of the file, what makes it, what is said"
    frame = pd.DataFrame(small())
    def csv(text): return lambda p: p.write_bytes(text if isinstance(text, bytes) else text.encode())
    def table(**columns): return lambda p: pq.write_table(pa.table(small()|columns), p)
    def named(*names): return lambda p: frame.assign(file=[*names, *frame.file[len(names):]]).to_csv(p, index=False)
    rows = lambda p: pq.write_table(pa.table(dict(file=pa.nulls(3*10**8, pa.string()))), p, use_dictionary=False, write_statistics=False)
    cells = 'x'*10**6
    return {
        'random bytes as CSV': ('a.csv', csv(noise(10**5).tobytes()), 'cannot be read as a table'),
        'CSV in UTF-16': ('a.csv', csv(frame.to_csv(index=False).encode('utf-16')), 'cannot be read as a table'),
        'CSV of zero bytes': ('a.csv', csv(b''), 'is empty'), 'a million NUL bytes': ('a.csv', csv(bytes(10**6)), ''),
        'a quote that is never closed': ('a.csv', csv('file,category\n"1.jpg,dress\n'+'2.jpg,shirt\n'*10**5), 'cannot be read as a table'),
        'a million columns': ('a.csv', csv(','.join(f'c{i}' for i in range(10**6))+'\n'), 'at most 10,000 columns'),
        'a first line of 20 MB': ('a.csv', csv('x'*2*10**7), 'at most 10,000 columns'),
        'a label of a million letters': ('a.csv', lambda p: frame.assign(category=[cells]+['a']*5).to_csv(p, index=False), None),
        'a cell of a million labels': ('a.csv', lambda p: frame.assign(attributes=[' '.join(f'l{i}' for i in range(10**6))]+['a']*5).to_csv(p, index=False), 'at most'),
        '50,000 cells with labels of their own': ('a.csv', lambda p: pd.DataFrame(dict(file='0.jpg', attributes=[f'l{i}' for i in range(49_000)])).to_csv(p, index=False), 'too much memory'),
        'a file name that climbs out': ('a.csv', named('../../../../etc/passwd'), 'leads out of the folder'),
        'a file name that begins at the root': ('a.csv', named('/etc/passwd'), 'leads out of the folder'),
        'a file name with a drive': ('a.csv', named(r'C:\Windows\win.ini'), 'leads out of the folder'),
        'a file name through a link that leads out': ('a.csv', lambda p: ((p.parent/'etc').symlink_to('/etc'), named('etc/passwd')(p)), 'leads out of the folder'),
        'a link that leads out': ('a.csv', lambda p: ((p.parent/'link.jpg').symlink_to('/etc/passwd'), named('link.jpg')(p)), 'leads out of the folder'),
        'a link to /dev/zero': ('a.csv', lambda p: ((p.parent/'zero.jpg').symlink_to('/dev/zero'), named('zero.jpg')(p)), 'leads out of the folder'),
        'a pipe in the place of an image': ('a.csv', lambda p: (os.mkfifo(p.parent/'pipe.jpg'), named('pipe.jpg')(p)), 'is a pipe or a device'),
        'a file name that clears the screen': ('a.csv', named('\x1b[2J\x1b]0;owned\x07.jpg'), r'\x1b[2J'),
        'a pipe as table': ('a.csv', lambda p: os.mkfifo(p), 'must be a .csv or a .parquet file'),
        'a folder as table': ('a.csv', lambda p: p.mkdir(), 'a folder without a table'),
        'random bytes as Parquet': ('a.parquet', csv(b'PAR1'+noise(10**5).tobytes()+b'PAR1'), 'cannot be read as a table'),
        'a Parquet file cut off': ('a.parquet', lambda p: (table()(p), p.write_bytes(p.read_bytes()[:-20])), 'cannot be read as a table'),
        'a Parquet file of 300 million empty rows': ('a.parquet', rows, 'more than a hundred times'),
        'a Parquet file of a million cells of 1 MB': ('a.parquet', lambda p: pq.write_table(pa.table(dict(file=pa.DictionaryArray.from_arrays(np.zeros(10**6, np.int32), [cells]))), p), 'more than a hundred times'),
        'file names that are structures': ('a.parquet', table(file=[{'a': 1}]*6), ''),
        'labels that are bytes': ('a.parquet', table(category=[b'\xff\xfe']*6), 'bytes that are not text'),
        'boxes that are text': ('a.parquet', table(x1=['a']*6, y1=['b']*6, x2=[None]*6, y2=['']*6), None),
        'a workbook of 200 MB of blanks': ('a.xlsx', lambda p: workbook(p, sheet_row(1, 0), ['file'], 200), 'not plausible for a workbook'),
        'a workbook in which every cell is the same long text': ('a.xlsx', shared_text, 'more than a hundred times its size'),
        'a workbook with a cell in the last row and column': ('a.xlsx', lambda p: workbook(p, sheet_row(1, 0, 1)+'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>', ['file', 'category']), 'the table is empty'),
        'a workbook with 10,000 columns and a cell in the last row': ('a.xlsx', lambda p: workbook(p, '<row r="1">'+''.join(f'<c t="inlineStr"><is><t>c{i}</t></is></c>' for i in range(9_999))+'</row><row r="1048576"><c r="A1048576"><v>1</v></c></row>'), 'more than 50,000,000 cells'),
        'a workbook that laughs': ('a.xlsx', lambda p: workbook(p, sheet_row(1, 0)+sheet_row(2, 1), ['file', '&nine;']), 'not an Excel workbook'),
        'random bytes as a workbook': ('a.xlsx', csv(b'PK\x03\x04'+noise(10**5).tobytes()), 'not an Excel workbook'),
        'JSON Lines of 100,000 brackets': ('a.jsonl', csv('{"file": '+'['*10**5), 'line 1 is not JSON Lines'),
        'JSON Lines that are one line of 30 MB': ('a.jsonl', csv('{"file": "'+'x'*3*10**7), 'line 1 is not JSON Lines'),
        'JSON Lines of 30,000 rows with names of their own': ('a.jsonl', csv(''.join(f'{{"c{i%9_999}": 1}}\n' for i in range(30_000))), 'too many different names'),
        'JSON Lines with half a surrogate': ('a.jsonl', csv('{"file": "\\ud800.jpg", "category": "dress"}\n'*6), ''),
        'a CSV that unpacks to 300 MB': ('a.csv.gz', lambda p: p.write_bytes(gzip.compress(b'file,category\n'+bytes(3*10**8))), 'more than a hundred times its size'),
        'a thousand compressed parts': ('a.csv.gz', lambda p: p.write_bytes(gzip.compress(b'x,')*10**5), ''),
        'a pickle as table': ('a.parquet', csv(pickle.dumps(Code())), 'cannot be read as a table'),
    }

def table_cases(folder, wanted):
    for i,(name,(file,make,says)) in enumerate(tables().items()):
        if not wanted(name): continue
        home = folder/f'tables/{i:02}'
        home.mkdir(parents=True)
        for j in range(6): Image.fromarray(noise(20,20,3)).save(home/f'{j}.jpg')
        make(home/file)
        yield Case(name, 'tables', ['data', 'describe', '--data', home/file], 0 if says is None else 2, says or '')

# ---- formats

def lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(rows)+'\n')

def hub(image): return pa.table(dict(image=[image]*3, label=[0, 1, 0]), schema=pa.schema([('image', pa.struct([('bytes', pa.binary()), ('path', pa.string())])), ('label', pa.int64())],
    metadata={'huggingface': json.dumps(dict(info=dict(features=dict(label=dict(names=['a', 'b'], _type='ClassLabel')))))}))

def benchmark(home, attributes='img/1.jpg 1 -1', count='1'):
    lines(home/'Anno/list_category_cloth.txt', '1', 'h', 'Blouse 1')
    lines(home/'Anno/list_attr_cloth.txt', '2', 'h', 'pleated 3', 'denim 2')
    lines(home/'Anno/list_category_img.txt', count, 'h', 'img/1.jpg 1')
    lines(home/'Anno/list_attr_img.txt', '1', 'h', attributes)
    lines(home/'Eval/list_eval_partition.txt', '1', 'h', 'img/1.jpg train')

def formats():
    "Name, format, what makes its folder, what is said"
    def hub_of(image): return lambda home: pq.write_table(hub(image), home/'train-00000-of-00001.parquet')
    def state(text): return lambda home: (home/'state.json').write_text(text)
    def csvs(*rows): return lambda home: (lines(home/'train_category.csv', 'file_path,category_label', *rows), lines(home/'train_attribute.csv', 'file_path,attribute_label', *rows))
    return {
        'an image of a Hugging Face set that climbs out': ('hf', hub_of(dict(bytes=None, path='../../../../etc/passwd')), 'leads out of the folder'),
        'a Hugging Face set whose files lie elsewhere': ('hf', state('{"_data_files": [{"filename": "../../../etc/passwd"}]}'), 'leads out of the folder'),
        'a Hugging Face set with a state of 100,000 brackets': ('hf', state('['*10**5), 'is not JSON'),
        'an Arrow file of random bytes': ('hf', lambda home: (state('{"_data_files": [{"filename": "a.arrow"}]}')(home), (home/'a.arrow').write_bytes(noise(10**5).tobytes())), 'cannot be read'),
        'a count of 10^5000': ('deepfashion', lambda home: benchmark(home, count='9'*5000), 'must be the number of lines'),
        'an image with a million attributes': ('deepfashion', lambda home: benchmark(home, 'img/1.jpg'+' 1'*10**6), '1000000 values, but it must have 2'),
        'a label of 5,000 digits': ('two-csv', csvs('1.jpg,'+'9'*5000), ''),
        'a folder for each of 2,000 letters': ('folders', lambda home: deep(home), ''),
        'folders that link in a circle': ('folders', lambda home: ((home/'a').mkdir(), (home/'a/again').symlink_to(home)), 'no image'),
        'folders that link out': ('folders', lambda home: ((home/'dress').mkdir(), (home/'dress/1.jpg').symlink_to('/etc/passwd')), 'leads out of the folder'),
    }

def deep(home):
    at = os.open(home, os.O_RDONLY)
    for _ in range(1000):
        os.mkdir('aa', dir_fd=at)
        below = os.open('aa', os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with os.fdopen(os.open('1.jpg', os.O_CREAT|os.O_WRONLY, dir_fd=at), 'wb') as file: file.write(saved(Image.new('RGB', (8,8)), 'JPEG'))
    os.close(at)

def format_cases(folder, wanted):
    for i,(name,(fmt,make,says)) in enumerate(formats().items()):
        if not wanted(name): continue
        home = folder/f'formats/{i:02}'
        home.mkdir(parents=True)
        make(home)
        yield Case(name, 'formats', ['data', 'describe', '--format', fmt, '--data', home], 2, says)

# ---- addresses: given to data fetch; none of them may be connected to

def addresses():
    "Name, cell of the table, what the reason says"
    private = 'private address'
    return {
        'the metadata of a cloud': ('http://169.254.169.254/latest/meta-data/iam/', private), 'localhost as a number': ('http://2130706433/1.jpg', private), 'localhost in hexadecimal': ('http://0x7f.1/1.jpg', private),
        'localhost in IPv6, mapped': ('http://[::ffff:127.0.0.1]/1.jpg', private), 'an address of version 6 that holds a private one': ('http://[64:ff9b::a9fe:a9fe]/', private), 'all addresses of this machine': ('http://0.0.0.0/1.jpg', private),
        'a local file': ('file:///etc/passwd', 'is no address of a web server'), 'a protocol of 1991': ('gopher://127.0.0.1:70/1', 'is no address of a web server'), 'a chain of fsspec': ('s3::file:///etc/passwd', 'no cell of image_url is an address'),
        'a chain behind a bucket': ('hf://a::file:///etc/passwd', 'is a chain'), 'a password': ('https://me:secret@shop.example/1.jpg', 'holds a user name or a password'), 'a port of 10^6': ('https://shop.example:1000000/1.jpg', 'is no valid address'),
        'a name of 10,000 letters': ('https://'+'a'*10_000+'/1.jpg', 'is no name of a server'), 'a header in the path': ('http://127.0.0.1/1.jpg%0d%0aHost:x\r\nX: y', private), 'a bracket': ('http://[::1/1.jpg', 'is no valid address'),
        'two in a cell': ('http://127.0.0.1/1.jpg;http://169.254.169.254/', private), 'a local file in a list': ('["file:///etc/passwd"]', 'is no address of a web server'),
    }

def address_cases(folder, wanted):
    for i,(name,(address,says)) in enumerate(addresses().items()):
        if not wanted(name): continue
        home = folder/f'addresses/{i:02}'
        home.mkdir(parents=True)
        pq.write_table(pa.table(dict(image_url=[address], category=['dress'])), home/'table.parquet')
        yield Case(name, 'addresses', ['data', 'fetch', home/'table.parquet', '--out', home/'out', '--file-col', 'image_url'], 2, says)
    if wanted('a table of addresses for a training'):
        home = folder/'addresses/train'
        home.mkdir(parents=True)
        pd.DataFrame(small()).assign(file=[f'http://169.254.169.254/{i}' for i in range(6)]).to_csv(home/'table.csv', index=False)
        yield Case('a table of addresses for a training', 'addresses', ['train', '--data', home/'table.csv', '--out', home/'run'], 2, 'data fetch')

# ---- schema files, recipes, settings, weights: given to a training

def texts():
    "Name, kind, option, name of the file, content or what makes it, what is said"
    target = dict(name='category', kind='one_of', vocab=['dress', 'shirt'])
    def schema(**fields): return json.dumps(dict(targets=[target|fields]))
    recipe = 'title: t\nsource: s\nsettings: {%s}\n'
    laughs = 'a: &a [x, x, x, x, x, x, x, x, x]\n'+''.join(f'{b}: &{b} [{", ".join([f"*{a}"]*9)}]\n' for a,b in zip('abcdefghij', 'bcdefghijk'))
    def pickled(p, **kwargs):
        import torch
        torch.save(Code(), p, **kwargs)
    def tensors(**fields):
        def make(p):
            from safetensors.torch import save_file
            import timm, torch
            state = timm.create_model('test_resnet', num_classes=0).state_dict()
            save_file({k: torch.full_like(v, float('nan')) if v.is_floating_point() and fields.get('nan') else v for k,v in state.items()} | ({'conv1.weight' if 'conv1.weight' in state else next(iter(state)): torch.zeros(3)} if fields.get('shape') else {}), p)
        return make
    return [
        ('no JSON', 'schema files', '--schema', 's.json', '{', 'is not JSON'), ('100,000 brackets', 'schema files', '--schema', 's.json', '['*10**5, 'is not JSON'),
        ('a list', 'schema files', '--schema', 's.json', '[]', ''), ('20 MB', 'schema files', '--schema', 's.json', '['+'1,'*10**7+'1]', 'such a file has at most 16'),
        ('an unknown kind', 'schema files', '--schema', 's.json', schema(kind='code'), 'targets.0.kind'), ('a label twice', 'schema files', '--schema', 's.json', schema(vocab=['a', 'a']), 'occur more than once'),
        ('half a surrogate as label', 'schema files', '--schema', 's.json', schema(vocab=['\ud800', 'b']), 'targets.0.vocab'), ('a number of 5,000 digits', 'schema files', '--schema', 's.json', '{"version": '+'9'*5000+'}', ''),
        ('a pipe', 'schema files', '--schema', 's.json', os.mkfifo, 'is not a file'),
        ('a tag that calls code', 'recipes and settings', '--recipe', 'r.yaml', f'title: !!python/object/apply:os.system ["touch {MARK}"]\nsource: s\n', 'is not YAML'),
        ('a billion laughs', 'recipes and settings', '--recipe', 'r.yaml', laughs, 'is not YAML'), ('a mapping in itself', 'recipes and settings', '--recipe', 'r.yaml', 'a: &a {b: *a}', 'is not YAML'),
        ('100,000 brackets', 'recipes and settings', '--recipe', 'r.yaml', '['*10**5, 'is not YAML'), ('1 MB', 'recipes and settings', '--recipe', 'r.yaml', 'a: '+'x'*10**6, 'such a file has at most'),
        ('a pipe', 'recipes and settings', '--recipe', 'r.yaml', os.mkfifo, 'is not a file'), ('images of 10^9 pixels a side', 'recipes and settings', '--recipe', 'r.yaml', recipe % 'image: {size: 1000000000}', 'image.size'),
        ('a head of 10^10 units', 'recipes and settings', '--recipe', 'r.yaml', recipe % "model: {heads: {'*': {kind: mlp, sizes: [10000000000]}}}", 'sizes must be'),
        ('a checkpoint for timm to open', 'recipes and settings', '--recipe', 'r.yaml', recipe % 'model: {args: {checkpoint_path: evil.pth}}', 'is no argument of an architecture'),
        ('an architecture on the network', 'recipes and settings', '--recipe', 'r.yaml', recipe % "model: {arch: 'hf-hub:evil/model', weights: none}", 'unknown architecture'),
        ('an infinite learning rate', 'recipes and settings', '--recipe', 'r.yaml', recipe % 'training: {lr: .inf}', 'training.lr'), ('10^9 epochs', 'recipes and settings', '--recipe', 'r.yaml', recipe % 'training: {epochs: 1000000000}', 'training.epochs'),
        ('a seed of 10^30', 'recipes and settings', '--recipe', 'r.yaml', recipe % 'training: {seed: 1000000000000000000000000000000}', 'training.seed'), ('an unknown key', 'recipes and settings', '--recipe', 'r.yaml', recipe % 'code: {run: ls}', 'unknown key'),
        ('a setting of 5,000 brackets', 'recipes and settings', '--set', None, 'loss.smoothing='+'['*5000, 'is not YAML'),
        ('a pickle with code as .pth', 'weights', '--weights', 'w.pth', pickled, 'is a pickle'), ('a pickle with code as .safetensors', 'weights', '--weights', 'w.safetensors', pickled, 'is a pickle'),
        ('an old pickle with code', 'weights', '--weights', 'w.pth', lambda p: pickled(p, _use_new_zipfile_serialization=False), 'is a pickle'), ('a plain pickle with code', 'weights', '--weights', 'w.safetensors', pickle.dumps(Code()), 'cannot be read as weights'),
        ('zero bytes', 'weights', '--weights', 'w.safetensors', b'', 'cannot be read as weights'), ('a head of 2^63 bytes', 'weights', '--weights', 'w.safetensors', struct.pack('<Q', 2**63-1)+b'{}', 'cannot be read as weights'),
        ('values that are no numbers', 'weights', '--weights', 'w.safetensors', tensors(nan=True), 'no numbers'), ('a layer of another shape', 'weights', '--weights', 'w.safetensors', tensors(shape=True), 'do not fit'),
    ]

def text_cases(folder, wanted):
    for i,(name,kind,option,file,content,says) in enumerate(texts()):
        if not wanted(name): continue
        home = folder/f'texts/{i:02}'
        home.mkdir(parents=True)
        pd.DataFrame(small()).to_csv(home/'table.csv', index=False)
        for j in range(6): Image.fromarray(noise(20,20,3)).save(home/f'{j}.jpg')
        if callable(content): content(home/file)
        elif file: (home/file).write_bytes(content if isinstance(content, bytes) else content.encode())
        yield Case(name, kind, ['train', '--data', home/'table.csv', '--out', home/'run', option, home/file if file else content, '--size', '32', *(['--arch', 'test_resnet'] if kind=='weights' else [])], 2, says)

# ---- run folders that were tampered with

def good_run(path):
    from fashion_fastai.config import make_config
    from fashion_fastai.evaluation.calibration import no_calibration
    from fashion_fastai.models.network import create_network, save_network
    from fashion_fastai.run import start_run
    from fashion_fastai.schema import Schema
    from fashion_fastai.target import any_of, one_of
    schema = Schema(targets=[one_of('category', ['dress', 'shirt']), any_of('attributes', ['belted', 'striped'])])
    run = start_run(path, make_config('two-head', dict(model=dict(arch='resnet10t', weights='none'), image=dict(size=32, mean=(0.5,)*3, std=(0.5,)*3))), schema)
    save_network(create_network(schema, 'resnet10t', 32, 'none'), run.model)
    no_calibration(schema).write(run.calibration)
    run.co_occurrence.write_text('[]')
    return run.path

def screen_of(n):
    def tamper(run):
        from fashion_fastai.embeddings.ood import fit_ood_detector, write_ood_detector
        from fashion_fastai.run import Run
        write_ood_detector(Run(run), fit_ood_detector(np.random.default_rng(0).normal(size=(60,n))))
    return tamper

def runs():
    "Name, what is done to a good run, what is said"
    def text(file, old, new):
        def change(run):
            was = (run/file).read_text()
            assert old in was, (file, old)
            (run/file).write_text(was.replace(old, new, 1))
        return change
    def put(file, content): return lambda run: (run/file).write_bytes(content if isinstance(content, bytes) else content.encode())
    def instead(file, make): return lambda run: ((run/file).unlink(), make(run/file))
    def weights(change):
        def tamper(run):
            from safetensors.torch import load_file, save_file
            state = load_file(run/'model.safetensors')
            change(state)
            save_file(state, run/'model.safetensors')
        return tamper
    import torch
    body = 'body.conv1.0.weight'
    return {
        'a file missing': (lambda run: (run/'schema.json').unlink(), 'it lacks schema.json'),
        'a pickle with code as weights': (lambda run: torch.save(Code(), run/'model.safetensors'), 'cannot be read as weights'), 'random bytes as weights': (put('model.safetensors', noise(10**5).tobytes()), 'cannot be read as weights'),
        'weights cut off': (lambda run: put('model.safetensors', (run/'model.safetensors').read_bytes()[:10**6])(run), 'cannot be read as weights'), 'a head of weights of 2^63 bytes': (put('model.safetensors', struct.pack('<Q', 2**63-1)+b'{}'), 'cannot be read as weights'),
        'a pipe as weights': (instead('model.safetensors', os.mkfifo), 'it lacks model.safetensors'), 'a layer missing': (weights(lambda o: o.pop(body)), f'it lacks {body}'),
        'a layer too many': (weights(lambda o: o.update(evil=torch.zeros(3))), 'it has evil'), 'a layer of another shape': (weights(lambda o: o.update({body: torch.zeros(3, 3)})), 'the network needs'),
        'weights that are no numbers': (weights(lambda o: o[body].fill_(float('nan'))), 'no numbers'), 'a negative variance': (weights(lambda o: o['body.bn1.running_var'].fill_(-1)), 'negative variance'),
        'weights as whole numbers': (weights(lambda o: o.update({body: o[body].long()})), 'holds torch.int64'), 'settings with a tag that calls code': (text('config.yaml', 'recipe: two-head', f'recipe: !!python/object/apply:os.system ["touch {MARK}"]'), 'is not YAML'),
        'settings with a billion laughs': (text('config.yaml', 'recipe: two-head', 'recipe: two-head\na: &a [x, x, x, x, x, x, x, x, x]\n'+'\n'.join(f'{b}: &{b} [{", ".join([f"*{a}"]*9)}]' for a,b in zip('abcdefghij', 'bcdefghijk'))), 'is not YAML'),
        'images of 10^9 pixels a side': (text('config.yaml', 'size: 32', 'size: 1000000000'), 'image.size'), 'a head of 16 GB': (text('config.yaml', 'heads: {', "heads: {'*': {kind: mlp, sizes: [16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000, 16000]}"), 'does not fit'),
        'a checkpoint for timm to open': (text('config.yaml', 'args: {', 'args: {checkpoint_path: evil.pth'), 'is no argument'), 'an architecture on the network': (text('config.yaml', 'arch: resnet10t', "arch: 'hf-hub:evil/model'"), 'unknown architecture'),
        'an architecture in a folder': (text('config.yaml', 'arch: resnet10t', "arch: 'local-dir:../../evil'"), 'unknown architecture'), 'a network 4,000 blocks deep': (lambda run: (text('config.yaml', 'arch: resnet10t', 'arch: vit_tiny_patch16_224')(run), text('config.yaml', 'args: {', 'args: {depth: 300')(run)), 'does not fit'),
        'settings in UTF-16': (put('config.yaml', 'recipe: two-head'.encode('utf-16')), 'cannot be read as text'), 'a pipe as settings': (instead('config.yaml', os.mkfifo), 'it lacks config.yaml'), 'settings that link to themselves': (instead('config.yaml', lambda p: p.symlink_to(p)), 'it lacks config.yaml'),
        'a schema of 100,000 brackets': (put('schema.json', '['*10**5), 'is not JSON'), 'a schema with other labels': (text('schema.json', '"dress",', '"dress", "cape",'), 'the network needs'), 'a schema in UTF-16': (put('schema.json', '{}'.encode('utf-16')), 'cannot be read as text'),
        'an OOD detector of another network': (screen_of(8), 'was made for a body with 8 features'), 'an OOD detector that is a pickle': (lambda run: torch.save(Code(), run/'ood_detector.safetensors'), 'cannot be read as an OOD detector'),
        'a calibration with NaN': (text('calibration.json', '"temperature": 1.0', '"temperature": NaN'), 'is no finite number'), 'a calibration of another run': (text('calibration.json', '"belted"', '"hooded"'), "unknown label 'hooded'"), 'a calibration of 100,000 brackets': (put('calibration.json', '['*10**5), 'is not JSON'),
    }

def run_cases(folder, run, wanted):
    import shutil
    for i,(name,(change,says)) in enumerate(runs().items()):
        if not wanted(name): continue
        home = folder/f'runs/{i:02}'
        shutil.copytree(run, home)
        change(home)
        Image.fromarray(noise(20,20,3)).save(home/'good.jpg')
        yield Case(name, 'run folders', ['predict', home, home/'good.jpg', '--out', home/'answers.csv'], 2, says)
    if not wanted(name := 'pairs of labels that are no counts'): return
    home = folder/'runs/pairs'
    shutil.copytree(run, home)
    (home/'co_occurrence.json').write_text('[{"category": "category", "attributes": "attributes", "seen": {"dress": 1e400}}]')
    Image.fromarray(noise(20,20,3)).save(home/'good.jpg')
    yield Case(name, 'run folders', ['predict', home, home/'good.jpg', '--enforce-taxonomy', '--out', home/'answers.csv'], 2, 'co_occurrence.json')

def submission_cases(folder, run, wanted):
    home = folder/'submissions'
    home.mkdir()
    Image.fromarray(noise(20,20,3)).save(home/'good.jpg')
    Image.fromarray(noise(20,20,3)).save(home/'two\nlines.jpg')
    pq.write_table(pa.table(dict(file=['two\nlines.jpg'])), home/'lines.parquet')
    pq.write_table(pa.table(dict(file=['good.jpg', 'good.jpg'])), home/'twice.parquet')
    for i,(name,source,fmt,more,says) in enumerate((('a target that is not there', 'good.jpg', 'category-csv', ['--target', '../x'], 'unknown target'), ('six targets where there are two', 'good.jpg', 'six-txt', [], ''), ('a name of two lines', 'lines.parquet', 'category-csv', [], 'one line'),
            ('an image twice', 'twice.parquet', 'category-csv', [], 'is repeated'), ('a prefix of two lines', 'good.jpg', 'attribute-csv', ['--prefix', 'a\nb'], 'one line'))):
        if not wanted(name): continue
        yield Case(name, 'submissions', ['predict', run, home/source, '--format', fmt, '--out', home/f'out{i}.csv', *more], 2, says)

# ---- running

def corpus(folder):
    "Draw all inputs into `folder`, in a process of its own: a child's memory counts from that of its parent; the cases"
    with multiprocessing.get_context('spawn').Pool(1) as pool: return pool.apply(drawn, (Path(folder),))

def drawn(folder, wanted=lambda name: True):
    "Draw the inputs whose names are `wanted` ; their cases"
    run = good_run(folder/'run')
    return [*picture_cases(folder, run, wanted), *table_cases(folder, wanted), *format_cases(folder, wanted), *address_cases(folder, wanted), *text_cases(folder, wanted), *run_cases(folder, run, wanted), *submission_cases(folder, run, wanted)]

@dataclass
class Outcome:
    code:int
    said:str # the last line of the message, or what the row says
    seconds:float # by the clock
    cpu:float # seconds of all cores
    megabytes:float # at most

def forked(case):
    "Run a case in a fork of this process, which has imported everything already: for working on a case"
    with tempfile.TemporaryFile() as out:
        started = time.monotonic()
        if not (pid := os.fork()):
            code = 1
            try:
                os.dup2(out.fileno(), 1); os.dup2(out.fileno(), 2)
                from fashion_fastai.cli import main
                code = main([str(o) for o in case.args])
            except BaseException as e: print(f'{type(e).__name__}: {e}', file=sys.stderr, flush=True)
            finally:
                sys.stdout.flush(); sys.stderr.flush()
                os._exit(code)
        while (ended := os.wait4(pid, os.WNOHANG))[0]==0:
            if time.monotonic()-started>120: os.kill(pid, 9)
            time.sleep(0.02)
        return _outcome(case, ended, time.monotonic()-started, out)

def outcome(case, timeout=120):
    "Run a case through the command line, in a process of its own"
    env = os.environ | dict(FASHION_CACHE=str(Path(tempfile.gettempdir())/'fashion-hostile-cache'), HF_HUB_OFFLINE='1')
    with tempfile.TemporaryFile() as out:
        started = time.monotonic()
        child = subprocess.Popen([sys.executable, '-c', 'from fashion_fastai.cli import run_script; run_script()', *map(str, case.args)], stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (timeout, timeout)))
        try:
            while (ended := os.wait4(child.pid, os.WNOHANG))[0]==0:
                if time.monotonic()-started>3*timeout: child.kill()
                time.sleep(0.02)
        finally: child.returncode = 0 # it is gone: wait4 has seen its end
        return _outcome(case, ended, time.monotonic()-started, out)

def what_was_said(case, code, text):
    "The message on one line, or what the hostile row of a prediction says"
    if case.answers and code==0: return pd.read_csv(case.answers, keep_default_na=False).error[1]
    start = text.find('fashion-fastai: ')
    return ' '.join(text[start:].removeprefix('fashion-fastai: ').split()) if start>=0 else text.strip().splitlines()[-1] if text.strip() else ''

def _outcome(case, ended, seconds, out):
    usage = ended[2]
    out.seek(0)
    text = out.read().decode(errors='replace')
    code = os.waitstatus_to_exitcode(ended[1])
    said = what_was_said(case, code, text)
    return Outcome(code, said, seconds, usage.ru_utime+usage.ru_stime, usage.ru_maxrss/1024)

def wrong(case, found):
    "What is not as it should be; empty where all is well"
    if found.code!=case.code: return f'exit code {found.code}, not {case.code}: {found.said}'
    if (case.says or '') not in found.said or (case.answers and case.says is None and found.said): return f'says {found.said!r}, not {case.says!r}'
    if 'Traceback' in found.said or '\x1b' in found.said: return found.said
    if found.megabytes>2000: return f'{found.megabytes:.0f} MB'
    if MARK.exists(): return 'foreign code ran'
    return ''

def shown(text, folder): return text.replace(f'{folder}/', '').replace(str(folder), '').replace('|', '\\|').replace('<', '&lt;').replace('\\x1b', '\\\\x1b')[:150]

def markdown(rows, folder):
    "The table of all cases"
    head = ['| input | message | exit code | seconds | MB |', '| --- | --- | ---: | ---: | ---: |']
    parts = []
    for kind in dict.fromkeys(case.kind for case,_ in rows):
        parts += ['', f'## {kind.capitalize()}', '', *head]
        parts += [f'| {case.name} | {shown(found.said, folder) or "is read"} | {found.code} | {found.seconds:.1f} | {found.megabytes:.0f} |' for case,found in rows if case.kind==kind]
    return '\n'.join(parts)

ABOUT = """# Hostile inputs

`python tests/helpers/hostile.py FOLDER --write{option}` drew {n} inputs that a stranger might send, ran each through the command
line, and wrote this page. Each ended with the documented exit code (2 and one message, or 0 and a bad row where it is an
image in a table), within {seconds:.1f} seconds and {megabytes:.0f} MB of memory{how}. `fashion-fastai predict`
on one good image takes {base.seconds:.1f} seconds and {base.megabytes:.0f} MB in the same way. The rules are in
[SECURITY.md](../SECURITY.md).
"""
FORKED = ', not counting the imports of torch and the library'

def main(folder, write, run=outcome, kind=''):
    folder = Path(folder)
    cases = [o for o in corpus(folder) if o.kind.startswith(kind)]
    base = run(Case('', '', ['predict', folder/'run', folder/'submissions/good.jpg', '--out', folder/'base.csv'], 0))
    rows,failed = [],0
    for case in cases:
        found = run(case)
        said = wrong(case, found)
        failed += bool(said)
        rows.append((case, found))
        print(f'{"WRONG" if said else "ok":5} {found.seconds:5.1f} s {found.megabytes:6.0f} MB  {case.kind}: {case.name}: {said or found.said[:100]}', flush=True)
    print(f'{len(rows)} inputs, {failed} wrong; at most {max(o.seconds for _,o in rows):.1f} s and {max(o.megabytes for _,o in rows):.0f} MB; one good image {base.seconds:.1f} s and {base.megabytes:.0f} MB')
    if write:
        text = ABOUT.format(n=len(rows), seconds=max(o.seconds for _,o in rows), megabytes=max(o.megabytes for _,o in rows), base=base,
            option=' --forked' if run is forked else '', how=FORKED if run is forked else '')+markdown(rows, folder)+'\n'
        page = Path(__file__).parents[2]/'build'/'hostile-inputs.md'
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding='utf-8')
    return failed

def warm():
    "Import what the commands import, and leave no threads behind that a fork would miss"
    import torch
    torch.set_num_threads(1)
    os.environ |= dict(FASHION_CACHE=str(Path(tempfile.gettempdir())/'fashion-hostile-cache'), HF_HUB_OFFLINE='1')
    import fashion_fastai.cli, fashion_fastai.experiments.train, fashion_fastai.serving.batch, fashion_fastai.serving.submissions, fashion_fastai.data.formats.registry # noqa: F401
    return forked

if __name__=='__main__': sys.exit(bool(main(sys.argv[1], '--write' in sys.argv, warm() if '--forked' in sys.argv else outcome)))
