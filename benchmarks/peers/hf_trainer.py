"""`Trainer` of Hugging Face on a timm body with two heads

Transforms as in the example `run_image_classification.py` of transformers. `Trainer` takes a number of steps, not of
minutes: a short trial on a copy of the network is timed first.

    python -m peers.hf_trainer TABLE MINUTES WEIGHTS OUT
"""
from .task import BATCH_SIZE, argument_parser, n_workers, read_task, seconds_left, steps_in_time, write_probs
import tempfile, time
from copy import deepcopy
import torch
from torch import nn
from torch.utils.data import default_collate
from torchvision import transforms as T
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from .two_heads import Images, TwoHeads, body_from, loss

LR,WARMUP = 1e-3,0.1 # the share of the steps
TRIAL,UNTIMED = 12,4 # steps of the trial, and those of them in which the workers start

def collate(items):
    "Return a batch by the names of the arguments of `WithLoss`"
    return dict(zip(('pixels', 'category', 'attributes'), default_collate(items)))

def image_transforms(size, mean, std):
    "Return the transforms of training and of validation"
    normalize = [T.ToTensor(), T.Normalize(mean, std)]
    train = T.Compose([T.RandomResizedCrop(size), T.RandomHorizontalFlip(), *normalize])
    valid = T.Compose([T.Resize(size), T.CenterCrop(size), *normalize])
    return train,valid

class WithLoss(nn.Module):
    "A network that returns its loss beside its logits, as `Trainer` expects"
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels, category, attributes):
        logits = self.network(pixels)
        return dict(loss=loss(logits, category, attributes), category_logits=logits[0], attribute_logits=logits[1])

class StepTimes(TrainerCallback):
    "Note the time after each step"
    def __init__(self): self.times = []
    def on_step_end(self, args, state, control, **kwargs): self.times.append(time.perf_counter())

def trainer(network, images, folder, n_steps, cbs=()):
    "Return a `Trainer` of `n_steps` steps"
    settings = TrainingArguments(folder, max_steps=n_steps, per_device_train_batch_size=BATCH_SIZE,
        per_device_eval_batch_size=BATCH_SIZE, learning_rate=LR, lr_scheduler_type='cosine',
        warmup_steps=int(WARMUP*n_steps), dataloader_num_workers=n_workers(),
        remove_unused_columns=False, label_names=['category', 'attributes'], save_strategy='no', report_to='none',
        disable_tqdm=True)
    return Trainer(WithLoss(network), settings, data_collator=collate, train_dataset=images,
        callbacks=list(cbs))

def step_seconds(network, images, folder):
    "Return the seconds of a training step, from a trial on a copy of `network`"
    clock = StepTimes()
    trainer(deepcopy(network), images, folder, TRIAL, [clock]).train()
    return (clock.times[-1]-clock.times[UNTIMED-1])/(TRIAL-UNTIMED)

def main():
    args = argument_parser(__doc__).parse_args()
    set_seed(42)
    task = read_task(args.table)
    body = body_from(args.weights)
    train_tfm,valid_tfm = image_transforms(args.size, body.pretrained_cfg['mean'], body.pretrained_cfg['std'])
    train,valid = Images(task.train, train_tfm),Images(task.valid, valid_tfm)
    network = TwoHeads(body, len(task.categories), len(task.attributes))
    with tempfile.TemporaryDirectory() as folder:
        seconds = step_seconds(network, train, folder)
        n_steps = steps_in_time(seconds_left(args.minutes), seconds, len(valid))
        print(f'{seconds:.2f} s a step: {n_steps} steps', flush=True)
        fitted = trainer(network, train, folder, n_steps)
        fitted.train()
        category,attributes = [torch.tensor(logits) for logits in fitted.predict(valid).predictions]
    write_probs(args.out, task, category.softmax(1).numpy(), attributes.sigmoid().numpy())

if __name__=='__main__': main()
