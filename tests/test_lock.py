"Two trainings never write into one folder"
import multiprocessing, os, signal, subprocess, sys, time
import pytest
from filelock import FileLock
from fashion_fastai.core.errors import UsageError
from fashion_fastai.core.lock import lock_path, lock_folder

def hold(out, begin, held):
    "Try to hold the lock at the same moment as others"
    begin.wait()
    try:
        with lock_folder(out):
            held.put(os.getpid())
            time.sleep(0.3)
    except UsageError: held.put(None)

def test_only_one_of_many_gets_it(tmp_path):
    "Also when all of them find at once what a killed process left"
    context = multiprocessing.get_context('fork')
    for number in range(5):
        out = tmp_path/f'run-{number}'
        if number%2: lock_path(out).write_text('4711\ngarment-gpu\n')
        begin,held = context.Barrier(8),context.Queue()
        workers = [context.Process(target=hold, args=(out, begin, held)) for _ in range(8)]
        for worker in workers: worker.start()
        got = [held.get(timeout=20) for _ in workers]
        for worker in workers: worker.join()
        assert sum(pid is not None for pid in got)==1, got
        assert list(tmp_path.iterdir())==[]

def count_up(out, counter, n):
    "Add 1 to the number in a file `n` times, each time under the lock"
    done = 0
    while done<n:
        try:
            with lock_folder(out):
                number = int(counter.read_text())
                time.sleep(0.001)
                counter.write_text(str(number+1))
                done += 1
        except UsageError: time.sleep(0.001)

def test_no_two_hold_it_while_it_changes_hands(tmp_path):
    "Nobody gets hold of a file that its holder is about to remove"
    context,counter = multiprocessing.get_context('fork'),tmp_path/'counter'
    counter.write_text('0')
    workers = [context.Process(target=count_up, args=(tmp_path/'run', counter, 25)) for _ in range(4)]
    for worker in workers: worker.start()
    for worker in workers: worker.join(60)
    assert counter.read_text()=='100'

HOLD = '''
import sys, time
from fashion_fastai.core.lock import lock_folder
with lock_folder(sys.argv[1]):
    print('held', flush=True)
    time.sleep(600)
'''

def test_a_second_training_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    out = tmp_path/'runs/first'
    first = subprocess.Popen([sys.executable, '-c', HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline()=='held\n'
        from fashion_fastai.experiments.train import train
        with pytest.raises(UsageError, match=f'{out} is in use by process {first.pid}; wait for it, or choose another --out'): train(None, out)
        with pytest.raises(UsageError, match=f'is in use by process {first.pid}'): train(None, out, resume=True)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    with pytest.raises(UsageError, match='no such run'): train(None, out, resume=True)
    assert not lock_path(out).exists()

def test_the_holder_on_another_machine_is_named(tmp_path):
    with FileLock(lock_path(tmp_path/'run')):
        lock_path(tmp_path/'run').write_text('7\ngarment-gpu\n')
        with pytest.raises(UsageError, match='is in use by process 7 on the machine garment-gpu; wait for it, or choose another --out'):
            with lock_folder(tmp_path/'run'): pass

@pytest.mark.skipif(os.geteuid()==0, reason='root may write everywhere')
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match=f'{tmp_path/"run"} cannot be locked: .*: Permission denied; choose another --out'):
        with lock_folder(tmp_path/'run'): pass

def test_a_mistake_leaves_nothing_behind(tmp_path):
    from fashion_fastai.config import make_config, setting
    from fashion_fastai.experiments.train import train
    with pytest.raises(UsageError): train(make_config('two-head', setting('model.arch=no_such_net')), tmp_path/'a/b/run')
    assert list(tmp_path.iterdir())==[]
