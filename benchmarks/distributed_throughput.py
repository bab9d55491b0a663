"""Training images per second, in one process or several. Alternate both on a shared machine, and compare pairs:

    OMP_NUM_THREADS=2 python benchmarks/distributed_throughput.py shop/labels.csv
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/distributed_throughput.py shop/labels.csv
"""
import sys, time
from fastai.callback.core import Callback, CancelFitException
from fashion_fastai.config import make_config, setting
from fashion_fastai.core.allocator import tune_allocator
from fashion_fastai.experiments.prepare import plan, prepare
from fashion_fastai.experiments.train import fit
from fashion_fastai.training.distributed import distributed, is_main_process, main_process_first, world_size

WARM_UP = 4 # batches that are not timed
TIMED = 20 # batches that are timed

class Timer(Callback):
    "Stop the training after some batches"
    order = 99
    def before_fit(self): self.n = 0
    def after_batch(self):
        self.n += 1
        if self.n==WARM_UP: self.started = time.monotonic()
        if self.n<WARM_UP+TIMED: return
        self.seconds = time.monotonic()-self.started
        raise CancelFitException

def main(table, size=96, batch_size=64):
    "Print the images per second of a training on `table`"
    tune_allocator()
    training = dict(batch_size=batch_size, linear_probe=False, epochs=1, unfreeze='none')
    settings = dict(data=dict(path=table, cache='disk'), image=dict(size=size), training=training)
    config = make_config('two-head', settings, setting('model.weights=auto'))
    with distributed():
        learn, config = main_process_first(prepare, config)
        config = plan(learn, config)
        timer = Timer()
        learn.add_cb(timer)
        with learn.no_bar(), learn.no_logging(): fit(learn, config.training)
        if is_main_process(): print(f'{world_size()} processes: {TIMED*batch_size/timer.seconds:.1f} images/s')

if __name__=='__main__': main(sys.argv[1])
