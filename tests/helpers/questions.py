"A drawn catalogue in which three questions apply to some categories"
from pathlib import Path
import pandas as pd
from fashion_fastai.data.synthetic.attributes import LENGTHS, NECKS, SLEEVES

BELOW = ['shorts', 'skirt', 'trousers'] # have neither sleeves nor a neckline
ABOVE = ['coat', 'dress', 'jacket', 'jumpsuit', 'shirt', 'sweater', 't_shirt']
APPLIES = dict(neckline=dict(category=ABOVE), sleeve=dict(category=ABOVE), cut=dict(category=BELOW))

def questions_table(sample):
    "Return the table of the sample with a column for each of three questions instead of its attributes"
    table = pd.read_csv(sample, keep_default_na=False)
    labels = table.attributes.str.split()
    def one(group): return labels.map(lambda own: next((label for label in own if label in group), ''))
    below = table.category.isin(BELOW)
    cut = labels.map(lambda own: ' '.join(label for label in own if label in (*LENGTHS, 'pockets')))
    columns = dict(neckline=one(NECKS), sleeve=one(SLEEVES), cut=cut.where(below, ''))
    return table.drop(columns='attributes').assign(**columns)

def draw_questions(sample, folder):
    "Write the table into `folder`; its file names start from the folder of the sample"
    path = Path(folder)/'shop.csv'
    questions_table(sample).to_csv(path, index=False)
    return path
