"A training in a process of its own that is killed at a given moment"
import json, multiprocessing, os, signal, threading, time
from pathlib import Path
import pandas as pd

SMALL = dict(model=dict(arch='resnet10t', weights='none', args=dict(drop_path_rate=0.1)), image=dict(size=32))
STAGES = [dict(unfrozen=0, epochs=1, lr=1e-2), dict(unfrozen=1, epochs=2, lr=4e-3, lr_body=1e-3), dict(unfrozen=3, epochs=2, lr=4e-3, lr_body=1e-3)]
VARIANTS = dict(
    adamw=dict(training=dict(stages=STAGES, batch_size=8)),
    sgd_plateau=dict(training=dict(stages=STAGES, batch_size=8, optimizer='sgd', schedule='plateau', patience=1, factor=0.5, sampler='balanced')),
    adam_exponential=dict(training=dict(stages=STAGES[::-1], batch_size=16, optimizer='adam', schedule='exponential'), data=dict(cache='none', label_noise=0.2)),
    moving_average=dict(training=dict(stages=STAGES, batch_size=8, ema=0.9, clip=1, micro_batch_size=5, scale_batch_size=True), image=dict(size=32, initial_size=16, augment=dict(cutmix=1))),
    mean_of_epochs=dict(training=dict(stages=STAGES, batch_size=8, swa_epochs=2), loss=dict(task_weights='uncertainty')),
    one_fit=dict(training=dict(epochs=4, batch_size=4, unfreeze='none'), image=dict(size=32, augment=dict(random_crop=0.5, hue=0.1))))

def settings(variant, table, minutes=0.0005):
    "The settings of a variant; with a checkpoint every 30 ms"
    from fashion_fastai.config import merge_settings
    return merge_settings(merge_settings(SMALL, VARIANTS[variant]), dict(data=dict(path=str(table)), training=dict(checkpoint_minutes=minutes)))

def _kill_after(seconds):
    "SIGKILL for this process, from a thread: wherever the training is then"
    def later():
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=later, daemon=True).start()

def train_once(fields, out, resume=True, die=None, report=True):
    "Train with `fields`, with figures and report or without; `die` kills this process: (n, seconds) so long after n batches, or the name of a function when it is called"
    import torch
    torch.set_num_threads(1)
    from fashion_fastai.evaluation import artifacts
    from fashion_fastai.experiments import train as experiment
    from fashion_fastai.config import make_config
    from fashion_fastai.training.checkpoint import Checkpoints
    if not report: artifacts.save_figures = artifacts.write_report = lambda *args: None # they take longer than the training
    was,seen = Checkpoints.after_batch,[]
    def after_batch(self):
        seen.append(0)
        if len(seen)==die[0]: _kill_after(die[1])
        was(self)
    if isinstance(die, str): setattr(experiment, die, lambda *args: _kill_after(0) or time.sleep(60))
    elif die: Checkpoints.after_batch = after_batch
    if die and die[0]==0: _kill_after(die[1])
    experiment.train(None if fields is None else make_config('two-head', fields), out, lambda _: None, resume=resume)

def processes():
    "A context whose processes have imported the library already"
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['fashion_fastai.experiments.train'])
    return context

def run_process(context, *args)->bool:
    "Train in a process of its own; whether it was killed"
    process = context.Process(target=train_once, args=args)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f'the training ended with {process.exitcode}'
    return process.exitcode!=0

def outcome(out)->dict:
    "All of a run that must be the same, times aside"
    out = Path(out)
    metrics = json.loads((out/'metrics.json').read_text())
    metrics.pop('seconds')
    return dict(weights=(out/'model.safetensors').read_bytes(), history=pd.read_csv(out/'history.csv', dtype=str).drop(columns='seconds').to_csv(),
        metrics=json.dumps(metrics), predictions=pd.read_parquet(out/'predictions/valid.parquet').to_csv(),
        calibration=(out/'calibration.json').read_text(), files=sorted(o.relative_to(out).as_posix() for o in out.rglob('*') if o.is_file()))

def same(out, whole)->list[str]: # names of what differs
    return [k for k,v in outcome(out).items() if v!=whole[k]]
