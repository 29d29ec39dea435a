"""convlens builds and trains convolutional networks, and shows what a trained one has learned.

    import convlens

    model = convlens.load()                      # the embedded default, or any other spec
    images = model.prepare(["cat.jpg"])
    convlens.gradcam(model, images, classes="tiger cat").save("cat")

Names are imported when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convlens.analyses.anatomy.anatomy import anatomy
    from convlens.analyses.attacks.dataset_pass import robustness
    from convlens.analyses.attacks.fgsm import fgsm
    from convlens.analyses.attacks.flip import flips
    from convlens.analyses.attacks.internal_changes import inside
    from convlens.analyses.attacks.pgd import pgd
    from convlens.analyses.cortex.cortex import cortex
    from convlens.analyses.deepdream.deepdream import dream
    from convlens.analyses.feature_maps.feature_maps import convolve, feature_maps
    from convlens.analyses.filters.filters import filters
    from convlens.analyses.filters.over_training import growth
    from convlens.analyses.gabor.gabor import gabor, gabor_bank
    from convlens.analyses.gabor.noise_test import likeness
    from convlens.analyses.gradcam.boxes import boxes_on_image, read_boxes
    from convlens.analyses.gradcam.dataset_pass import gradcams
    from convlens.analyses.gradcam.deletion_insertion import deletion_insertion
    from convlens.analyses.gradcam.gradcam import gradcam, gradcam_layers
    from convlens.analyses.gradcam.pointing_game import pointing_game
    from convlens.analyses.gradcam.randomization import randomization
    from convlens.analyses.maximize.maximize import maximize
    from convlens.analyses.maximize.objectives import Direction
    from convlens.analyses.orientation_tuning.orientation_tuning import tuning
    from convlens.analyses.patches.dataset_pass import patches
    from convlens.analyses.predictions.predictions import answers
    from convlens.analyses.preprocessing_check.preprocessing_check import doctor
    from convlens.analyses.receptive_field.field import receptive_field
    from convlens.analyses.shift.dataset_pass import shift
    from convlens.analyses.shift.equivariance import equivariance
    from convlens.analyses.shift.invariance_dataset_pass import invariance
    from convlens.data.datasets.parquet import ParquetPhotos
    from convlens.errors import ConvlensError, PhotoError, TraceError
    from convlens.models.loading import load, snapshots
    from convlens.models.model import Model, wrap
    from convlens.models.networks import build
    from convlens.page.report import report
    from convlens.passes.ray import Ray
    from convlens.results import Result
    from convlens.tracing import trace
    from convlens.training import open_data, train

_HOMES = {
    "ConvlensError": "errors",
    "PhotoError": "errors",
    "TraceError": "errors",
    "load": "models.loading",
    "snapshots": "models.loading",
    "Model": "models.model",
    "wrap": "models.model",
    "build": "models.networks",
    "report": "page.report",
    "Result": "results",
    "robustness": "analyses.attacks.dataset_pass",
    "invariance": "analyses.shift.invariance_dataset_pass",
    "gradcams": "analyses.gradcam.dataset_pass",
    "ParquetPhotos": "data.datasets.parquet",
    "patches": "analyses.patches.dataset_pass",
    "Ray": "passes.ray",
    "shift": "analyses.shift.dataset_pass",
    "receptive_field": "analyses.receptive_field.field",
    "trace": "tracing",
    "open_data": "training",
    "train": "training",
    "anatomy": "analyses.anatomy.anatomy",
    "answers": "analyses.predictions.predictions",
    "boxes_on_image": "analyses.gradcam.boxes",
    "read_boxes": "analyses.gradcam.boxes",
    "doctor": "analyses.preprocessing_check.preprocessing_check",
    "dream": "analyses.deepdream.deepdream",
    "equivariance": "analyses.shift.equivariance",
    "deletion_insertion": "analyses.gradcam.deletion_insertion",
    "fgsm": "analyses.attacks.fgsm",
    "filters": "analyses.filters.filters",
    "flips": "analyses.attacks.flip",
    "cortex": "analyses.cortex.cortex",
    "convolve": "analyses.feature_maps.feature_maps",
    "gabor": "analyses.gabor.gabor",
    "gabor_bank": "analyses.gabor.gabor",
    "gradcam": "analyses.gradcam.gradcam",
    "gradcam_layers": "analyses.gradcam.gradcam",
    "pointing_game": "analyses.gradcam.pointing_game",
    "randomization": "analyses.gradcam.randomization",
    "likeness": "analyses.gabor.noise_test",
    "feature_maps": "analyses.feature_maps.feature_maps",
    "maximize": "analyses.maximize.maximize",
    "Direction": "analyses.maximize.objectives",
    "tuning": "analyses.orientation_tuning.orientation_tuning",
    "growth": "analyses.filters.over_training",
    "inside": "analyses.attacks.internal_changes",
    "pgd": "analyses.attacks.pgd",
}

__all__ = [
    "ConvlensError",
    "Direction",
    "Model",
    "ParquetPhotos",
    "PhotoError",
    "Ray",
    "Result",
    "TraceError",
    "anatomy",
    "answers",
    "boxes_on_image",
    "build",
    "convolve",
    "cortex",
    "deletion_insertion",
    "doctor",
    "dream",
    "equivariance",
    "feature_maps",
    "fgsm",
    "filters",
    "flips",
    "gabor",
    "gabor_bank",
    "gradcam",
    "gradcam_layers",
    "gradcams",
    "growth",
    "inside",
    "invariance",
    "likeness",
    "load",
    "maximize",
    "open_data",
    "patches",
    "pgd",
    "pointing_game",
    "randomization",
    "read_boxes",
    "receptive_field",
    "report",
    "robustness",
    "shift",
    "snapshots",
    "trace",
    "train",
    "tuning",
    "wrap",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'convlens' has no attribute {name!r}")
    return getattr(import_module(f"convlens.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
