"A small drawn set in the files of the Meesho challenge: an attribute of the garment is the colour of a part of its image"
import csv
import numpy as np, pandas as pd
from PIL import Image

QUESTIONS = { # category: attribute: its answers
    'Men Tshirts': dict(color=['black', 'default', 'multicolor'], neck=['polo', 'round']),
    'Sarees': dict(border=['no border', 'small border'], color=['cream', 'red'], pattern=['solid', 'zari woven', 'striped']),
    'Kurtis': dict(fit_shape=['a-line', 'straight']),
    'Women Tshirts': dict(length=['crop', 'regular']),
    'Women Tops & Tunics': {f'detail_{i}': ['no', 'yes'] for i in range(1, 11)},
}
SLOTS = [f'attr_{i}' for i in range(1, 11)]

def draw_image(path, category, answers, rng):
    "The category is the background; each answer is the brightness of a stripe"
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[...,0] = 40*list(QUESTIONS).index(category)
    for i,answer in enumerate(answers): pixels[3*i:3*i+3,:,1] = 80*(answer+1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels+rng.integers(0, 8, pixels.shape, dtype=np.uint8)).save(path)

def draw_rows(folder, split, n, rng, known):
    "Rows of `train.csv` or `test.csv`; a share `known` of the answers is in the table"
    rows = []
    for number in range(n):
        category = list(QUESTIONS)[number%5]
        answers = [int(rng.integers(len(labels))) for labels in QUESTIONS[category].values()]
        draw_image(folder/f'{split}_images/{number:06d}.jpg', category, answers, rng)
        cells = [labels[answer] if rng.random()<known else '' for labels,answer in zip(QUESTIONS[category].values(), answers)]
        rows.append([number, category, len(cells), *cells, *['']*(10-len(cells))])
    return rows

def draw_meesho(folder, n=100, n_test=10, known=0.7, seed=0):
    "Write the set into `folder`; return the rows of `train.csv`"
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    table = [(category, len(names), list(names)) for category,names in QUESTIONS.items()]
    pd.DataFrame(table, columns=['Category', 'No_of_attribute', 'Attribute_list']).to_parquet(folder/'category_attributes.parquet')
    rows = draw_rows(folder, 'train', n, rng, known)
    for name,header,lines in (('train', ['id', 'Category', 'len', *SLOTS], rows), ('test', ['id', 'Category'], [row[:2] for row in draw_rows(folder, 'test', n_test, rng, 0)])):
        with (folder/f'{name}.csv').open('w', newline='') as file: csv.writer(file, lineterminator='\n').writerows([header, *lines])
    return rows
