"Bulk prediction: a process that is killed loses and repeats nothing, bad images are rows, products are brought together, and nothing is left behind"
import json, os, subprocess, sys
import numpy as np, pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.serving.inputs import find_image_files
from fashion_fastai.serving.predictor import Predictor
from fashion_fastai.serving import parts as parts_of

@pytest.fixture
def shop(sample, tmp_path):
    "A table of 300 rows, two of them bad, three of each product; beside it columns of no interest"
    files = pd.read_csv(sample).file
    files = pd.concat([files]*3, ignore_index=True).head(300)
    files[[17,230]] = 'images/none.jpg'
    frame = pd.DataFrame(dict(file=files, product_id=np.arange(300)//3%90, price=[{'eur': 1}]*300, split=np.where(np.arange(300)<200, 'train', 'test')))
    frame.to_parquet(tmp_path/'shop.parquet')
    return tmp_path/'shop.parquet'

@pytest.fixture
def predict(run, sample, shop):
    "Run `predict` on that table; gives the exit code"
    def call(out, *args, table=shop): return main(['predict', str(run), str(table), '--images', str(sample.parent), '--batch-size', '16', '--out', str(out), *map(str, args)])
    return call

def beside(out): return sorted(o.name for o in out.parent.iterdir() if out.name in o.name)

# what was cut off

KILLER = '''
import json, os, random, signal, sys, time
from pathlib import Path
from fashion_fastai.serving import bulk, cluster, parts
from fashion_fastai.models import answering, folding, storage
from fashion_fastai.evaluation import kept, screen
from fashion_fastai.cli import main
args,out,kills,seed,rows = json.loads(sys.argv[1])
parts._PART,random = rows,random.Random(seed)
def done(): return len(list(Path(f'{out}.parts').glob('0*.parquet')))
for kill in range(kills+1): # nothing has run in this process, so it may be forked
    before,child = done(),os.fork()
    if not child: os._exit(main(args))
    more,wait = random.randint(0, 2),random.random()*0.05
    while kill<kills and done()<before+more and os.waitpid(child, os.WNOHANG)==(0,0): time.sleep(0.002)
    if kill<kills:
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    print(before, done(), os.WIFSIGNALED(status), flush=True)
'''

def killed(run, table, images, out, kills, seed, *args, rows=32):
    "Predict in a process that is killed so often; gives the parts that were done before each time, those after it, and whether it was killed"
    args = [['predict', str(run), str(table), '--images', str(images), '--batch-size', '16', '--out', str(out), *args], str(out), kills, seed, rows]
    ended = subprocess.run([sys.executable, '-c', KILLER, json.dumps(args)], capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS='1'))
    assert ended.returncode==0, ended.stderr
    rows = [o.split() for o in ended.stdout.splitlines() if o[:1].isdigit()]
    return [(int(before), int(after), gone=='True') for before,after,gone in rows]

@pytest.mark.parametrize('name,kills', [('answers.csv', 2), pytest.param('answers.jsonl', 5, marks=pytest.mark.slow)])
def test_a_killed_prediction_loses_and_repeats_nothing(run, sample, shop, predict, tmp_path, name, kills):
    out = tmp_path/name
    seen = killed(run, shop, sample.parent, out, kills, 42)
    assert [o[2] for o in seen]==[True]*kills+[False] # killed so often, and then it ended by itself
    assert any(before>0 for before,*_ in seen) # something was there to go on from
    assert beside(out)==[name]
    assert predict(tmp_path/f'whole-{name}')==0
    assert out.read_bytes()==(tmp_path/f'whole-{name}').read_bytes()

@pytest.mark.slow
def test_twenty_thousand_real_rows(products, tmp_path):
    table,run,out = tmp_path/'rows.parquet',tmp_path/'run',tmp_path/'answers.parquet'
    files = pd.read_csv(products).file
    pd.DataFrame(dict(file=files.to_numpy()[np.arange(20_000)%len(files)])).to_parquet(table)
    assert main(['train', '--data', str(products), '--out', str(run), '--epochs', '0', '--size', '64'])==0
    seen = killed(run, table, products.parent, out, 5, 1, rows=1024)
    print(f'parts before and after, and whether it was killed: {seen}')
    assert [o[2] for o in seen]==[True]*5+[False] and beside(out)==[out.name]
    assert main(['predict', str(run), str(table), '--images', str(products.parent), '--batch-size', '16', '--out', str(tmp_path/'whole.parquet')])==0
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(tmp_path/'whole.parquet'))

def test_a_killed_prediction_of_products(run, sample, shop, predict, tmp_path):
    args = ['--group-col', 'product_id', '--aggregate', 'vote']
    killed(run, shop, sample.parent, tmp_path/'p.parquet', 1, 7, *args)
    assert predict(tmp_path/'whole.parquet', *args)==0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path/'p.parquet'), pd.read_parquet(tmp_path/'whole.parquet'))

class Cut(Exception): pass

@pytest.fixture
def cut_off(predict, monkeypatch):
    "Predict three batches of sixteen, of which the first two are a part, and break off"
    def call(out, *args):
        stream = Predictor.stream
        def some(self, images, bs):
            for i,o in enumerate(stream(self, images, bs)):
                if i==3: raise Cut
                yield o
        with monkeypatch.context() as patched:
            patched.setattr(parts_of, '_SHARD_ROWS', 32)
            patched.setattr(Predictor, 'stream', some)
            with pytest.raises(Cut): predict(out, *args)
        assert not out.exists() and beside(out)==[f'{out.name}.parts']
    return call

def test_other_peoples_parts_are_refused(cut_off, predict, shop, tmp_path, capsys):
    out = tmp_path/'answers.csv'
    cut_off(out)
    for args,said in ((['--split', 'test'], 'of other images'), (['--batch-size', 8], 'begun with batches of 16, not 8'), (['--no-calibration'], 'by another run, or with another calibration')):
        assert predict(out, *args)==2 and not out.exists()
        assert said in capsys.readouterr().err
    pd.read_parquet(shop).head(299).to_parquet(shop)
    assert predict(out)==2 and 'of other images' in capsys.readouterr().err
    (tmp_path/'other.csv.parts').mkdir()
    (tmp_path/'other.csv.parts/mine.txt').write_text('mine')
    assert predict(tmp_path/'other.csv')==2 and 'is in the way' in capsys.readouterr().err
    assert (tmp_path/'other.csv.parts/mine.txt').read_text()=='mine'

def test_a_picture_that_was_mended_meanwhile_has_an_answer(cut_off, predict, sample, shop, tmp_path):
    out = tmp_path/'answers.csv'
    cut_off(out)
    try:
        (sample.parent/'images/none.jpg').write_bytes((sample.parent/pd.read_csv(sample).file[0]).read_bytes())
        assert predict(out)==0
    finally: (sample.parent/'images/none.jpg').unlink()
    answers = pd.read_csv(out, keep_default_na=False)
    assert (answers.error=='').all() and answers.category[17]==answers.category[230]==answers.category[0]

# the same as in memory

def test_it_is_what_the_predictor_says(run, sample, shop, predict, tmp_path):
    expected = Predictor.load(run)(find_image_files(shop, images=sample.parent)).frame()
    for name in ('a.csv', 'a.parquet', 'a.jsonl'): assert predict(tmp_path/name)==0
    expected.to_csv(tmp_path/'expected.csv', index=False)
    expected.to_json(tmp_path/'expected.jsonl', orient='records', lines=True, force_ascii=False)
    assert (tmp_path/'a.csv').read_bytes()==(tmp_path/'expected.csv').read_bytes()
    assert (tmp_path/'a.jsonl').read_bytes()==(tmp_path/'expected.jsonl').read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path/'a.parquet'), expected)
    assert expected.error.tolist()[17]=='no such file' and (expected.error!='').sum()==2

@pytest.mark.parametrize('source', ['folder', 'images', 'csv'])
def test_whatever_is_pointed_at(run, sample, tmp_path, source):
    files = sorted((sample.parent/'images').glob('*.jpg'))[:3]
    pd.read_csv(sample).head(3).to_csv(tmp_path/'three.csv', index=False)
    given = dict(folder=[sample.parent/'images'], images=files, csv=[tmp_path/'three.csv', '--images', sample.parent])[source]
    assert main(['predict', str(run), *map(str, given), '--out', str(tmp_path/'a.csv')])==0
    assert len(pd.read_csv(tmp_path/'a.csv'))==(len(list((sample.parent/'images').glob('*.jpg'))) if source=='folder' else 3)

# products

@pytest.mark.parametrize('how', ['mean', 'max', 'vote'])
def test_products(run, sample, shop, predict, tmp_path, how):
    assert predict(tmp_path/'p.csv', '--group-col', 'product_id', '--aggregate', how)==0
    found = pd.read_csv(tmp_path/'p.csv', keep_default_na=False)
    table,predictor = pd.read_parquet(shop),Predictor.load(run)
    answers = predictor(find_image_files(shop, images=sample.parent))
    schema,good = predictor.schema,~np.isin(np.arange(300), list(answers.bad))
    shown = pd.Series(good & answers.looks_like_apparel).groupby(table.product_id).transform('any').to_numpy()
    echo = good & (answers.looks_like_apparel | ~shown) # what looks like no apparel has a say where nothing else has
    assert found.product_id.tolist()==table.product_id.unique().tolist() and found.images.sum()==300
    assert found.used.tolist()==pd.Series(echo).groupby(table.product_id, sort=False).sum().tolist() and 200<echo.sum()<=298
    category,attributes = [np.where(echo[:,None], answers.predictions.probs[o], np.nan) for o in ('category', 'attributes')]
    if how=='vote':
        category = np.where(np.isnan(category), np.nan, np.eye(category.shape[1])[np.nan_to_num(category).argmax(1)]+1e-6*category)
        attributes = np.where(np.isnan(attributes), np.nan, attributes>=predictor.thresholds['attributes'])
    grouped = {k: pd.DataFrame(v.astype(float)).groupby(table.product_id, sort=False).agg('max' if how=='max' else 'mean') for k,v in dict(c=category, a=attributes).items()}
    assert found.category.tolist()==schema['category'].decode(grouped['c'].to_numpy().argmax(1))
    threshold = 0.5 if how=='vote' else predictor.thresholds['attributes']
    assert found.attributes.tolist()==schema['attributes'].decode(schema['attributes'].decide(grouped['a'].to_numpy(), threshold))

def test_products_are_asked_for_right(predict, run, sample, tmp_path, capsys):
    for args,said in ((['--aggregate', 'mean'], 'say with --group-col'), (['--group-col', 'product'], 'did you mean product_id'), (['--group-col', 'product_id', '--aggregate', 'men'], 'did you mean mean'),
            (['--group-col', 'product_id', '--format', 'category-csv'], 'a line for each image')):
        assert predict(tmp_path/'p.csv', *args)==2 and said in capsys.readouterr().err
        assert not beside(tmp_path/'p.csv')
    assert main(['predict', str(run), str(sample.parent/'images'), '--group-col', 'product_id', '--out', str(tmp_path/'p.csv')])==2
    assert 'has no column product_id' in capsys.readouterr().err

# submissions

def test_a_submission_goes_on_once_the_pictures_are_mended(run, sample, tmp_path, capsys):
    frame = pd.read_csv(sample).head(20)[['file']]
    frame.loc[3, 'file'] = 'images/late.jpg'
    frame.to_csv(tmp_path/'t.csv', index=False)
    args = ['predict', str(run), str(tmp_path/'t.csv'), '--images', str(sample.parent), '--format', 'category-csv', '--out', str(tmp_path/'s.csv')]
    assert main(args)==2 and 'images/late.jpg: no such file' in capsys.readouterr().err
    assert beside(tmp_path/'s.csv')==['s.csv.parts']
    try:
        (sample.parent/'images/late.jpg').write_bytes((sample.parent/frame.file[0]).read_bytes())
        assert main(args)==0
    finally: (sample.parent/'images/late.jpg').unlink()
    lines = (tmp_path/'s.csv').read_text().splitlines()
    assert len(lines)==21 and lines[4].split(',')[1]==lines[1].split(',')[1] and beside(tmp_path/'s.csv')==['s.csv']
