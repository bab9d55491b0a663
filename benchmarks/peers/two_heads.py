"A timm body with a linear layer for each of two targets, and the images for it"
import timm
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

class TwoHeads(nn.Module):
    "A body without a classifier, and two linear layers"
    def __init__(self, body, n_category, n_attributes):
        super().__init__()
        n = body.head_hidden_size
        self.body = body
        self.category,self.attributes = nn.Linear(n, n_category),nn.Linear(n, n_attributes)

    def forward(self, x):
        features = self.body(x)
        return self.category(features),self.attributes(features)

def body_from(weights):
    "Return the pretrained body of a folder in the layout of the hub: config.json and pytorch_model.bin"
    return timm.create_model(f'local-dir:{weights}', pretrained=True, num_classes=0)

class Images(Dataset):
    "Images of a split with the codes of both targets"
    def __init__(self, split, transform): self.split,self.transform = split,transform
    def __len__(self): return len(self.split.paths)
    def __getitem__(self, i):
        image = self.transform(Image.open(self.split.paths[i]).convert('RGB'))
        return image,self.split.category[i],self.split.attributes[i]

def loss(logits, category, attributes):
    "Return the sum of cross-entropy and binary cross-entropy"
    cross_entropy = nn.functional.cross_entropy(logits[0], category, ignore_index=-1)
    return cross_entropy+nn.functional.binary_cross_entropy_with_logits(logits[1], attributes)
