"A learner for two targets as fastai's documentation teaches it: plain, and as an expert would set it"
import os
from pathlib import Path
import pandas as pd, timm, torch
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import (BCEWithLogitsLossFlat, CategoryBlock, ColReader, ColSplitter, CrossEntropyLossFlat,
    DataBlock, ImageBlock, Learner, MultiCategoryBlock, Normalize, Resize, ResizeMethod, aug_transforms, nn, params)
from fashion_fastai.models.weights import package_weights

class TwoHeads(nn.Module):
    "A timm body and two linear layers"
    def __init__(self, arch, n_category, n_attributes, pretrained_cfg_overlay=None):
        super().__init__()
        is_pretrained = pretrained_cfg_overlay is not None
        self.body = timm.create_model(arch, num_classes=0, pretrained=is_pretrained,
            pretrained_cfg_overlay=pretrained_cfg_overlay)
        n = self.body.head_hidden_size
        self.category,self.attributes = nn.Linear(n, n_category),nn.Linear(n, n_attributes)

    def forward(self, x):
        features = self.body(x)
        return self.category(features),self.attributes(features)

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

def learner(table, arch='tf_efficientnet_lite0', size=128, bs=64, expert=False):
    "Return a learner; `expert` squashes images and uses channels-last memory"
    overlay = package_weights(arch).cfg # where the pretrained weights are; everything else is fastai and timm
    dls = dataloaders(table, size, bs, expert)
    network = TwoHeads(arch, len(dls.vocab[0]), len(dls.vocab[1]), overlay)
    learn = Learner(dls, network, loss, splitter=split_params)
    return learn.add_cb(ChannelsLast()) if expert else learn
