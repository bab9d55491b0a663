"""The task of every peer: one label and a set of labels for each image of a table, within the minutes given

Needs numpy and pandas only, so that it runs in the environment of any peer.
"""
import time
STARTED = time.perf_counter() # before the heavy imports: they count too
import argparse, os
from dataclasses import dataclass
from pathlib import Path
import numpy as np, pandas as pd

BATCH_SIZE = 64

def argument_parser(doc):
    "Return a parser of the arguments that every peer takes"
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('table', help='CSV with columns file, category, attributes and split')
    parser.add_argument('minutes', type=float, help='from the start of the program to its predictions')
    parser.add_argument('weights', type=Path, help='folder with config.json and pytorch_model.bin of a timm body')
    parser.add_argument('out', help='.npz file for the probabilities of the validation split')
    parser.add_argument('--size', type=int, default=128, help='image side in pixels')
    return parser

def seconds_left(minutes):
    "Return the seconds until the `minutes` since the start of the program are over"
    return 60*minutes-(time.perf_counter()-STARTED)

def steps_in_time(seconds, step_seconds, n_valid):
    "Return how many training steps fit into `seconds`, if predicting a batch takes half a step, with 5 % to spare"
    predicting = -(-n_valid//BATCH_SIZE)*step_seconds/2
    return max(1, int((0.95*seconds-predicting)/step_seconds))

def n_workers():
    "Return the number of processes that load images: one for each core, at most 8"
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())

@dataclass
class Split:
    "The images of one split"
    files: list[str] # names from the table
    paths: list[str]
    category: np.ndarray # codes, `(n,)` int; -1 for a label that no training image has
    attributes: np.ndarray # `(n, n_attributes)` float32, 0 or 1

@dataclass
class Task:
    "The labels of the training split, and both splits"
    categories: list[str]
    attributes: list[str]
    train: Split
    valid: Split

def _split(frame, folder, categories, attributes):
    "Return the rows of `frame` with their labels as numbers"
    category = pd.Categorical(frame.category, categories).codes.astype(int)
    label_sets = frame.attributes.str.split()
    hot = np.array([[label in labels for label in attributes] for labels in label_sets], dtype=np.float32)
    return Split(frame.file.tolist(), [str(folder/file) for file in frame.file], category, hot)

def read_task(table):
    "Read the task from a CSV file; images lie beside it"
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    train,valid = frame[(frame.split=='train') & (frame.category!='')],frame[frame.split=='valid']
    categories = sorted(set(train.category))
    attributes = sorted(set(train.attributes.str.split().explode().dropna()))
    splits = [_split(rows, Path(table).parent, categories, attributes) for rows in (train, valid)]
    return Task(categories, attributes, *splits)

def write_probs(path, task, category, attributes=None):
    "Write the probabilities of the validation split, those of attributes if there are any"
    arrays = dict(files=task.valid.files, category=category, category_vocab=task.categories)
    if attributes is not None: arrays |= dict(attributes=attributes, attributes_vocab=task.attributes)
    np.savez(path, **arrays)
