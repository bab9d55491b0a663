"Batch prediction: a killed process loses and repeats nothing, bad images keep their rows, products are aggregated, nothing is left behind"
import json, os, subprocess, sys
import numpy as np, pandas as pd, pytest
from fashion_fastai.cli import main
from fashion_fastai.serving import shards
from fashion_fastai.serving.inputs import find_image_files
from fashion_fastai.serving.predictor import Predictor

@pytest.fixture
def shop(sample, tmp_path):
    "A table of 300 rows, two of them bad, three of each product; beside it columns of no interest"
    files = pd.concat([pd.read_csv(sample).file]*3, ignore_index=True).head(300)
    files[[17,230]] = 'images/none.jpg'
    rows = np.arange(300)
    split = np.where(rows<200, 'train', 'test')
    frame = pd.DataFrame(dict(file=files, product_id=rows//3%90, price=[{'eur': 1}]*300, split=split))
    frame.to_parquet(tmp_path/'shop.parquet')
    return tmp_path/'shop.parquet'

@pytest.fixture
def predict(run, sample, shop):
    "Return a function that runs `predict` on that table and returns the exit code"
    def call(out, *args, table=shop):
        options = ['--images', str(sample.parent), '--batch-size', '16', '--out', str(out)]
        return main(['predict', str(run), str(table), *options, *map(str, args)])
    return call

def beside(out): return sorted(path.name for path in out.parent.iterdir() if out.name in path.name)

# interrupted predictions

KILLER = '''
import json, os, random, signal, sys, time
from pathlib import Path
from fashion_fastai.serving import batch, ray_cluster, shards, torch_backend
from fashion_fastai.evaluation import consistency
from fashion_fastai.cli import main
args,out,kills,seed,rows = json.loads(sys.argv[1])
shards.SHARD_ROWS,random = rows,random.Random(seed)
def done(): return len(list(Path(f'{out}.shards').glob('0*.parquet')))
for kill in range(kills+1): # no network was loaded in this process, so it may be forked
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

def predict_killed(run, table, images, out, kills, seed, *args, rows=32):
    "Predict in a process that is killed `kills` times; return for each start the shards before and after, and whether it was killed"
    command = ['predict', str(run), str(table), '--images', str(images), '--batch-size', '16', '--out', str(out), *args]
    code = [sys.executable, '-c', KILLER, json.dumps([command, str(out), kills, seed, rows])]
    ended = subprocess.run(code, capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS='1'))
    assert ended.returncode==0, ended.stderr
    starts = [line.split() for line in ended.stdout.splitlines() if line[:1].isdigit()]
    return [(int(before), int(after), killed=='True') for before,after,killed in starts]

@pytest.mark.parametrize('name,kills', [('results.csv', 2), pytest.param('results.jsonl', 5, marks=pytest.mark.slow)])
def test_a_killed_prediction_loses_and_repeats_nothing(run, sample, shop, predict, tmp_path, name, kills):
    out = tmp_path/name
    starts = predict_killed(run, shop, sample.parent, out, kills, 42)
    assert [killed for *_,killed in starts]==[True]*kills+[False]
    assert any(before>0 for before,*_ in starts) # some shards were there to resume from
    assert beside(out)==[name]
    assert predict(tmp_path/f'whole-{name}')==0
    assert out.read_bytes()==(tmp_path/f'whole-{name}').read_bytes()

@pytest.mark.slow
def test_twenty_thousand_real_rows(products, tmp_path):
    table,run,out = tmp_path/'rows.parquet',tmp_path/'run',tmp_path/'results.parquet'
    files = pd.read_csv(products).file
    pd.DataFrame(dict(file=files.to_numpy()[np.arange(20_000)%len(files)])).to_parquet(table)
    assert main(['train', '--data', str(products), '--out', str(run), '--epochs', '0', '--size', '64'])==0
    starts = predict_killed(run, table, products.parent, out, 5, 1, rows=1024)
    print(f'shards before and after, and whether it was killed: {starts}')
    assert [killed for *_,killed in starts]==[True]*5+[False] and beside(out)==[out.name]
    options = ['--images', str(products.parent), '--batch-size', '16', '--out', str(tmp_path/'whole.parquet')]
    assert main(['predict', str(run), str(table), *options])==0
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(tmp_path/'whole.parquet'))

def test_a_killed_prediction_of_products(run, sample, shop, predict, tmp_path):
    args = ['--group-col', 'product_id', '--aggregate', 'vote']
    predict_killed(run, shop, sample.parent, tmp_path/'p.parquet', 1, 7, *args)
    assert predict(tmp_path/'whole.parquet', *args)==0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path/'p.parquet'), pd.read_parquet(tmp_path/'whole.parquet'))

class Interrupted(Exception): pass

@pytest.fixture
def interrupt(predict, monkeypatch):
    "Return a function that predicts three batches of sixteen, of which the first two are a shard, and is then interrupted"
    def call(out, *args):
        stream = Predictor.stream
        def three_batches(self, images, bs):
            for i,results in enumerate(stream(self, images, bs)):
                if i==3: raise Interrupted
                yield results
        with monkeypatch.context() as patched:
            patched.setattr(shards, 'SHARD_ROWS', 32)
            patched.setattr(Predictor, 'stream', three_batches)
            with pytest.raises(Interrupted): predict(out, *args)
        assert not out.exists() and beside(out)==[f'{out.name}.shards']
    return call

def test_shards_of_another_prediction_are_refused(interrupt, predict, shop, tmp_path, capsys):
    out = tmp_path/'results.csv'
    interrupt(out)
    for args,message in ((['--split', 'test'], 'of other images'), (['--batch-size', 8], 'started with batches of 16, not 8'),
            (['--no-calibration'], 'by another run, or with another calibration')):
        assert predict(out, *args)==2 and not out.exists()
        assert message in capsys.readouterr().err
    pd.read_parquet(shop).head(299).to_parquet(shop)
    assert predict(out)==2 and 'of other images' in capsys.readouterr().err
    (tmp_path/'other.csv.shards').mkdir()
    (tmp_path/'other.csv.shards/mine.txt').write_text('mine')
    assert predict(tmp_path/'other.csv')==2 and 'exists and holds no predictions' in capsys.readouterr().err
    assert (tmp_path/'other.csv.shards/mine.txt').read_text()=='mine'

def test_an_image_that_was_repaired_meanwhile_is_predicted(interrupt, predict, sample, shop, tmp_path):
    out,missing = tmp_path/'results.csv',sample.parent/'images/none.jpg'
    interrupt(out)
    try:
        missing.write_bytes((sample.parent/pd.read_csv(sample).file[0]).read_bytes())
        assert predict(out)==0
    finally: missing.unlink()
    results = pd.read_csv(out, keep_default_na=False)
    assert (results.error=='').all() and results.category[17]==results.category[230]==results.category[0]

# the same as in memory

def test_the_file_holds_what_the_predictor_returns(run, sample, shop, predict, tmp_path):
    expected = Predictor.load(run)(find_image_files(shop, images=sample.parent)).frame()
    for name in ('a.csv', 'a.parquet', 'a.jsonl'): assert predict(tmp_path/name)==0
    expected.to_csv(tmp_path/'expected.csv', index=False)
    expected.to_json(tmp_path/'expected.jsonl', orient='records', lines=True, force_ascii=False)
    assert (tmp_path/'a.csv').read_bytes()==(tmp_path/'expected.csv').read_bytes()
    assert (tmp_path/'a.jsonl').read_bytes()==(tmp_path/'expected.jsonl').read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path/'a.parquet'), expected)
    assert expected.error.tolist()[17]=='no such file' and (expected.error!='').sum()==2

@pytest.mark.parametrize('source', ['folder', 'images', 'csv'])
def test_every_kind_of_source(run, sample, tmp_path, source):
    files = sorted((sample.parent/'images').glob('*.jpg'))
    pd.read_csv(sample).head(3).to_csv(tmp_path/'three.csv', index=False)
    args = dict(folder=[sample.parent/'images'], images=files[:3], csv=[tmp_path/'three.csv', '--images', sample.parent])[source]
    assert main(['predict', str(run), *map(str, args), '--out', str(tmp_path/'a.csv')])==0
    assert len(pd.read_csv(tmp_path/'a.csv'))==(len(files) if source=='folder' else 3)

# products

@pytest.mark.parametrize('how', ['mean', 'max', 'vote'])
def test_products(run, sample, shop, predict, tmp_path, how):
    assert predict(tmp_path/'p.csv', '--group-col', 'product_id', '--aggregate', how)==0
    frame = pd.read_csv(tmp_path/'p.csv', keep_default_na=False)
    table,predictor = pd.read_parquet(shop),Predictor.load(run)
    results = predictor(find_image_files(shop, images=sample.parent))
    schema,readable = predictor.schema,~np.isin(np.arange(300), list(results.bad))
    has_apparel = pd.Series(readable & results.looks_like_apparel).groupby(table.product_id).transform('any').to_numpy()
    used = readable & (results.looks_like_apparel | ~has_apparel) # other images count only if the product has nothing else
    assert frame.product_id.tolist()==table.product_id.unique().tolist() and frame.images.sum()==300
    assert frame.used.tolist()==pd.Series(used).groupby(table.product_id, sort=False).sum().tolist() and 200<used.sum()<=298
    probs = results.predictions.probs
    category,attributes = [np.where(used[:,None], probs[name], np.nan) for name in ('category', 'attributes')]
    if how=='vote':
        winners = np.eye(category.shape[1])[np.nan_to_num(category).argmax(1)]
        category = np.where(np.isnan(category), np.nan, winners+1e-6*category)
        attributes = np.where(np.isnan(attributes), np.nan, attributes>=predictor.thresholds['attributes'])
    def aggregated(values):
        groups = pd.DataFrame(values.astype(float)).groupby(table.product_id, sort=False)
        return groups.agg('max' if how=='max' else 'mean').to_numpy()
    assert frame.category.tolist()==schema['category'].decode(aggregated(category).argmax(1))
    threshold = 0.5 if how=='vote' else predictor.thresholds['attributes']
    decided = schema['attributes'].decide(aggregated(attributes), threshold)
    assert frame.attributes.tolist()==schema['attributes'].decode(decided)

def test_invalid_options_for_products(predict, run, sample, tmp_path, capsys):
    for args,message in ((['--aggregate', 'mean'], 'name the column of products with --group-col'),
            (['--group-col', 'product'], 'did you mean product_id'),
            (['--group-col', 'product_id', '--aggregate', 'men'], 'did you mean mean'),
            (['--group-col', 'product_id', '--format', 'category-csv'], 'one line per image')):
        assert predict(tmp_path/'p.csv', *args)==2 and message in capsys.readouterr().err
        assert not beside(tmp_path/'p.csv')
    args = [str(run), str(sample.parent/'images'), '--group-col', 'product_id', '--out', str(tmp_path/'p.csv')]
    assert main(['predict', *args])==2 and 'has no column product_id' in capsys.readouterr().err

# submissions

def test_a_submission_resumes_once_the_images_are_repaired(run, sample, tmp_path, capsys):
    frame = pd.read_csv(sample).head(20)[['file']]
    frame.loc[3, 'file'] = 'images/late.jpg'
    frame.to_csv(tmp_path/'t.csv', index=False)
    options = ['--images', str(sample.parent), '--format', 'category-csv', '--out', str(tmp_path/'s.csv')]
    args = ['predict', str(run), str(tmp_path/'t.csv'), *options]
    assert main(args)==2 and 'images/late.jpg: no such file' in capsys.readouterr().err
    assert beside(tmp_path/'s.csv')==['s.csv.shards']
    try:
        (sample.parent/'images/late.jpg').write_bytes((sample.parent/frame.file[0]).read_bytes())
        assert main(args)==0
    finally: (sample.parent/'images/late.jpg').unlink()
    lines = (tmp_path/'s.csv').read_text().splitlines()
    assert len(lines)==21 and lines[4].split(',')[1]==lines[1].split(',')[1] and beside(tmp_path/'s.csv')==['s.csv']
