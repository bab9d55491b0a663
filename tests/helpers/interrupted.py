"Trainings in processes of their own that are killed at a given moment"
import json, multiprocessing, os, signal, threading, time
from pathlib import Path
import pandas as pd

SMALL = dict(model=dict(arch='resnet10t', weights='none', args=dict(drop_path_rate=0.1)), image=dict(size=32))
STAGES = [
    dict(unfrozen=0, epochs=1, lr=1e-2),
    dict(unfrozen=1, epochs=2, lr=4e-3, lr_body=1e-3),
    dict(unfrozen=3, epochs=2, lr=4e-3, lr_body=1e-3)]
VARIANTS = dict(
    adamw=dict(
        training=dict(stages=STAGES, batch_size=8)),
    sgd_plateau=dict(
        training=dict(stages=STAGES, batch_size=8, optimizer='sgd', schedule='plateau', patience=1, factor=0.5,
            sampler='balanced')),
    adam_exponential=dict(
        training=dict(stages=STAGES[::-1], batch_size=16, optimizer='adam', schedule='exponential'),
        data=dict(cache='none', label_noise=0.2)),
    moving_average=dict(
        training=dict(stages=STAGES, batch_size=8, ema=0.9, clip=1, micro_batch_size=5, scale_batch_size=True),
        image=dict(size=32, initial_size=16, augment=dict(cutmix=1))),
    mean_of_epochs=dict(
        training=dict(stages=STAGES, batch_size=8, swa_epochs=2),
        loss=dict(task_weights='uncertainty')),
    best_epoch=dict(
        training=dict(stages=STAGES, batch_size=8, ema=0.9, keep='best', monitor='valid/category/accuracy',
            goal='balanced')),
    one_fit=dict(
        training=dict(epochs=4, batch_size=4, unfreeze='none'),
        image=dict(size=32, augment=dict(random_crop=0.5, hue=0.1))))

def settings(variant, table, minutes=0.0005):
    "Return the settings of a variant; by default with a checkpoint every 30 ms"
    from fashion_fastai.config import merge_settings
    more = dict(data=dict(path=str(table)), training=dict(checkpoint_minutes=minutes))
    return merge_settings(merge_settings(SMALL, VARIANTS[variant]), more)

def _kill_after(seconds):
    "Kill this process from a thread, wherever the training is then"
    def kill():
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=kill, daemon=True).start()

def _kill_in(kill):
    "Arrange that this process is killed; see `train_once`"
    from fashion_fastai.experiments import train as module
    from fashion_fastai.training.checkpoint import Checkpoints
    if isinstance(kill, str):
        def killed(*args):
            _kill_after(0)
            time.sleep(60)
        setattr(module, kill, killed)
        return
    n_batches,seconds = kill
    if n_batches==0: return _kill_after(seconds)
    original,batches = Checkpoints.after_batch,[]
    def after_batch(self):
        batches.append(0)
        if len(batches)==n_batches: _kill_after(seconds)
        original(self)
    Checkpoints.after_batch = after_batch

def train_once(fields, out, resume=True, kill=None, report=True):
    "Train with `fields`; `kill` is `(n, seconds)`, so long after n batches, or the name of a function to be killed in"
    import torch
    torch.set_num_threads(1)
    from fashion_fastai.config import make_config
    from fashion_fastai.evaluation import artifacts
    from fashion_fastai.experiments.train import train
    if not report: # figures and report take longer than the training
        artifacts.save_figures = artifacts.write_report = lambda *args: None
    if kill: _kill_in(kill)
    train(None if fields is None else make_config('two-head', fields), out, lambda _: None, resume=resume)

def processes():
    "Return a context whose processes have already imported the library"
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['fashion_fastai.experiments.train'])
    return context

def run_process(context, *args)->bool:
    "Call `train_once` in a process of its own; return whether it was killed"
    process = context.Process(target=train_once, args=args)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f'the training ended with {process.exitcode}'
    return process.exitcode!=0

def outcome(out)->dict:
    "Return everything of a run that must be the same; seconds are left out"
    out = Path(out)
    metrics = json.loads((out/'metrics.json').read_text())
    metrics.pop('seconds')
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob('*') if path.is_file())
    return dict(files=files, metrics=json.dumps(metrics), weights=(out/'model.safetensors').read_bytes(),
        history=pd.read_csv(out/'history.csv', dtype=str).drop(columns='seconds').to_csv(),
        predictions=pd.read_parquet(out/'predictions/valid.parquet').to_csv(),
        calibration=(out/'calibration.json').read_text())

def differences(out, expected)->list[str]:
    "Return the names of what differs from an `outcome`"
    return [name for name,value in outcome(out).items() if value!=expected[name]]
