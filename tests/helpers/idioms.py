"""What becomes of the idioms of fastai: each as its users write it, its outcome, and a check that runs

`python tests/helpers/idioms.py` writes the table of docs/reference/fastai.md; tests/test_idioms.py runs every line.
"""
import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2]/'docs'/'reference'/'fastai.md'
WORKS, DIFFERS, REFUSED = OUTCOMES = 'works', 'differs', 'refused'


class Idiom(NamedTuple):
    "A line of code as a user of fastai writes it"
    code:str
    outcome:str = WORKS
    note:str = '' # how it differs, or the message of the refusal
    check:str = '' # Python that asserts what a user would notice


IDIOMS = {
'Data': [
    Idiom("ImageDataLoaders.from_df(frame, folder, fn_col='file', label_col='category', valid_col='is_valid', "
        "item_tfms=Resize(32), bs=8)", check="fashion_learner(_).fit(1)"),
    Idiom("DataBlock((ImageBlock, CategoryBlock, MultiCategoryBlock), get_x=ColReader('file', pref=folder), "
        "get_y=[ColReader('category'), ColReader('attributes', label_delim=' ')], n_inp=1, item_tfms=Resize(32))",
        check="learn = fashion_learner(_.dataloaders(frame, bs=8), names=['what', 'like'])\nlearn.fit(1)\n"
            "assert 'valid/like/samples_f1' in learn.history.rows[0]"),
    Idiom("MultiCategoryBlock(encoded=True, vocab=['belted', 'striped'])",
        check="block = DataBlock((ImageBlock, _), get_x=ColReader('file', pref=folder), item_tfms=Resize(32), "
            "get_y=lambda row: [float('l' in row.attributes), float('t' in row.attributes)])\n"
            "fashion_learner(block.dataloaders(frame, bs=8)).fit(1)"),
    Idiom("fashion_learner(DataBlock((ImageBlock, RegressionBlock), get_x=ColReader('file', pref=folder), "
        "get_y=lambda row: 1., item_tfms=Resize(32)).dataloaders(frame, bs=8))", REFUSED,
        'its labels are unknown, since its block is neither a CategoryBlock nor a MultiCategoryBlock'),
    Idiom("fashion_learner(DataBlock((ImageBlock, CategoryBlock), get_x=ColReader('file', pref=folder), "
        "get_y=ColReader('category'), item_tfms=Resize(32)).dataloaders(frame.replace('dress', ''), bs=8))", REFUSED, 'one of its labels is an empty text; leave out such rows, give them a '
        'label, or use `read_catalogue`, for which an empty cell is an unknown label'),
    Idiom("block.weighted_dataloaders(frame, weights, bs=8)",
        check="assert fashion_learner(_).dls.train.one_batch()[0].shape[0]==8"),
    Idiom("catalogue.dataloaders(32, dl_type=WeightedDL)", REFUSED, 'weights=... draws rows by weight'),
    Idiom("catalogue.dataloaders(32, 8, item_tfms=RandomResizedCrop(32), batch_tfms=aug_transforms())", DIFFERS,
        '`item_tfms` receive the image at `load_size`; `batch_tfms` follow our own `augment`, which `augment=None` '
        'turns off', check="assert _.one_batch()[0].shape==(8,3,32,32)"),
    Idiom("catalogue.dataloaders(32, 8, batch_tfms=Normalize.from_stats(*imagenet_stats))",
        check="learn = fashion_learner(_)\n"
            "assert sum(isinstance(tfm, Normalize) for tfm in learn.dls.train.after_batch.fs)==1"),
    Idiom("dls.show_batch(max_n=4)"),
    Idiom("dls.train.one_batch()", check="assert [len(tensor) for tensor in _]==[8, 8, 8]"),
    Idiom("dls.vocab, dls.c", DIFFERS, 'lists, with an entry for each target',
        check="assert [len(vocab) for vocab in _[0]]==list(_[1])==[t.n_out for t in catalogue.schema]"),
    Idiom("dls.test_dl(catalogue.paths[:3])", check="assert [p.shape[0] for p in learn.get_preds(dl=_)[0]]==[3, 3]"),
    Idiom("dls.test_dl(frame)", check="assert len(learn.get_preds(dl=_)[0][0])==len(frame)"),
    Idiom("dls.test_dl(frame, with_labels=True)", REFUSED, 'only positions in the catalogue have labels; '
        'read a table with labels of its own by read_catalogue'),
],
'Learner': [
    Idiom("fashion_learner(dls, path='here', model_dir='weights')",
        check="assert str(_.save('a'))=='here/weights/a.pth'"),
    Idiom("fashion_learner(dls, opt_func=ranger)", check="_.fit_flat_cos(1, 1e-3)"),
    Idiom("fashion_learner(dls, opt_func=Lamb)", check="_.fit_one_cycle(1, 1e-3)"),
    Idiom("fashion_learner(dls, opt_func=partial(OptimWrapper, opt=torch.optim.SGD))", check="_.fit_one_cycle(1)"),
    Idiom("fashion_learner(dls, lr=3e-3, wd=0.1, moms=(0.9,0.8,0.9))",
        check="_.fit(1)\nassert (_.opt.hypers[-1]['lr'], _.opt.hypers[-1]['wd'])==(3e-3, 0.1)"),
    Idiom("fashion_learner(dls, splitter=trainable_params)", check="_.unfreeze()\n_.fit(1)"),
    Idiom("fashion_learner(dls, pretrained=False)", REFUSED, "use weights='none' for random weights"),
    Idiom("fashion_learner(dls, train_bn=True)", REFUSED,
        'norms of frozen groups keep their statistics and are not trained'),
    Idiom("fashion_learner(dls, loss_func=CrossEntropyLossFlat())", REFUSED,
        'use loss=dict(...) for the settings of FashionLoss'),
    Idiom("fashion_learner(dls, model=network)", REFUSED,
        'fashion_learner makes the network; give one of your own to FashionLearner(dls, model)'),
    Idiom("FashionLearner(dls, network, metrics='category/accuracy')",
        check="_.fit(1)\nassert _.recorder.metric_names[3]=='category/accuracy'"),
    Idiom("learn.loss_func = CrossEntropyLossFlat()", REFUSED, 'knows one target and no missing labels'),
    Idiom("learn.summary()", check="assert 'Total params' in str(_)"),
    Idiom("learn.model(learn.dls.one_batch()[0])", DIFFERS, 'a tuple with the logits of each target',
        check="assert [logits.shape[1] for logits in _]==[t.n_out for t in learn.schema]"),
],
'Metrics': [
    Idiom("fashion_learner(dls, metrics=accuracy)", REFUSED, 'metric accuracy is for one target, and there are 2 '
        "(category, attributes); say which: on_target(accuracy, 'category')"),
    Idiom("fashion_learner(dls, metrics=on_target(accuracy, 'category'))",
        check="_.fit(1)\nassert abs(_.final_record[-1]-_.history.rows[-1]['valid/category/accuracy'])<1e-6"),
    Idiom("fashion_learner(dls, metrics=[on_target(F1ScoreMulti(), 'attributes'), 'category/macro_f1'])",
        check="_.fit(1)\nassert _.recorder.metric_names[3:5]==['attributes/f1_score', 'category/macro_f1']"),
    Idiom("fashion_learner(dls, metrics=on_target(partial(sklearn.metrics.f1_score, average='micro'), 'attributes'))",
        check="_.fit(1)\nassert 0<=_.final_record[-1]<=1"),
    Idiom("fashion_learner(single, metrics=[accuracy, error_rate, F1Score(average='macro')])",
        check="_.fit(1)\nassert _.recorder.metric_names[3:6]==['accuracy', 'error_rate', 'f1_score']\n"
            "assert abs(_.final_record[2]-_.history.rows[-1]['valid/category/accuracy'])<1e-6"),
    Idiom("fashion_learner(single, metrics=RocAuc())", DIFFERS, 'NaN, with a warning, while a category has no row in '
        'the validation split; `category/auroc` is the mean of the others',
        check="with warnings.catch_warnings(record=True): _.fit(1)\nassert math.isnan(_.final_record[-1])"),
    Idiom("fashion_learner(dls, metrics=both_right)", DIFFERS,
        'a function receives the logits and the labels of all targets, unknown ones as -1',
        check="_.fit(1)\nassert 0<=_.final_record[-1]<=1"),
    Idiom("learn.metrics = ['category/macro_f1', 'attributes/recall']",
        check="learn.fit(1)\nassert learn.final_record[2]==learn.history.rows[-1]['valid/category/macro_f1']"),
    Idiom("learn.metrics = ['category/acuracy']", REFUSED,
        "unknown score 'category/acuracy'; did you mean category/accuracy"),
    Idiom("learn.metrics = on_target(F1ScoreMulti, 'attributes')", REFUSED,
        'F1ScoreMulti makes a metric; write F1ScoreMulti()'),
    Idiom("learn.recorder.train_metrics = True", check="learn.fit(1)\n"
        "values = dict(zip(learn.recorder.metric_names[1:], learn.recorder.values[-1]))\n"
        "assert values['train_category/accuracy']==learn.history.rows[-1]['train/category/accuracy']"),
],
'Training': [
    Idiom("learn.fit(1, 1e-3)", check="assert len(learn.history.rows)==1"),
    Idiom("learn.fit_one_cycle(1, slice(1e-4, 1e-2), pct_start=0.3, div=10, wd=0.1, moms=(0.9,0.8,0.9))"),
    Idiom("learn.fine_tune(1)", check="assert [row['unfrozen'] for row in learn.history.rows]==[0, 3]"),
    Idiom("learn.fit_flat_cos(1, 1e-3)"),
    Idiom("learn.fit_sgdr(1, 1, 1e-3)"),
    Idiom("learn.lr_find(num_it=40, suggest_funcs=(minimum, steep, valley, slide))", DIFFERS,
        'the same; `search_lr` is an error where no rate is suggested', check="assert _.valley>0\n"
            "assert not learn.history.rows"),
    Idiom("learn.freeze_to(-2)", check="assert sum(p.requires_grad for p in learn.model.body.parameters())>0"),
    Idiom("learn.unfreeze()", check="assert all(p.requires_grad for p in learn.model.parameters())"),
    Idiom("learn.freeze()", DIFFERS, 'a learner begins frozen; norms of frozen groups keep their statistics',
        check="assert not any(p.requires_grad for p in learn.model.body.parameters())"),
    Idiom("learn.to_bf16()", check="_.fit(1)\nassert math.isfinite(_.history.rows[0]['valid/loss'])"),
    Idiom("learn.to_fp16()", check="_.fit(1)\nassert math.isfinite(_.history.rows[0]['valid/loss'])"),
    Idiom("learn.to_channelslast(use_amp=False)", DIFFERS, 'a learner is channels-last already'),
    Idiom("with learn.no_bar(), learn.no_logging(): learn.fit(1)",
        check="assert printed()=='' and len(learn.history.rows)==1"),
    Idiom("learn.one_batch(0, learn.dls.one_batch())", check="assert math.isfinite(learn.loss)",
        note='after a fit, as in fastai'),
    Idiom("learn.show_training_loop()"),
],
'Callbacks': [
    Idiom("learn.fit(2, cbs=SaveModelCallback(monitor='valid/category/accuracy', fname='best'))",
        check="best = max(row['valid/category/accuracy'] for row in learn.history.rows)\n"
            "assert learn.path.joinpath('models/best.pth').exists()\n"
            "assert abs(learn.validate()[1]-best)<1e-6"),
    Idiom("learn.fit(3, 0., cbs=EarlyStoppingCallback(monitor='attributes/macro_f1'))",
        check="assert len(learn.history.rows)==2"),
    Idiom("learn.fit(2, 0., cbs=ReduceLROnPlateau(monitor='category/loss'))",
        check="assert 'category/loss' in learn.recorder.metric_names"),
    Idiom("learn.fit(1, cbs=SaveModelCallback(monitor='category/acuracy'))", REFUSED,
        "unknown monitor of SaveModelCallback 'category/acuracy'; did you mean category/accuracy"),
    Idiom("learn.fit(1, cbs=SaveModelCallback(monitor='category/accuracy', comp=np.less))", REFUSED,
        'the name category/accuracy makes fastai look for the smallest value; add comp=np.greater'),
    Idiom("learn.fit(2, cbs=[GradientClip(1.), GradientAccumulation(16)])"),
    Idiom("learn = fashion_learner(dls, cbs=CSVLogger())", check="learn.fit(2)\n"
        "assert len(pd.read_csv('history.csv'))==2\nlearn.fit(1)\nassert printed().count('epoch 1 of')==2"),
    Idiom("learn.fit(1, cbs=TerminateOnNaNCallback())"),
    Idiom("learn.fit(1, cbs=ShortEpochCallback(0.5))"),
    Idiom("learn.fit(1, cbs=FetchPredsCallback())"),
    Idiom("learn.fit(1, cbs=ActivationStats(with_hist=True))"),
    Idiom("learn.fit(1, cbs=ShowGraphCallback())", DIFFERS,
        'in a script a warning that names `learn.recorder.plot_loss()`; in a notebook it draws'),
    Idiom("learn.fit(1, cbs=MixUp())", REFUSED, 'MixUp mixes the labels of a single target; use MixUpCutMix(mixup=0.4)'
        ' or MixUpCutMix(cutmix=1.), which mix the losses of all targets'),
    Idiom("learn.fit(1, cbs=CutMix())", REFUSED, 'CutMix mixes the labels of a single target'),
    Idiom("learn.fit(1, cbs=MixUpCutMix(mixup=0.4))", DIFFERS, 'train scores compare the mixed images with the labels '
        'of the image that has the larger share', check="assert 'train/category/accuracy' in learn.history.rows[0]"),
    Idiom("learn.fit(1, cbs=SaliencyOfValidation())", check="assert learn.saliency>0",
        note='a callback of your own may use autograd on what it sees in validation'),
    Idiom("with learn.added_cbs(GradientClip()): learn.fit(1)",
        check="assert not hasattr(learn, 'gradient_clip')"),
    Idiom("with learn.removed_cbs(learn.history): learn.fit(1)", check="assert learn.history.rows==[]"),
    Idiom("learn.add_cb(GradientClip).remove_cb(GradientClip)"),
],
'Results': [
    Idiom("learn.validate()", check="assert len(_)==3 and learn.history.rows==[]"),
    Idiom("learn.get_preds(with_input=True, with_loss=True, with_decoded=True)", DIFFERS,
        'probabilities, labels and decisions are tuples, also for one target',
        check="assert len(_)==5 and all(len(part)==2 for part in _[1:4]) and _[4].ndim==1"),
    Idiom("learn.get_preds(dl=dls.test_dl(catalogue.paths[:3]))", check="assert _[1] is None"),
    Idiom("learn.predict(catalogue.paths[0])", DIFFERS, 'a `TargetResult` for each target',
        check="assert set(_)=={'category', 'attributes'} and len(_['category'].labels)==1"),
    Idiom("learn.predict(PILImage.create(catalogue.paths[0]))", DIFFERS, 'a `TargetResult` for each target'),
    Idiom("learn.predict(np.random.rand(32,32,3)), learn.predict(torch.rand(3,32,32))", DIFFERS,
        'numbers with decimals are read from 0 to 1', check="assert set(_[0])==set(_[1])"),
    Idiom("learn.predict(2*torch.rand(3,32,32)-1)", REFUSED, 'whole numbers are read from 0 to 255, numbers with '
        'decimals from 0 to 1'),
    Idiom("learn.predict(catalogue.paths[:3])", REFUSED, 'a list is not an image'),
    Idiom("learn.loss_func.decodes(learn.get_preds()[0])", check="assert [len(codes) for codes in _]==[n_valid]*2"),
    Idiom("learn.tta(n=2)", DIFFERS, 'copies are made by the training changes of the loader; tuples as in `get_preds`',
        check="assert [len(p) for p in _[0]]==[n_valid]*2"),
    Idiom("learn.show_results(max_n=4)"),
    Idiom("learn.recorder.plot_loss()", check="assert len(_.lines)==2"),
    Idiom("learn.recorder.plot_sched()", note='after `fit_one_cycle`'),
    Idiom("Interpretation.from_learner(learn)", REFUSED,
        'Interpretation knows a single target; use FashionInterpretation.from_learner(learn)'),
    Idiom("ClassificationInterpretation.from_learner(learn)", REFUSED,
        'ClassificationInterpretation knows a single target; use FashionInterpretation.from_learner(learn)'),
    Idiom("FashionInterpretation.from_learner(learn).plot_confusion_matrix()"),
],
'Saving': [
    Idiom("learn.save('last'); learn.load('last')", check="learn.fit(1)"),
    Idiom("learn.export('export.pkl'); loaded = load_learner('export.pkl')", DIFFERS,
        'without the images and labels of a catalogue; a run folder is the safer file, see above',
        check="assert np.allclose(probs_of(loaded), probs_of(learn), atol=1e-6)\n"
            "n = sum(p.numel()*4 for p in learn.model.parameters())\n"
            "assert Path('export.pkl').stat().st_size<n+100_000"),
    Idiom("pickle.loads(pickle.dumps(learn))", note='with the images that the loaders hold',
        check="assert torch.equal(_.get_preds()[0][0], learn.get_preds()[0][0])\n_.fit(1)"),
],
}


def counts():
    "Return the number of idioms by outcome"
    every = [idiom.outcome for idioms in IDIOMS.values() for idiom in idioms]
    return {outcome: every.count(outcome) for outcome in OUTCOMES}

def table():
    "Return the counts and the tables of the page"
    numbers = counts()
    text = [f'Of {sum(numbers.values())} idioms {numbers[WORKS]} work as in fastai, {numbers[DIFFERS]} work and differ, '
        f'and {numbers[REFUSED]} are refused in one sentence.']
    for group, idioms in IDIOMS.items():
        rows = [f'| `{idiom.code}` | {idiom.outcome}{": " if idiom.note else ""}{idiom.note} |' for idiom in idioms]
        text.append('\n'.join([f'### {group}', '', '| fastai | here |', '| --- | --- |', *rows]))
    return '\n\n'.join(text)

def with_table(page):
    "Return the text of the page with the table of today"
    return re.sub(r'(<!-- idioms -->\n).*(\n<!-- /idioms -->)', lambda found: found[1]+table()+found[2], page, flags=re.S)

def run(idiom, names):
    "Run an idiom with the variables `names`, and assert its outcome"
    from fashion_fastai.core.errors import UsageError
    from fashion_fastai.data.images import BadImage
    statement = re.match(r'with |\w+(\.\w+)* = |.*; ', idiom.code)
    def do(): exec(idiom.code if statement else f'_ = {idiom.code}', names)
    if idiom.outcome!=REFUSED:
        do()
        exec(idiom.check, names)
        return
    try: do()
    except (UsageError, BadImage) as e: message = str(e)
    else: raise AssertionError(f'{idiom.code} is not refused')
    assert idiom.note in message, message

if __name__=='__main__': PAGE.write_text(with_table(PAGE.read_text(encoding='utf-8')), encoding='utf-8')
