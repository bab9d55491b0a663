"""A training loop for two targets as timm's documentation teaches it

Transforms of the pretrained configuration, loader workers, channels-last, AdamW, a cosine schedule with warm-up, moved
by each update, and a moving average of the weights (EMA), which predicts. timm has no limit of time: the warm-up is
timed, and sets how many updates there will be.

    python -m peers.timm_loop TABLE MINUTES WEIGHTS OUT
"""
from .task import BATCH_SIZE, argument_parser, n_workers, read_task, seconds_left, steps_in_time, write_probs
import time
import torch
from timm.data import create_transform, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch.utils.data import DataLoader
from .two_heads import Images, TwoHeads, body_from, loss

LR,WEIGHT_DECAY = 1e-3,0.05
WARMUP = 12 # updates
UNTIMED = 4 # of these, while the workers start

def loader(split, config, is_training):
    "Return batches of a split, shuffled and augmented for training"
    images = Images(split, create_transform(**config, is_training=is_training))
    return DataLoader(images, BATCH_SIZE, shuffle=is_training, drop_last=is_training, num_workers=n_workers(),
        persistent_workers=is_training)

def endless(batches):
    "Yield batches, epoch after epoch"
    while True: yield from batches

def fit(network, batches, minutes, n_valid):
    "Train until the time is over but for predicting; return the averaged network"
    optimizer = create_optimizer_v2(network, opt='adamw', lr=LR, weight_decay=WEIGHT_DECAY)
    scheduler,_ = create_scheduler_v2(optimizer, 'cosine', num_epochs=1, warmup_epochs=1, updates_per_epoch=WARMUP,
        step_on_epochs=False)
    average = ModelEmaV3(network, use_warmup=True)
    network.train()
    step,n_steps,stream = 0,WARMUP,endless(batches)
    while step<n_steps:
        x,*targets = next(stream)
        loss(network(x.to(memory_format=torch.channels_last)), *targets).backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        scheduler.step_update(step)
        average.update(network, step)
        if step==UNTIMED: timed_from = time.perf_counter()
        if step==WARMUP:
            step_seconds = (time.perf_counter()-timed_from)/(WARMUP-UNTIMED)
            n_steps += steps_in_time(seconds_left(minutes), step_seconds, n_valid)
            scheduler.t_initial = n_steps # the warm-up does not depend on it
            print(f'{step_seconds:.2f} s an update: {n_steps} updates', flush=True)
    return average.module

@torch.inference_mode()
def predict(network, batches):
    "Return the probabilities of both targets, `(n, n_labels)` each"
    logits = [network(x.to(memory_format=torch.channels_last)) for x,*_ in batches]
    category,attributes = [torch.cat(parts) for parts in zip(*logits)]
    return category.softmax(1).numpy(),attributes.sigmoid().numpy()

def main():
    args = argument_parser(__doc__).parse_args()
    torch.manual_seed(42)
    task = read_task(args.table)
    body = body_from(args.weights)
    config = resolve_data_config(dict(input_size=(3, args.size, args.size)), model=body)
    network = TwoHeads(body, len(task.categories), len(task.attributes)).to(memory_format=torch.channels_last)
    average = fit(network, loader(task.train, config, True), args.minutes, len(task.valid.files))
    write_probs(args.out, task, *predict(average, loader(task.valid, config, False)))

if __name__=='__main__': main()
