"A predictor accepts every kind of image, and predicts the same however images are passed"
from dataclasses import replace
import numpy as np, pandas as pd, pytest
from PIL import Image
from fashion_fastai.config import make_config
from fashion_fastai.embeddings.ood import fit_ood_detector, run_ood_detector, write_ood_detector
from fashion_fastai.data.images import BadImage
from fashion_fastai.core.errors import UsageError
from fashion_fastai.evaluation.calibration import no_calibration
from fashion_fastai.evaluation.inference import predict_files
from fashion_fastai.models.inference import embed
from fashion_fastai.models.network import create_network, load_network, save_network
from fashion_fastai.run import start_run
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of
from fashion_fastai.serving.inputs import find_image_files
from fashion_fastai.serving.results import join_results, write_results
from fashion_fastai.serving.predictor import Predictor

SCHEMA = Schema(targets=[one_of('category', ['dress','shirt','skirt']), any_of('attributes', ['belted','striped']), one_of('gender', ['only'])])
HALF = (0.5,)*3

def make_run(path, schema=SCHEMA, loss='softmax', ood_detector=True, **image):
    config = make_config('two-head', dict(model=dict(arch='resnet10t', weights='none'), loss=dict(one_of=loss), image=dict(size=32, mean=HALF, std=HALF)|image))
    run,network = start_run(path, config, schema),create_network(schema, 'resnet10t', 32, 'none')
    save_network(network, run.model)
    if ood_detector: write_ood_detector(run, fit_ood_detector(embed(network.body, noise(60), HALF, HALF)))
    return run

def noise(n, seed=0, size=32): return np.random.default_rng(seed).integers(0, 255, (n,size,size,3), dtype=np.uint8)

@pytest.fixture(scope='module')
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shop')
    for i,o in enumerate(noise(7, 1, 50)): Image.fromarray(o).save(folder/f'{i}.png')
    (folder/'3.png').write_bytes(b'no image')
    pd.DataFrame(dict(file=[f'{i}.png' for i in (6,3,0)], x1=[0,0,10], y1=[0,0,10], x2=[50,50,40], y2=[50,50,40])).to_csv(folder/'table.csv', index=False)
    return folder

@pytest.fixture(scope='module')
def run(tmp_path_factory): return make_run(tmp_path_factory.mktemp('runs')/'run')

def test_every_kind_of_image_gets_the_same_result(run, shop):
    predictor,file = Predictor.load(run.path),shop/'0.png'
    ways = [file, str(file), file.read_bytes(), Image.open(file), np.asarray(Image.open(file))]
    results = [predictor(o) for o in ways]
    assert all(dict(o)==dict(results[0]) for o in results)
    assert [dict(o)==dict(results[0]) for o in predictor(ways, bs=1)]==[True]*5
    assert list(results[0])==SCHEMA.names and results[0]['gender'].labels==('only',)
    assert results[0].name==str(file) and results[2].name=='0'

def test_folder_table_and_list_agree(run, shop):
    predictor = Predictor.load(run.path)
    folder,table,some = predictor(shop),predictor(shop/'table.csv'),predictor([shop/'6.png', shop/'3.png', shop/'0.png'])
    assert len(folder)==7 and list(folder.bad)==[3] and list(table.bad)==[1]==list(some.bad)
    assert table.frame().category.tolist()==some.frame().category.tolist()==[folder[6]['category'].labels[0], '', folder[0]['category'].labels[0]]

@pytest.mark.parametrize('bs', [1, 3, 7, 17, 100])
def test_batches_come_whole_and_in_order(run, shop, bs):
    predictor,files = Predictor.load(run.path),[shop/f'{i%7}.png' for i in range(40)]
    parts = list(predictor.stream(files, bs))
    assert [len(o) for o in parts]==[min(bs, 40-i) for i in range(0, 40, bs)]
    joined = join_results(parts)
    assert joined.predictions.files==list(map(str, files)) and list(joined.bad)==[3,10,17,24,31,38]
    for v in joined.predictions.probs.values():
        assert np.isnan(v[list(joined.bad)]).all()
        np.testing.assert_allclose(v[:7], v[7:14], atol=1e-5)
    assert np.isnan(joined.apparel_distance[3]) and not joined.looks_like_apparel[3]

@pytest.mark.parametrize('loss', ['softmax', 'binary'])
def test_probabilities_are_those_of_evaluation(tmp_path, loss, shop):
    run = make_run(tmp_path/'run', loss=loss)
    calibration = replace(no_calibration(SCHEMA), temperatures=dict(category=0.6, gender=1.))
    calibration.write(run.calibration)
    results = Predictor.load(run.path)(find_image_files(shop))
    predictions,bad = results.predictions,results.bad
    probs,also_bad = predict_files(load_network(run), SCHEMA, find_image_files(shop).paths, run.config)
    expected = calibration.apply(replace(predictions, probs=probs)).probs
    assert bad==also_bad
    for k in SCHEMA.names: np.testing.assert_allclose(predictions.probs[k], expected[k], atol=1e-5)

def test_boxes_are_cropped_if_training_did(tmp_path, shop):
    with_box,without = [Predictor.load(make_run(tmp_path/o, ood_detector=False, crop=o).path) for o in ('box', 'none')]
    table,plain = with_box(shop/'table.csv'),without(shop/'table.csv')
    np.testing.assert_allclose(table.predictions.probs['category'][0], plain.predictions.probs['category'][0], atol=1e-5) # its box is all of it
    cut = Image.open(shop/'0.png').crop((10,10,40,40))
    np.testing.assert_allclose(table.predictions.probs['category'][2], without([cut]).predictions.probs['category'][0], atol=1e-5)

def test_ood_detector_decides_what_looks_like_apparel(run, tmp_path, shop):
    predictor,ood_detector = Predictor.load(run.path),run_ood_detector(run)
    images = [*noise(5, 2), np.full((32,32,3), 255, np.uint8)]
    results = predictor(images)
    expected = ood_detector.scores(embed(load_network(run).body, np.stack(images), HALF, HALF))
    np.testing.assert_allclose(results.apparel_distance, expected, atol=1e-4)
    assert predictor.limit==ood_detector.threshold() and results[5].looks_like_apparel is False and 'does not look like apparel' in str(results[5])
    strict = replace(results, limit=-1.)
    assert not strict.looks_like_apparel.any() and strict[0].looks_like_apparel is False
    without = Predictor.load(make_run(tmp_path/'without', ood_detector=False).path)(shop)
    assert without.apparel_distance is None and without[0].looks_like_apparel is None and 'apparel_distance' not in without.frame()

def test_results_hold_their_thresholds(run, shop):
    results = Predictor.load(run.path)(shop)
    marks = results.predictions.probs['attributes'][0]
    lower,upper = [replace(results, thresholds=dict(attributes=marks+o))[0] for o in (-1e-3, 1e-3)]
    assert lower['attributes'].labels==('belted','striped') and upper['attributes'].labels==()
    assert lower.thresholds['attributes']['belted']==pytest.approx(marks[0]-1e-3)

def test_result_table_survives_every_format(run, shop, tmp_path):
    frame = Predictor.load(run.path)(shop).frame(all_probs=True)
    for format in ('csv', 'parquet', 'jsonl'): write_results(frame, tmp_path/f'a.{format}', format)
    back = pd.read_parquet(tmp_path/'a.parquet')
    assert back['looks_like_apparel'].isna().tolist()==[i==3 for i in range(7)] and back.error[3]=='is not an image'
    assert pd.read_csv(tmp_path/'a.csv', keep_default_na=False).looks_like_apparel[3]==''
    np.testing.assert_allclose(frame['category/dress'].drop(3)+frame['category/shirt'].drop(3)+frame['category/skirt'].drop(3), 1, atol=1e-5)

def test_mistakes(run, tmp_path, shop):
    predictor = Predictor.load(run.path)
    with pytest.raises(BadImage, match='^nowhere.jpg: no such file'): predictor('nowhere.jpg')
    with pytest.raises(BadImage, match='3.png: is not an image'): predictor(shop)[3]['category']
    with pytest.raises(UsageError, match='no such file or folder'): predictor(tmp_path/'none.csv')
    with pytest.raises(UsageError, match='no such run folder'): Predictor.load(tmp_path/'none')
    damaged = make_run(tmp_path/'damaged')
    damaged.ood_detector.write_bytes(damaged.ood_detector.read_bytes()[:100])
    with pytest.raises(UsageError, match='ood_detector.safetensors cannot be read'): Predictor.load(damaged.path)
    write_ood_detector(damaged, fit_ood_detector(noise(40).reshape(40,-1)[:,:7].astype(float)))
    with pytest.raises(UsageError, match='was made for a body with 7 features, this one has 512'): Predictor.load(damaged.path)
