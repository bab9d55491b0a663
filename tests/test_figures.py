"Figures from small arrays, with missing and with too many labels, and from a run folder"
import io
from pathlib import Path
import matplotlib, numpy as np, pandas as pd, pytest
from PIL import Image
from fashion_fastai.config import TrainConfig
from fashion_fastai.core.files import write_csv, write_json
from fashion_fastai.data.catalogue import Catalogue
from fashion_fastai.evaluation.artifacts import file_names, run_figures, save_figures
from fashion_fastai.evaluation.plots import (class_table, label_correlation, largest_confusions, plot_class_scores,
    plot_confusion, plot_counts, plot_curves, plot_label_correlation)
from fashion_fastai.evaluation.predictions import Predictions
from fashion_fastai.metrics import target_scores
from fashion_fastai.run import start_run
from fashion_fastai.schema import Schema
from fashion_fastai.target import any_of, one_of

CATEGORY = one_of('category', ['dress', 'shirt', 'skirt', 'trousers'])
ATTRIBUTES = any_of('attributes', ['belted', 'floral', 'striped'])
SCHEMA = Schema(targets=[CATEGORY, ATTRIBUTES])

def drawn(figure):
    "Draw a figure and check its width"
    figure.savefig(file:=io.BytesIO(), format='png')
    assert Image.open(file).width==round(7.5*figure.dpi)
    return figure

def title(figure): return figure.get_suptitle().replace('\n', ' ')
def below(figure): return figure.get_supxlabel().replace('\n', ' ')
def texts(ax): return [text.get_text() for text in ax.texts]
def names(ax): return [label.get_text() for label in ax.get_yticklabels()]
def legend(owner): return [text.get_text() for text in owner.get_texts()]
def many(n): return [f'an_embroidered_label_with_a_long_name_{i}' for i in range(n)]

CATEGORY_SCORES = 'loss', 'accuracy', 'mean_class_accuracy', 'macro_f1', 'macro_precision'
ATTRIBUTE_SCORES = 'loss', 'samples_f1', 'precision'

def history_of(n, **more):
    "Return a history of `n` epochs in which AUROC is known from the second on"
    epochs = np.arange(1, n+1)
    names = ['loss', *(f'category/{score}' for score in CATEGORY_SCORES)]
    names += [f'attributes/{score}' for score in ATTRIBUTE_SCORES]
    scores = {f'{split}/{name}': 1-0.5/epochs for split in ('train', 'valid') for name in names}
    auroc = np.where(epochs>1, 0.9, np.nan)
    return pd.DataFrame({'epoch': epochs, **scores, 'valid/category/auroc': auroc, 'lr': 0.01/epochs, **more})

@pytest.fixture
def codes():
    random = np.random.default_rng(42)
    attributes = (random.random((80,3))<0.4).astype(np.int8)
    attributes[:9] = -1
    return dict(category=random.choice([0,1,3,-1], 80), attributes=attributes)

@pytest.fixture
def probs(codes):
    random = np.random.default_rng(7)
    category = random.random((80,4))+np.eye(4)[codes['category']]
    attributes = 0.5*random.random((80,3))+0.3*(codes['attributes']==1)
    return dict(category=category/category.sum(1, keepdims=True), attributes=attributes)

@pytest.fixture
def run(codes, probs, tmp_path):
    "Return a run without weights"
    run = start_run(tmp_path/'run', TrainConfig(), SCHEMA)
    predictions = Predictions(SCHEMA, [f'{i}.jpg' for i in range(80)], probs, codes)
    predictions.write(run.predictions('valid'))
    write_json(run.metrics, predictions.metrics('valid'))
    rows = history_of(3).astype(object).where(history_of(3).notna(), None)
    write_csv(run.history, rows.to_dict('records'))
    return run

# Curves

def test_curves_have_a_panel_for_each_group_of_scores():
    figure = drawn(plot_curves(history_of(6, unfrozen=[0,0,3,3,3,3]), SCHEMA))
    overall = [['loss'], ['learning rate']]
    category = [['loss'], ['accuracy', 'mean class accuracy'], ['macro F1', 'macro precision'], ['AUROC']]
    attributes = [['loss'], ['samples F1'], ['precision']]
    assert [legend(ax.get_legend()) for ax in figure.axes]==[*overall, *category, *attributes]
    titles = [ax.get_title('left') for ax in figure.axes]
    assert list(filter(None, titles))==['all targets', 'category', 'attributes']
    dotted = [line for line in figure.axes[2].lines if line.get_linestyle()==':']
    assert [line.get_xdata()[0] for line in dotted]==[2.5]
    assert legend(figure.legends[0])==['train', 'valid', 'more layer groups unfrozen']

def test_curves_of_one_epoch_are_points_at_whole_epochs():
    figure = drawn(plot_curves(history_of(1, unfrozen=[0]), SCHEMA))
    assert all(line.get_marker()=='o' for ax in figure.axes for line in ax.lines)
    left,right = figure.axes[0].get_xlim()
    assert [tick for tick in figure.axes[0].get_xticks() if left<=tick<=right]==[1]
    assert len(figure.axes)==8 # AUROC is not known yet

def test_label_noise_has_a_panel_of_its_own():
    noise = {'train/clean_loss': [1.,.5], 'train/flipped_loss': [2.,1.9]}
    figure = drawn(plot_curves(history_of(2, **noise), SCHEMA))
    assert legend(figure.axes[1].get_legend())==['clean loss', 'flipped loss']

def test_means_over_several_targets_have_a_row_of_panels():
    schema = Schema(targets=[one_of('fit', ['slim', 'wide']), one_of('length', ['long', 'short'])])
    scores = ('accuracy', 'mean_class_accuracy', 'macro_f1', 'macro_precision')
    history = history_of(3, **{f'{split}/overall_{name}': [.5, .6, .7] for split in ('train', 'valid') for name in scores})
    figure = drawn(plot_curves(history, schema))
    panels = [['loss'], ['learning rate'], ['accuracy', 'mean class accuracy'], ['macro F1', 'macro precision']]
    assert [legend(ax.get_legend()) for ax in figure.axes]==panels
    assert figure.axes[2].get_title('left')=='mean over 2 targets'

def test_curves_need_a_score():
    with pytest.raises(ValueError, match='no losses and no scores'): plot_curves(pd.DataFrame({'epoch': [1]}), SCHEMA)

def test_curves_survive_a_network_that_diverged():
    drawn(plot_curves(history_of(3).assign(**{'train/loss': [1., np.inf, np.nan]}), SCHEMA))

# Bars

def test_counts_are_sorted_and_share_their_scale():
    before = np.array([10, 2000, 0, 300])
    figure = drawn(plot_counts(CATEGORY, before, np.full(4, 577.5), 'train'))
    left,right = figure.axes
    assert names(left)==['shirt', 'trousers', 'dress', 'skirt'] and left.get_xlim()==right.get_xlim()
    assert texts(left)==['2,000', '300', '10', '0'] and texts(right)==['578']*4
    assert '(train)' in title(figure) and '1 never occur' in title(figure)

def test_counts_of_nothing(): assert texts(drawn(plot_counts(CATEGORY, np.zeros(4))).axes[0])==['0']*4

def test_counts_of_a_thousand_labels_show_both_ends():
    target = any_of('attributes', many(1000))
    figure = drawn(plot_counts(target, np.arange(1000)[::-1]))
    assert texts(figure.axes[0])==[f'{n}' for n in (*range(999, 974, -1), *range(25, 0, -1))]
    assert 'the 25 most common and the 25 rarest of 1,000 labels; 1 never occur' in title(figure)

def test_class_scores_name_the_best_and_the_worst(codes, probs):
    scores = target_scores(CATEGORY, probs['category'], codes['category'])
    figure = drawn(plot_class_scores(CATEGORY, scores, n_named=1))
    table = class_table(CATEGORY, scores)
    assert [ax.get_title('left') for ax in figure.axes]==['F1', 'AUROC', 'images with the label']
    assert table.index[-1]=='skirt' and texts(figure.axes[0])[-1]=='undefined' # it is absent
    best,worst = [f'{label} {table.f1[label]:.2f}' for label in table.index[[0,2]]]
    assert below(figure)==f'Best F1: {best}. Worst: {worst}.'

def test_class_scores_without_ranking_or_without_truth(codes, probs):
    scores = target_scores(ATTRIBUTES, probs['attributes'], codes['attributes'], ranking=False)
    assert len(drawn(plot_class_scores(ATTRIBUTES, scores)).axes)==2
    unknown = target_scores(ATTRIBUTES, probs['attributes'], np.full((80,3), -1))
    assert texts(drawn(plot_class_scores(ATTRIBUTES, unknown)).axes[0])==['undefined']*3

def test_class_scores_below_chance_fit_in():
    labels = {label: dict(f1=0., auroc=auroc, support=3) for label,auroc in zip(ATTRIBUTES.vocab, (0.1, 0.5, 1.))}
    scores = dict(labels=labels)
    ax = drawn(plot_class_scores(ATTRIBUTES, scores)).axes[1]
    assert ax.get_xlim()[0]<=0.1 and len(ax.lines)==1 # which stands at chance

@pytest.mark.parametrize('n,n_undefined,expected', [
    (50, 5, 'scores of each of 50 labels'),
    (60, 20, 'scores of 40 of 60 labels (the others are undefined)'),
    (1000, 100, 'scores of the 25 best and the 25 worst of 1,000 labels (by F1, 100 undefined)')])
def test_class_scores_of_many_labels(n, n_undefined, expected):
    target = any_of('attributes', many(n))
    f1 = [None]*n_undefined + np.linspace(0, 1, n-n_undefined).tolist()
    labels = {label: dict(f1=value, auroc=value, support=5) for label,value in zip(target.vocab, f1)}
    figure = drawn(plot_class_scores(target, dict(labels=labels)))
    assert expected in title(figure) and len(texts(figure.axes[0]))<=50 and texts(figure.axes[0])[0]=='1.00'

# Confusions and correlations

def test_confusion_counts_are_in_the_cells():
    matrix = np.array([[8,2,0,0], [1,20,0,12345], [0,0,0,0], [3,0,0,4]])
    figure = drawn(plot_confusion(CATEGORY, matrix))
    ax = figure.axes[0]
    assert sorted(texts(ax))==sorted(['8', '2', '1', '20', '12,345', '3', '4'])
    assert names(ax)==['dress (10)', 'shirt (12,366)', 'skirt (0)', 'trousers (7)']
    assert below(figure).startswith('Most frequent: shirt as trousers (12,345), trousers as dress (3)')
    assert largest_confusions(CATEGORY, matrix, n=1)==[('shirt', 'trousers', 12345)]

def test_confusion_counts_fit_into_narrow_cells():
    matrix = np.diag([1234, 56789, 7_000_000, *[999]*10])
    assert texts(drawn(plot_confusion(one_of('article', many(13)), matrix)).axes[0])[:4]==['1.2k', '57k', '7.0M', '999']

def test_confusion_of_many_classes_shows_the_worst_and_loses_no_image():
    target,random = one_of('article', many(45)), np.random.default_rng(42)
    matrix = random.integers(0, 3, (45,45))+np.diag(random.integers(0, 90, 45))
    matrix[7] += 9
    figure = drawn(plot_confusion(target, matrix))
    ax = figure.axes[0]
    assert 'the 12 of 45 classes with the most errors' in title(figure)
    assert len(names(ax))==12 and len(ax.get_xticklabels())==13
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown.sum(1), 1)

def test_confusion_without_errors_or_images():
    assert below(drawn(plot_confusion(CATEGORY, np.eye(4, dtype=int))))=='No confusions.'
    drawn(plot_confusion(CATEGORY, np.zeros((4,4), dtype=int)))

def test_figures_for_the_other_kind_are_refused():
    with pytest.raises(ValueError, match="'attributes' is any_of; this figure is for one_of"):
        plot_confusion(ATTRIBUTES, np.zeros((3,2,2)))
    with pytest.raises(ValueError, match=r"`matrix` has the shape \(3, 3\), not \(4, 4\)"):
        plot_confusion(CATEGORY, np.zeros((3,3)))
    with pytest.raises(ValueError, match="'category' is one_of"):
        plot_label_correlation(CATEGORY, np.zeros((5,4)))

def test_correlation_agrees_with_pandas(codes):
    known = pd.DataFrame(codes['attributes']).astype(float).mask(lambda frame: frame<0)
    known.iloc[20:30,1] = np.nan
    np.testing.assert_allclose(label_correlation(known.fillna(-1).to_numpy()), known.corr().to_numpy())

def test_correlation_is_printed_when_labels_are_few(codes):
    figure = drawn(plot_label_correlation(ATTRIBUTES, codes['attributes'], 'valid'))
    assert len(texts(figure.axes[0]))==6 and '(valid)' in title(figure)
    codes = np.random.default_rng(0).integers(0, 2, (90,30))
    assert not texts(drawn(plot_label_correlation(any_of('attributes', many(30)), codes)).axes[0])

def test_correlation_of_many_labels_shows_the_most_common():
    random = np.random.default_rng(42)
    codes = (random.random((300,1000))<random.random(1000)*0.2).astype(np.int8)
    figure = drawn(plot_label_correlation(any_of('attributes', many(1000)), codes))
    assert 'the 40 most common of 1,000 labels' in title(figure) and len(names(figure.axes[0]))==40

@pytest.mark.parametrize('fill', [-1, 0, 1])
def test_correlation_of_labels_that_never_change(fill):
    assert below(drawn(plot_label_correlation(ATTRIBUTES, np.full((9,3), fill))))=='No two labels have a correlation.'

# One style

def test_the_style_holds_wherever_a_figure_is_drawn_and_leaks_nowhere():
    before = dict(matplotlib.rcParams)
    figure = plot_counts(one_of('price', ['$5 to $10', 'more']), np.array([3,1]))
    assert dict(matplotlib.rcParams)==before
    plain,dark = io.BytesIO(), io.BytesIO()
    figure.savefig(plain)
    settings = {'xtick.labelsize': 20, 'savefig.facecolor': 'black', 'text.color': 'red', 'xtick.color': 'red'}
    with matplotlib.rc_context(settings):
        plot_counts(one_of('price', ['$5 to $10', 'more']), np.array([3,1])).savefig(dark)
    assert plain.getvalue()==dark.getvalue()

# A run

def test_a_run_gets_the_promised_files(run):
    paths = save_figures(run)
    assert [path.stem for path in paths]==['curves', 'scores-category', 'confusion-category', 'counts-category',
        'scores-attributes', 'counts-attributes', 'correlation-attributes']
    assert {path.name for path in (run.path/'figures').iterdir()}=={path.name for path in paths}
    assert all(Image.open(path).width==1125 for path in paths)

def test_counts_are_those_of_the_train_split(run, codes):
    split = np.array(['train']*50+['valid']*30, dtype=object)
    catalogue = Catalogue(pd.DataFrame(index=range(80)), SCHEMA, Path('.'), 'file', codes, split, split, np.arange(80))
    figures = dict(run_figures(run, catalogue, {'category': np.full(4, 12.5)}))
    train = CATEGORY.label_counts(codes['category'][:50])
    assert texts(figures['counts-category'].axes[0])==[f'{n}' for n in sorted(train, reverse=True)]
    assert texts(figures['counts-category'].axes[1])==['12.5']*4 and len(figures['counts-attributes'].axes)==1
    for name in ('counts-category', 'counts-attributes', 'correlation-attributes'):
        assert '(train)' in title(figures[name])

def test_a_run_without_epochs_or_predictions(run):
    run.history.unlink()
    assert 'curves' not in dict(run_figures(run))
    run.predictions('valid').unlink()
    run.metrics.unlink()
    assert save_figures(run)==[] and not (run.path/'figures').exists()

def test_a_target_without_known_labels_has_no_figures(run, codes, probs):
    truth = dict(category=np.full(80, -1), attributes=codes['attributes'])
    predictions = Predictions(SCHEMA, [f'{i}.jpg' for i in range(80)], probs, truth)
    predictions.write(run.predictions('valid'))
    write_json(run.metrics, predictions.metrics('valid'))
    assert set(dict(run_figures(run)))=={'curves', 'scores-attributes', 'counts-attributes', 'correlation-attributes'}

def test_names_of_files_are_safe_and_differ():
    targets = [one_of(name, ['a', 'b']) for name in ('Color', 'color', '../etc', 'a b/c', '...', 'größe')]
    assert list(file_names(Schema(targets=targets)).values())==['Color', 'color-2', 'etc', 'a-b-c', 'target', 'größe']
