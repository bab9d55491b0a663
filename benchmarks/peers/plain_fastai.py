"A learner for two targets as fastai's own docs teach it: plain, and as an expert would set it"
from pathlib import Path
import pandas as pd, timm
from fashion_fastai.models.weights import package_weights
from fastai.callback.channelslast import ChannelsLast
from fastai.vision.all import (BCEWithLogitsLossFlat, CategoryBlock, ColReader, ColSplitter, CrossEntropyLossFlat, DataBlock, ImageBlock, Learner,
    MultiCategoryBlock, Normalize, Resize, ResizeMethod, aug_transforms, nn, params)

class TwoHeads(nn.Module):
    "A timm body and two linear layers"
    def __init__(self, arch, n_category, n_attributes, pretrained_cfg_overlay=None):
        super().__init__()
        self.body = timm.create_model(arch, num_classes=0, pretrained=pretrained_cfg_overlay is not None, pretrained_cfg_overlay=pretrained_cfg_overlay)
        n = self.body.head_hidden_size
        self.category,self.attributes = nn.Linear(n, n_category),nn.Linear(n, n_attributes)
    def forward(self, x):
        features = self.body(x)
        return self.category(features),self.attributes(features)

def loss(preds, category, attributes): return CrossEntropyLossFlat()(preds[0], category)+BCEWithLogitsLossFlat()(preds[1], attributes)

def dataloaders(table, size=128, bs=64, expert=False):
    frame = pd.read_csv(table, keep_default_na=False)
    frame['valid'] = frame.split=='valid'
    block = DataBlock((ImageBlock, CategoryBlock, MultiCategoryBlock), n_inp=1, splitter=ColSplitter('valid'),
        getters=[ColReader('file', pref=f'{Path(table).parent}/'), ColReader('category'), ColReader('attributes', label_delim=' ')],
        item_tfms=Resize(size, method=ResizeMethod.Squish) if expert else Resize(size), batch_tfms=[*aug_transforms(), Normalize.from_stats([0.5]*3, [0.5]*3, cuda=False)])
    return block.dataloaders(frame, bs=bs, num_workers=0)

def learner(table, arch='tf_efficientnet_lite0', size=128, bs=64, expert=False):
    overlay = package_weights(arch).cfg # where the pretrained weights are; everything else is fastai and timm
    dls = dataloaders(table, size, bs, expert)
    splitter = lambda m: [params(m.body), params(m.category)+params(m.attributes)]
    learn = Learner(dls, TwoHeads(arch, len(dls.vocab[0]), len(dls.vocab[1]), overlay), loss, splitter=splitter)
    return learn.add_cb(ChannelsLast()) if expert else learn
