"""A learner for two targets as fastai's documentation teaches it: plain, and as an expert would set it

fastai takes a number of epochs, not of minutes: a tenth of an epoch is timed first.

    python -m peers.plain_fastai TABLE MINUTES WEIGHTS OUT [--expert]
"""
from .task import argument_parser, read_task, seconds_left, write_probs
import os, time
from dataclasses import replace
from pathlib import Path
import pandas as pd, timm, torch
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import (BCEWithLogitsLossFlat, CategoryBlock, ColReader, ColSplitter, CrossEntropyLossFlat,
    DataBlock, ImageBlock, Learner, MultiCategoryBlock, Normalize, Resize, ResizeMethod, ShortEpochCallback,
    aug_transforms, params, set_seed)
from fashion_fastai.models.weights import package_weights
from .two_heads import TwoHeads, body_from

def loss(preds, category, attributes):
    "Return the sum of both losses"
    return CrossEntropyLossFlat()(preds[0], category)+BCEWithLogitsLossFlat()(preds[1], attributes)

def split_params(network):
    "Return the parameters of the body and of the heads"
    return [params(network.body), params(network.category)+params(network.attributes)]

def dataloaders(table, size=128, bs=64, expert=False):
    "Return loaders of a table with the columns file, category, attributes and split"
    frame = pd.read_csv(table, keep_default_na=False)
    frame['valid'] = frame.split=='valid'
    image = ColReader('file', pref=f'{Path(table).parent}/')
    resize = Resize(size, method=ResizeMethod.Squish) if expert else Resize(size)
    has_gpu = torch.cuda.is_available()
    normalize = Normalize.from_stats([0.5]*3, [0.5]*3, cuda=has_gpu)
    block = DataBlock((ImageBlock, CategoryBlock, MultiCategoryBlock), n_inp=1, splitter=ColSplitter('valid'),
        getters=[image, ColReader('category'), ColReader('attributes', label_delim=' ')],
        item_tfms=resize, batch_tfms=[*aug_transforms(), normalize])
    return block.dataloaders(frame, bs=bs, num_workers=min(8, os.cpu_count()) if has_gpu else 0)

def package_body(arch):
    "Return a body with the weights of a package"
    return timm.create_model(arch, num_classes=0, pretrained=True, pretrained_cfg_overlay=package_weights(arch).cfg)

def learner(table, arch='tf_efficientnet_lite0', size=128, bs=64, expert=False, body=None):
    """Return a learner; `expert` squashes images and uses channels-last memory

    `body` is that of `arch` with the weights of a package unless given; everything else is fastai and timm.
    """
    dls = dataloaders(table, size, bs, expert)
    network = TwoHeads(body or package_body(arch), len(dls.vocab[0]), len(dls.vocab[1]))
    learn = Learner(dls, network, loss, splitter=split_params)
    return learn.add_cb(ChannelsLast()) if expert else learn

def seconds_an_epoch(learn, share=0.1):
    "Return the seconds of an epoch, from a `share` of one on a learner that is not used afterwards"
    started = time.perf_counter()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=ShortEpochCallback(share))
    return (time.perf_counter()-started)/share

def main():
    parser = argument_parser(__doc__)
    parser.add_argument('--expert', action='store_true', help='squashed images, channels-last, a higher rate')
    args = parser.parse_args()
    def make():
        set_seed(42)
        return learner(args.table, size=args.size, expert=args.expert, body=body_from(args.weights))
    seconds = seconds_an_epoch(make())
    n_epochs = max(1, int(0.95*seconds_left(args.minutes)/seconds-0.5)) # the frozen epoch takes about half of one
    print(f'{seconds:.0f} s an epoch: a frozen one and {n_epochs} more', flush=True)
    learn = make()
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(n_epochs, 1e-2 if args.expert else 2e-3, freeze_epochs=1)
        (category,attributes),_ = learn.get_preds()
    vocabs = [list(vocab) for vocab in learn.dls.vocab]
    task = replace(read_task(args.table), categories=vocabs[0], attributes=vocabs[1])
    write_probs(args.out, task, category.softmax(1).numpy(), attributes.sigmoid().numpy())

if __name__=='__main__': main()
