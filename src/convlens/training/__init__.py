"""Training: from labeled images to a run folder, which `convlens.load` takes as a model."""

from convlens.training.data import Dataset, Images, open_data
from convlens.training.recipe import Recipe, recipe_for
from convlens.training.run import Training, train

__all__ = ["Dataset", "Images", "Recipe", "Training", "open_data", "recipe_for", "train"]
