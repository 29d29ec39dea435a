"""Training: labeled images (`open_data`), settings (`Recipe`) and the run folder (`train`).

run.py              `train`
recipe.py           the settings
data/               labeled images
normalization.py    mean and standard deviation of the images
augment.py          random shifts, mirroring and erasing
loop.py             the steps
processes.py        several processes
batch_size.py       the memory of a step
run_writer.py       writes the run folder while a training runs
checkpoints.py      checkpoints in the run folder
description.py      convlens.json in the run folder
logs.py             the history as files
example_photos.py   photos of validation images in the run folder
run_index.py        index.html of the run folder
result.py           `Training`, and `read_training`
filter_learning.py  `learn_filters`: first-layer filters from photos, without labels
"""

from convlens.training.data import Dataset, LabeledImages, open_data
from convlens.training.recipe import Recipe, default_recipe
from convlens.training.result import Training, read_training
from convlens.training.run import train

__all__ = [
    "Dataset",
    "LabeledImages",
    "Recipe",
    "Training",
    "default_recipe",
    "open_data",
    "read_training",
    "train",
]
