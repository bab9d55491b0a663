"Which files of a folder are images, and what is said of the others"
import importlib.util
import pytest
from PIL import Image
from helpers.hostile import HEIC
from fashion_fastai.data.catalogue import CatalogueWarning
from fashion_fastai.data.formats.folders import read_folders
from fashion_fastai.data.images import BadImage, read_image
from fashion_fastai.serving.inputs import find_image_files

def draw(path, kind='JPEG'):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (20,20), 'navy').save(path, format=kind)

def test_every_image_of_a_folder_is_predicted_and_the_rest_is_counted(tmp_path):
    for name in ('1.jpg', '2.JPG', '3.jfif', '4.JPE', 'no-suffix', '.hidden.jpg'): draw(tmp_path/name)
    draw(tmp_path/'5.avif', 'AVIF')
    (tmp_path/'6.HEIC').write_bytes(HEIC)
    for name in ('Thumbs.db', 'notes.txt', 'more.txt'): (tmp_path/name).write_text('x')
    with pytest.warns(CatalogueWarning) as said: images = find_image_files(tmp_path)
    assert sorted(images.names)==['1.jpg', '2.JPG', '3.jfif', '4.JPE', '5.avif', '6.HEIC', 'no-suffix']
    assert str(said[0].message).endswith('left out 4 files that are no images: 2 .txt (such as more.txt), 1 hidden (.hidden.jpg), 1 .db (Thumbs.db)')

def test_folders_of_classes_read_and_count_the_same(tmp_path):
    for name in ('a.jpg', 'b.jfif', 'c.heif', 'd'): draw(tmp_path/f'shirt/{name}')
    (tmp_path/'shirt/order.psd').write_bytes(b'8BPS')
    (tmp_path/'dress').mkdir()
    draw(tmp_path/'dress/e.webp', 'WEBP')
    table = read_folders(tmp_path)
    assert table.frame.file.tolist()==['dress/e.webp', 'shirt/a.jpg', 'shirt/b.jfif', 'shirt/c.heif', 'shirt/d']
    assert table.notes[-1].endswith('left out a file that is no image: 1 .psd (shirt/order.psd)')

@pytest.mark.skipif(importlib.util.find_spec('pi_heif') is not None, reason='the extra heic is installed')
def test_heic_names_its_extra():
    with pytest.raises(BadImage, match=r"needs pi-heif: pip install 'fashion_fastai\[heic\]'"): read_image(HEIC)

@pytest.mark.skipif(importlib.util.find_spec('pi_heif') is None, reason='needs the extra heic')
def test_heic_is_read_with_its_extra():
    image = read_image(HEIC)
    assert image.size==(64,64) and image.getpixel((5,60))[0]>180 and image.getpixel((5,5))[2]>180
