"The page of a review without a browser"
import sys
from pathlib import Path
import pandas as pd, pytest
pytest.importorskip('streamlit')
from streamlit.testing.v1 import AppTest
from fashion_fastai.audit.decisions import read_decisions
from fashion_fastai.cli import main
from helpers.plant_faults import plant
from helpers.reviewed import review_folder

def script(folder):
    from fashion_fastai.audit.review_page import main
    main(folder)

@pytest.fixture(autouse=True)
def main_module():
    "Restore the main module, which Streamlit replaces by the script of a page"
    module = sys.modules['__main__']
    yield
    sys.modules['__main__'] = module

def opened(folder): return checked(AppTest.from_function(script, kwargs=dict(folder=str(folder)), default_timeout=60).run())

def checked(page):
    assert not page.exception, page.exception
    return page

def press(page, key): return checked(page.button(key).click().run())
def text(page): return '\n'.join(element.proto.body for element in page.get('html'))
def done(page): return page.get('progress')[0].proto.text

@pytest.fixture
def folder(tmp_path): return review_folder(tmp_path)

def test_one_suggestion_after_the_other(folder):
    page = opened(folder)
    assert 'Remove this row?' in text(page) and done(page)=='0 of 6 decided'
    page = press(page, 'reject')
    assert 'Same image, conflicting labels · 70 % sure' in text(page)
    page = press(page, 'accept')
    assert '0.png' in text(page) and '<s>dress</s> <i>→</i> <b>shirt</b>' in text(page)
    page = press(page, 'skip')
    assert 'no shirt is &lt;belted&gt;' in text(page) and 'Breaks a rule' in text(page)
    page = checked(page.selectbox[1].set_value('Dress').run())
    assert '<b>striped</b>' in text(page) and done(page)=='3 of 6 decided · 1 skipped'
    assert [(d.decision, d.value, d.who) for d in read_decisions(folder/'decisions.csv')]==[
        ('reject', '', 'anna'), ('accept', 'dress', 'anna'), ('skip', 'dress', 'anna'), ('relabel', 'Dress', 'anna')]

def test_undo_brings_the_suggestion_back(folder):
    page = press(press(opened(folder), 'accept'), 'undo')
    assert done(page)=='0 of 6 decided' and 'Remove this row?' in text(page)
    assert [d.decision for d in read_decisions(folder/'decisions.csv')]==['accept', 'undo']
    assert 'undo' not in [button.key for button in page.button]

def test_all_copies_at_once(folder):
    page = checked(opened(folder).selectbox('kind').set_value('label_conflict').run())
    assert page.button('copies').label=='Accept for 2 copies' # the third copy is a dress already
    page = press(page, 'copies')
    made = read_decisions(folder/'decisions.csv')
    assert [(d.file, d.value) for d in made]==[('4.png', 'dress'), ('5.png', 'dress')] and len({d.when for d in made})==1
    assert '2 copies accepted: dress' in text(page)
    page = press(page, 'undo')
    assert done(page)=='0 of 1 decided'

def test_labels_of_an_any_of_cell_are_written_as_a_whole(folder):
    page = opened(folder)
    page = checked(page.selectbox('kind').set_value('missed_label').run())
    page = checked(page.multiselect[0].set_value(['striped', 'belted']).run())
    page = press(page, 'save')
    assert 'Everything is decided' in text(page)
    assert read_decisions(folder/'decisions.csv')[0].value=='striped belted'

def test_a_spelling_is_corrected_in_all_rows_and_the_result_is_written(folder):
    page = opened(folder)
    page = checked(page.selectbox('kind').set_value('spelling').run())
    assert 'Dress · 1 row' in text(page) and 'dress · 2 rows' in text(page)
    page = press(press(page, 'accept'), 'write')
    assert '1 cell changed, 0 rows removed' in text(page)
    new = pd.read_csv(folder/'reviewed.csv', keep_default_na=False)
    assert new.category.tolist()==['dress','shirt','dress','dress','shirt','shirt']
    assert pd.read_csv(folder/'reviewed.changes.csv').who.tolist()==['anna']

def test_each_person_decides_alone_and_work_is_continued(folder):
    press(press(opened(folder), 'accept'), 'accept')
    page = opened(folder) # another day
    assert done(page)=='2 of 6 decided'
    page = checked(page.text_input('who').set_value('ben').run())
    assert done(page)=='0 of 6 decided'
    page = press(page, 'reject')
    assert {d.who for d in read_decisions(folder/'decisions.csv')}=={'anna', 'ben'}
    page = press(page, 'write')
    assert 'left as it is' in page.dataframe[1].value.result.tolist()

def test_a_table_that_is_gone_is_one_line(folder):
    (folder.parent/'shop.csv').unlink()
    page = AppTest.from_function(script, kwargs=dict(folder=str(folder)), default_timeout=60).run()
    assert not page.exception and 'shop.csv' in page.error[0].value

@pytest.mark.parametrize('args,message', [
    (['--audit', 'NEW'], 'no such file'), (['--audit', 'TABLE'], "unknown column 'row'"), (['--audit', 'HERE'], 'has no audit.csv'), (['--run', 'NEW'], 'no such run folder')])
def test_mistakes_are_one_line(args, message, folder, capsys):
    paths = dict(TABLE=str(folder.parent/'shop.csv'), NEW=str(folder.parent/'new'), HERE=str(folder.parent))
    code = main(['data', 'review', paths['TABLE'], '--out', str(folder.parent/'other'), *(paths.get(arg, arg) for arg in args)])
    assert code==2 and message in capsys.readouterr().err

def test_answers_of_predict_that_need_a_review(folder, monkeypatch):
    monkeypatch.setattr('fashion_fastai.commands.review.serve_page', lambda *args: None)
    results = folder.parent/'results.csv'
    pd.DataFrame(dict(file=['0.png','1.png','2.png'], category=['dress','shirt','dress'], category_probability=[0.61,0.99,0.5],
        category_accepted=['','shirt',''], needs_review=[True,False,True], review=['category: low confidence (dress)', '', 'category: close labels (dress, shirt)'])).to_csv(results, index=False)
    assert main(['data', 'review', str(results), '--audit', str(results), '--out', str(folder.parent/'answers'), '--one-of', 'category'])==0
    page = opened(folder.parent/'answers')
    assert 'Needs review · 61 % sure' in text(page) and 'low confidence' in text(page) and done(page)=='0 of 2 decided'
    page = press(page, 'accept')
    page = press(checked(page.selectbox[0].set_value('shirt').run()), 'write')
    assert '1 cell changed' in text(page)
    assert pd.read_csv(folder.parent/'answers/reviewed.csv').category.tolist()==['dress','shirt','shirt']

@pytest.mark.slow
def test_a_table_without_an_audit_is_audited_once(sample, tmp_path, monkeypatch, capsys):
    table,_ = plant(sample, tmp_path/'shop')
    served = []
    monkeypatch.setattr('fashion_fastai.commands.review.serve_page', lambda *args: served.append(args))
    command = ['data', 'review', str(table), '--out', str(tmp_path/'review'), '--reviewer', 'anna',
        *'--one-of category --any-of attributes --arch resnet10t --weights none --size 32'.split()]
    assert main(command)==0
    written = (tmp_path/'review/audit/audit.csv').stat().st_mtime_ns
    page = press(opened(tmp_path/'review'), 'accept')
    assert main(command)==0 and (tmp_path/'review/audit/audit.csv').stat().st_mtime_ns==written
    assert [args[:2] for args in served]==[('review', Path(tmp_path/'review'))]*2 and 'suggestions for' in served[0][-1]
    assert done(press(page, 'write')).startswith('1 of ') and (tmp_path/'review/reviewed.csv').is_file()
