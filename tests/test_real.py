"Real product images, where they are at hand"
from fashion_fastai.data.catalogue import read_catalogue
from fashion_fastai.data.images import ImageReader

def test_real_pictures_are_read(products):
    catalogue = read_catalogue(products, one_of=['category', 'gender', 'season', 'usage', 'color'], any_of=['attributes'])
    assert catalogue.split_sizes()=={'train': 3543, 'valid': 738}
    assert catalogue.schema['color'].n_out==35 and 'na' in catalogue.schema['color'].vocab # a label that reads like a missing value
    some,pixels = catalogue.take(catalogue.where('valid')[:64]).decode(ImageReader(32))
    assert pixels.shape==(64,32,32,3) and pixels.std()>20
