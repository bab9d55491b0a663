"""AutoGluon MultiModal on the category alone: it takes one label column

Its preset `medium_quality`, the one made for a body of this size, with our body, weights and image side. It chooses
its checkpoint by the validation split, on which it is scored afterwards: an advantage over the others. The minutes are
its own `time_limit`; averaging checkpoints and predicting come on top.

    python -m peers.autogluon_multimodal TABLE MINUTES WEIGHTS OUT
"""
from .task import argument_parser, read_task, seconds_left, write_probs
import tempfile
from pathlib import Path
import numpy as np, pandas as pd
from autogluon.multimodal import MultiModalPredictor

def frame(split, categories):
    "Return paths and categories as a table"
    return pd.DataFrame(dict(image=split.paths, category=np.array(categories)[split.category]))

def main():
    args = argument_parser(__doc__).parse_args()
    task = read_task(args.table)
    train,valid = frame(task.train, task.categories),frame(task.valid, task.categories)
    known = valid[task.valid.category>=0] # labels that a training image has
    with tempfile.TemporaryDirectory() as folder:
        predictor = MultiModalPredictor('category', problem_type='multiclass', eval_metric='accuracy',
            presets='medium_quality', path=str(Path(folder)/'model'))
        predictor.fit(train, tuning_data=known, time_limit=int(seconds_left(args.minutes)), seed=42, hyperparameters={
            'model.names': ['timm_image'], 'model.timm_image.checkpoint_name': str(args.weights),
            'model.timm_image.image_size': args.size})
        probs = predictor.predict_proba(valid[['image']], as_pandas=True)
    write_probs(args.out, task, probs[task.categories].to_numpy())

if __name__=='__main__': main()
