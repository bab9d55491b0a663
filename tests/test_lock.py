"Two trainings never write into one folder"
import json, multiprocessing, os, signal, socket, subprocess, sys, time
from pathlib import Path
import pytest
from fashion_fastai.errors import UsageError
from fashion_fastai.lock import lock_file, locked

def hold(out, begin, held):
    "Try to hold the lock at the same moment as others"
    begin.wait()
    try:
        with locked(out):
            held.put(os.getpid())
            time.sleep(0.3)
    except UsageError: held.put(None)

def test_only_one_of_many_gets_it(tmp_path):
    "Also when all of them find a stale lock at once"
    context = multiprocessing.get_context('fork')
    for number in range(5):
        out = tmp_path/f'run-{number}'
        if number%2: lock_file(out).write_text(json.dumps(dict(pid=os.getpid(), started=1., host=socket.gethostname())))
        begin,held = context.Barrier(8),context.Queue()
        workers = [context.Process(target=hold, args=(out, begin, held)) for _ in range(8)]
        for o in workers: o.start()
        got = [held.get(timeout=20) for _ in workers]
        for o in workers: o.join()
        assert sum(o is not None for o in got)==1, got
        assert list(tmp_path.iterdir())==[]

HOLD = '''
import sys, time
from fashion_fastai.lock import locked
with locked(sys.argv[1]):
    print('held', flush=True)
    time.sleep(600)
'''

def test_a_second_training_is_refused_and_a_killed_one_is_taken_over(tmp_path):
    out = tmp_path/'runs/first'
    first = subprocess.Popen([sys.executable, '-c', HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline()=='held\n'
        from fashion_fastai.experiment import train
        with pytest.raises(UsageError, match=f'{out} is in use by process {first.pid}; wait for it, or choose another --out'): train(None, out)
        with pytest.raises(UsageError, match=f'is in use by process {first.pid}'): train(None, out, resume=True)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert lock_file(out).is_file()
    with pytest.raises(UsageError, match='no such run'): train(None, out, resume=True)
    assert not lock_file(out).exists()

def test_the_lock_of_another_machine_is_named(tmp_path):
    lock_file(tmp_path/'run').write_text(json.dumps(dict(pid=7, started=1., host='garment-gpu')))
    with pytest.raises(UsageError, match='is in use by process 7 on the machine garment-gpu; wait for it, or remove .*run.lock if it runs no more'):
        with locked(tmp_path/'run'): pass

def test_a_mistake_leaves_nothing_behind(tmp_path):
    from fashion_fastai.config import make_config, setting
    from fashion_fastai.experiment import train
    with pytest.raises(UsageError): train(make_config('two-head', setting('model.arch=no_such_net')), tmp_path/'a/b/run')
    assert list(tmp_path.iterdir())==[]
