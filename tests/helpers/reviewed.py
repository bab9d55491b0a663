"A small catalogue with suggestions of every form, as an audit writes them"
import pandas as pd
from PIL import Image, ImageDraw
from fashion_fastai.audit.issues import SUGGESTION_COLS
from fashion_fastai.audit.review import start_review
from fashion_fastai.config import make_config

ROWS = [ # category, attributes
    ('dress', 'belted'), ('shirt', 'striped'), ('dress', ''), ('Dress', 'belted striped'), ('shirt', ''), ('shirt', 'striped')]
SUGGESTIONS = [
    ('0.png', 2, 'category', 'dress', 'shirt', 0.93, 'wrong_label', ''),
    ('1.png', 3, 'category', 'shirt', 'dress', 0.97, 'wrong_label', 'no shirt is <belted>'),
    ('2.png', 4, 'attributes', '', 'striped', 0.8, 'missed_label', ''),
    ('4.png', 6, 'category', 'shirt', 'dress', 0.7, 'label_conflict', '')]
ISSUES = [ # kind, row, file, group, target, given, suggested, fix
    ('label_conflict', 6, '4.png', 0, '', '', '', ''), ('label_conflict', 7, '5.png', 0, '', '', '', ''),
    ('label_conflict', 2, '0.png', 0, '', '', '', ''),
    ('leak', 5, '3.png', 1, '', '', '', 'drop'),
    ('spelling', 0, '', -1, 'category', 'Dress', 'dress', '')]

def garment(path, i):
    image = Image.new('RGB', (300, 400), 'white')
    ImageDraw.Draw(image).polygon([(110,60), (190,60), (190+8*i,340), (110-8*i,340)], fill=['navy','firebrick','olive','teal','purple','sienna'][i])
    image.save(path)

def review_folder(folder):
    "Write a table, an audit of it, and a review that was just started; return the folder of the review"
    for i in range(len(ROWS)): garment(folder/f'{i}.png', i)
    table = pd.DataFrame(dict(file=[f'{i}.png' for i in range(len(ROWS))], category=[row[0] for row in ROWS],
        attributes=[row[1] for row in ROWS], split=['train']*4+['valid']*2))
    table.to_csv(folder/'shop.csv', index=False)
    (folder/'audit').mkdir()
    pd.DataFrame(SUGGESTIONS, columns=SUGGESTION_COLS).to_csv(folder/'audit/suggestions.csv', index=False)
    issues = pd.DataFrame(ISSUES, columns=['kind','row','file','group','target','given','suggested','fix'])
    issues.assign(score=1., reason='').to_csv(folder/'audit/audit.csv', index=False)
    start_review(folder/'review', make_config('two-head', dict(data=dict(path=str(folder/'shop.csv')))), folder/'audit', 'anna')
    return folder/'review'
