"People decide about suggestions: the file of decisions, and the table that they make"
import signal, subprocess, sys
import numpy as np, pandas as pd, pytest
from PIL import Image
from fashion_fastai.audit.decisions import Decision, append_decisions, live_decisions, now, read_decisions
from fashion_fastai.cli import main

def decide(row, target, current, suggested, value, decision='accept', who='anna', file=None):
    return Decision(now(), who, row+1, f'{row-1}.png' if file is None else file, target, current, suggested, value, 'looks so', decision)

@pytest.fixture
def shop(tmp_path):
    "Return a function that writes a table beside four images"
    for i in range(4): Image.fromarray(np.full((40,40,3), 50*i, np.uint8)).save(tmp_path/f'{i}.png')
    def write(name='shop.csv', **columns):
        frame = pd.DataFrame(dict(file=[f'{i}.png' for i in range(4)], split=['train','train','train','valid']) | columns)
        frame.to_csv(tmp_path/name, index=False) if name.endswith('.csv') else frame.to_parquet(tmp_path/name)
        return tmp_path/name
    return write

def merge(table, decisions, *options, out='new.csv'):
    "Merge decisions into a table by the command line; return the exit code and the new table"
    append_decisions(table.parent/'decisions.csv', decisions)
    code = main(['data', 'merge', str(table), str(table.parent/'decisions.csv'), '--out', str(table.parent/out), *options])
    return code,pd.read_csv(table.parent/out, dtype=str, keep_default_na=False) if code==0 else None

# ---- decisions

APPENDS = """
import sys
from fashion_fastai.audit.decisions import Decision, append_decisions, now
for i in range(10_000):
    append_decisions(sys.argv[1], [Decision(now(), sys.argv[2], i, f'{i}.png', 'category', 'dress', 'shirt', 'shirt', 'x'*500, 'accept')])
    print(i, flush=True)
"""

def test_no_acknowledged_decision_is_lost_when_pages_are_killed(tmp_path):
    path = tmp_path/'decisions.csv'
    pages = {who: subprocess.Popen([sys.executable, '-c', APPENDS, str(path), who], stdout=subprocess.PIPE, text=True)
        for who in ('anna', 'ben')}
    for page in pages.values():
        for _ in range(20): page.stdout.readline()
    for page in pages.values(): page.send_signal(signal.SIGKILL)
    acknowledged = {who: 20+len(page.stdout.read().split()) for who,page in pages.items()}
    for page in pages.values(): page.wait()
    for who,n in acknowledged.items():
        rows = [decision.row for decision in read_decisions(path) if decision.who==who]
        assert rows==list(range(len(rows))) and n<=len(rows)<=n+1 # one may be on the disk that was not acknowledged
    append_decisions(path, [decide(1, 'category', 'a', 'b', 'b')])
    assert read_decisions(path)[-1].file=='0.png'

@pytest.mark.parametrize('cut', range(1, 60, 7))
def test_a_line_that_was_cut_off_is_no_decision(cut, tmp_path):
    path = tmp_path/'decisions.csv'
    append_decisions(path, [decide(1, 'category', 'dress', 'shirt', 'shirt'), decide(2, 'category', 'dress', 'shirt', 'shirt', 'relabel')])
    path.write_bytes(path.read_bytes()[:-cut])
    assert [decision.row for decision in read_decisions(path)]==([2,3] if cut==1 else [2])
    append_decisions(path, [decide(3, 'category', 'dress', 'shirt', 'shirt')])
    assert [decision.row for decision in read_decisions(path)][-1]==4

def test_an_undo_takes_back_the_last_decision_of_its_person_alone():
    made = [decide(1, 'category', 'dress', 'shirt', 'shirt', who=who) for who in ('anna', 'ben')]
    assert live_decisions([*made, decide(1, 'category', 'dress', 'shirt', 'shirt', 'undo')])==made[1:]

# ---- a new table in the form of the old one

FORMS = {
    'cells': (dict(attributes=['striped; belted', 'floral', '', '?']), ['--sep', ';'],
        ['striped; floral', 'floral', '', '?']),
    'lists': (dict(attributes=["['striped', 'belted']", "['floral']", '[]', '']), [], ["['striped', 'floral']", "['floral']", '[]', '']),
    'columns': (dict(belted=['1','0','0',''], floral=['0','1','0',''], striped=['1','0','0','']),
        ['--one-hot', 'attributes=belted,floral,striped'], [('0','1','1'), ('0','1','0'), ('0','0','0'), ('','','')]),
    'truths': (dict(belted=['yes','no','no','no'], floral=['no','yes','no','no'], striped=['yes','no','no','no']),
        ['--one-hot', 'attributes=belted,floral,striped'], [('no','yes','yes'), ('no','yes','no'), ('no','no','no'), ('no','no','no')])}

@pytest.mark.parametrize('form', FORMS)
def test_the_new_table_has_the_form_of_the_old_one(form, shop):
    columns,options,expected = FORMS[form]
    table = shop(category=['dress','dress','shirt','shirt'], **columns)
    before = table.read_bytes()
    sep = options[1] if '--sep' in options else ' '
    change = decide(1, 'attributes', sep.join(['belted','striped']), sep.join(['floral','striped']), sep.join(['floral','striped']))
    any_of = [] if '--one-hot' in options else ['--any-of', 'attributes']
    code,new = merge(table, [change, decide(2, 'category', 'dress', 'shirt', 'shirt')], '--one-of', 'category', *any_of, *options)
    assert code==0 and table.read_bytes()==before
    names = [name for name in columns if name in new]
    assert list(new)==list(pd.read_csv(table)) and new.category.tolist()==['dress','shirt','shirt','shirt']
    made = new[names[0]].tolist() if len(names)==1 else list(new[names].itertuples(index=False, name=None))
    assert made==expected

def test_a_table_with_a_row_for_each_label(shop):
    table = shop()
    pd.DataFrame(dict(file=['0.png','0.png','1.png','2.png'], label=['striped','belted','floral','striped'], price=['1','1','2','3'])).to_csv(table, index=False)
    changes = [decide(1, 'label', 'belted striped', 'striped floral', 'striped floral'), decide(3, '', '', 'remove', 'remove', file='1.png')]
    code,new = merge(table, changes, '--any-of', 'label', '--long')
    assert code==0
    assert new.values.tolist()==[['0.png','striped','1'], ['0.png','floral','1'], ['2.png','striped','3']]

def test_a_row_number_chooses_among_the_rows_of_a_file(shop):
    table = shop()
    pd.DataFrame(dict(file=['0.png','0.png','1.png'], category=['dress','dress','shirt'])).to_csv(table, index=False)
    code,new = merge(table, [decide(2, 'category', 'dress', 'shirt', 'shirt', file='0.png')], '--no-long')
    assert code==0 and new.category.tolist()==['dress','shirt','shirt']

def test_types_of_a_parquet_file_stay(shop):
    table = shop('shop.parquet', category=[36,36,38,38], attributes=[['a'],['a','b'],[],['b']])
    code,_ = merge(table, [decide(1, 'category', '36', '38', '38'), decide(2, 'attributes', 'a b', 'b', 'b')], '--one-of', 'category', '--any-of', 'attributes', out='new.csv')
    append_decisions(table.parent/'again.csv', [decide(1, 'category', '36', '38', '38'), decide(2, 'attributes', 'a b', 'b', 'b')])
    assert code==main(['data', 'merge', str(table), str(table.parent/'again.csv'), '--out', str(table.parent/'new.parquet'), '--one-of', 'category', '--any-of', 'attributes'])==0
    new = pd.read_parquet(table.parent/'new.parquet')
    assert new.category.dtype==np.int64 and new.category.tolist()==[38,36,38,38]
    assert [list(cell) for cell in new.attributes]==[['a'],['b'],[],['b']]

# ---- several people

def test_every_change_and_every_conflict_is_listed(shop, capsys):
    table = shop(category=['dress','dress','shirt','shirt'], attributes=['a','a','b',''])
    decisions = [
        decide(1, 'category', 'dress', 'shirt', 'shirt'), decide(1, 'category', 'dress', 'shirt', 'shirt', who='ben'),
        decide(2, 'category', 'dress', 'shirt', 'shirt'), decide(2, 'category', 'dress', 'shirt', 'dress', 'reject', who='ben'),
        decide(3, 'category', 'dress', 'shirt', 'shirt'), # the table has shirt now
        decide(4, '', '', 'remove', 'remove')]
    code,new = merge(table, decisions)
    assert code==0 and new.category.tolist()==['shirt','dress','shirt']
    changes = pd.read_csv(table.parent/'new.changes.csv', keep_default_na=False)
    assert changes[['row','column','before','after','who']].values.tolist()==[
        [2,'category','dress','shirt','anna; ben'], [5,'','','the row is gone','anna']]
    conflicts = pd.read_csv(table.parent/'new.conflicts.csv')
    assert conflicts.row.tolist()==[3,4] and 'left as it is' in conflicts.result[0] and 'now' in conflicts.result[1]
    out = capsys.readouterr()
    assert 'changed cells: 1, removed rows: 1' in out.out and '2 decisions disagree or do not fit' in out.err

@pytest.mark.parametrize('line,message', [
    ("now,anna,1,0.png,category,dress,shirt,shrit,,relabel", "unknown category 'shrit'; did you mean shirt"),
    ("now,anna,1,0.png,category,dress,shirt,shirt,,acept", "line 2: unknown decision 'acept'; did you mean accept"),
    ("now,anna,one,0.png,category,dress,shirt,shirt,,accept", "row is 'one'")])
def test_mistakes_are_one_line_and_write_nothing(line, message, shop, capsys):
    table = shop(category=['dress','dress','shirt','shirt'])
    (table.parent/'mine.csv').write_text(f'when,who,row,file,target,current,suggested,value,reason,decision\n{line}\n')
    assert main(['data', 'merge', str(table), str(table.parent/'mine.csv'), '--out', str(table.parent/'new.csv')])==2
    assert message in capsys.readouterr().err and not (table.parent/'new.csv').exists()
    assert main(['data', 'merge', str(table), str(table.parent/'mine.csv'), '--out', str(table)])==2 # never the table itself
