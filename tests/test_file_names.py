"File names that are nearly right, through the command line and the library"
import base64, io, unicodedata
import pandas as pd, pytest
from PIL import Image
from fashion_fastai.cli import main
from fashion_fastai.core.errors import UsageError
from fashion_fastai.data.catalogue import CatalogueWarning, read_catalogue
from fashion_fastai.serving.inputs import Columns, find_image_files, read_rows, write_rows

def jpeg(size=(90, 120)):
    file = io.BytesIO()
    Image.effect_noise(size, 80).convert('RGB').save(file, 'JPEG')
    return file.getvalue()

KINDS = ['shirt', 'dress', 'skirt']

def shop(folder, files, cells, column='id'):
    "Draw images and a table beside their folder; return its path"
    for i,file in enumerate(files):
        (folder/'images'/file).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (16,16), (9*i%255, 50, 90)).save(folder/'images'/file, format='JPEG')
    pd.DataFrame({column: cells, 'category': [KINDS[i%3] for i in range(len(cells))]}).to_csv(folder/'shop.csv', index=False)
    return folder/'shop.csv'

NAMES = {
    'without an ending': (lambda i: f'{i}', lambda i: f'{i}.jpg', '{id}.jpg'),
    'whole numbers with .0': (lambda i: f'{i}.0', lambda i: f'{i}.jpg', '{id:1}.jpg'),
    'without zeros': (lambda i: i, lambda i: f'{i:06}.jpg', '{id:06}.jpg'),
    'in folders by number (H&M)': (lambda i: 108775000+i, lambda i: f'{(108775000+i)//10**7:03}/0{108775000+i}.jpg', '010/{id:010}.jpg'),
    'another case of the ending': (lambda i: f'{i}.jpg', lambda i: f'{i}.JPG', 'upper and lower case'),
    'backslashes': (lambda i: rf'a\{i}.jpg', lambda i: f'a/{i}.jpg', 'slashes'),
    'another Unicode form': (lambda i: f'é{i}.jpg', lambda i: unicodedata.normalize('NFD', f'é{i}.jpg'), 'accents'),
    'the folder twice': (lambda i: f'images/{i}.jpg', lambda i: f'{i}.jpg', '{path:1}'),
    'a slash in front': (lambda i: f'/{i}.jpg', lambda i: f'{i}.jpg', 'slashes'),
    'an absolute path of another computer': (lambda i: rf'C:\Users\me\shop\{KINDS[i%3]}\{i}.jpg', lambda i: f'{KINDS[i%3]}/{i}.jpg', '{path:2}'),
    'an address': (lambda i: f'https://cdn.example/p/{i}.jpg?w=640', lambda i: f'{i}.jpg', '{path:1}'),
    'images in another format now': (lambda i: f'{i}.png', lambda i: f'{i}.webp', '{stem}.webp'),
    'two endings': (lambda i: f'{i}', lambda i: f'{i}.{"jpg" if i%2 else "jpeg"}', '{id}.*'),
}

@pytest.mark.parametrize('kind', NAMES)
def test_the_rule_is_found_and_said(kind, tmp_path):
    cell,file,said = NAMES[kind]
    path = shop(tmp_path, [file(i) for i in range(1, 31)], [cell(i) for i in range(1, 31)])
    with pytest.warns(CatalogueWarning) as warned: catalogue = read_catalogue(path, tmp_path/'images', file_col='id')
    assert said in str(warned[0].message)
    assert catalogue.files==[file(i) for i in range(1, 31)] and (catalogue.file_col, 'id' in catalogue.frame)==('file', True)
    with pytest.warns(CatalogueWarning, match='are read as the files'): found = find_image_files(path, 'id', tmp_path/'images')
    assert all(path.is_file() for path in found.paths) and found.names==[str(cell(i)) for i in range(1, 31)]

def test_one_missing_image_is_told_by_its_name(tmp_path):
    path = shop(tmp_path, [f'{i}.jpg' for i in range(1, 31) if i!=7], list(range(1, 31)))
    with pytest.warns(CatalogueWarning), pytest.raises(UsageError, match=r'row 7: 7.jpg: no such file'): read_catalogue(path, tmp_path/'images', file_col='id')

def test_two_rules_are_shown_with_their_option(tmp_path, capsys):
    path = shop(tmp_path, [f'{i}_{side}.jpg' for i in range(1, 31) for side in ('front', 'back')], list(range(1, 31)))
    args = ['data', 'describe', str(path), '--file-col', 'id', '--images', str(tmp_path/'images')]
    assert main(args)==2
    said = ' '.join(capsys.readouterr().err.split())
    assert "--file-pattern '{id}_back.jpg' or '{id}_front.jpg'" in said or "--file-pattern '{id}_front.jpg' or '{id}_back.jpg'" in said
    assert main([*args, '--file-pattern', '{id}_front.jpg'])==0
    assert main([*args, '--file-pattern', '../{id}.jpg'])==2 and 'must hold {id}' in capsys.readouterr().err

def test_a_rule_never_gives_two_products_one_image(tmp_path):
    "7.jpg is lost, and 07.jpg is another product"
    path = shop(tmp_path, [f'{i:02}.jpg' for i in range(1, 20)], [*[f'{i:02}.jpg' for i in range(1, 20)], '7.jpg'])
    with pytest.raises(UsageError, match='row 20: 7.jpg: no such file'): read_catalogue(path, tmp_path/'images', file_col='id')
    path = shop(tmp_path, ['A.jpg'], ['A.jpg', 'a.jpg'])
    with pytest.raises(UsageError, match='row 2: a.jpg: no such file'): read_catalogue(path, tmp_path/'images', file_col='id')

def test_nothing_outside_the_folder_is_found(tmp_path):
    path = shop(tmp_path, ['1.jpg'], ['../../../etc/passwd', '/etc/passwd', 'https://x.example/../../etc/passwd'])
    with pytest.raises(UsageError, match='leads out of the folder'): read_catalogue(path, tmp_path/'images', file_col='id')

def test_addresses_name_the_command_that_downloads_them(tmp_path, capsys):
    path = shop(tmp_path, ['1.jpg'], [f'https://shop.example/{i}.png' for i in range(5)], 'image url')
    assert main(['train', '--data', str(path), '--file-col', 'image url', '--images', str(tmp_path/'images'), '--out', str(tmp_path/'run')])==2
    said = capsys.readouterr().err
    assert f"data fetch {path} --file-col 'image url' --out FOLDER" in ' '.join(said.split()) and not (tmp_path/'run').exists()
    with pytest.raises(UsageError, match='holds addresses, such as https://shop.example/0.png'): write_rows([path], tmp_path, Columns('image url'))

def test_images_in_the_cells_are_no_names(tmp_path, capsys):
    path = shop(tmp_path, ['1.jpg'], [base64.b64encode(jpeg()).decode()]*3)
    assert main(['data', 'describe', str(path), '--file-col', 'id'])==2
    said = capsys.readouterr().err
    assert 'the cells of id hold images that are written as text (base64)' in ' '.join(said.split()) and len(said)<1500
    with pytest.raises(UsageError, match='base64'): write_rows([path], tmp_path, Columns('id'))

def test_rows_of_a_prediction_follow_the_rule_of_the_first_block(tmp_path, monkeypatch):
    monkeypatch.setattr('fashion_fastai.serving.inputs.BLOCK_ROWS', 8)
    path = shop(tmp_path, [f'{i:04}.jpg' for i in range(1, 31)], list(range(1, 31)))
    (tmp_path/'rows').mkdir()
    with pytest.warns(CatalogueWarning, match='are read as the files'): write_rows([path], tmp_path/'rows', Columns('id', images=tmp_path/'images'))
    rows = read_rows(tmp_path/'rows')
    assert rows.names(0, 2)==['1', '2'] and rows.table['path'].to_pylist()[-1]==str(tmp_path/'images/0030.jpg')
