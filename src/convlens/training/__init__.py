"""Training: labeled images (`open_data`), settings (`Recipe`) and the run folder (`train`)."""

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
