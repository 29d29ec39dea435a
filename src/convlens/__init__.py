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
    from convlens.albums.parquet import ParquetPhotos
    from convlens.errors import ConvlensError, PhotoError, TraceError
    from convlens.loading import load, snapshots
    from convlens.model import Model, wrap
    from convlens.networks import build
    from convlens.page import report
    from convlens.results import Result
    from convlens.sweep.fragility import fragility
    from convlens.sweep.gradcam import gradcams
    from convlens.sweep.invariance import invariance
    from convlens.sweep.patches import patches
    from convlens.sweep.ray import Ray
    from convlens.sweep.shift import shift
    from convlens.tracing import trace
    from convlens.training import open_data, train
    from convlens.views.anatomy import anatomy
    from convlens.views.answers import answers
    from convlens.views.cells.cortex import cortex
    from convlens.views.cells.gabor import gabor, gabor_bank
    from convlens.views.cells.likeness import likeness
    from convlens.views.cells.tuning import tuning
    from convlens.views.doctor import doctor
    from convlens.views.field import receptive_field
    from convlens.views.filters import filters
    from convlens.views.fragility.fgsm import fgsm
    from convlens.views.fragility.flips import flips
    from convlens.views.fragility.inside import inside
    from convlens.views.fragility.pgd import pgd
    from convlens.views.growth import growth
    from convlens.views.maps import feature_maps, maps
    from convlens.views.saliency.boxes import boxes_on_image, read_boxes
    from convlens.views.saliency.evidence import evidence
    from convlens.views.saliency.gradcam import gradcam, gradcam_layers
    from convlens.views.saliency.pointing import pointing
    from convlens.views.saliency.randomisation import randomisation
    from convlens.views.shifts.equivariance import equivariance
    from convlens.views.synthesis.dream import dream
    from convlens.views.synthesis.goals import Direction
    from convlens.views.synthesis.maximize import maximize

_HOMES = {
    "ConvlensError": "errors",
    "PhotoError": "errors",
    "TraceError": "errors",
    "load": "loading",
    "snapshots": "loading",
    "Model": "model",
    "wrap": "model",
    "build": "networks",
    "report": "page",
    "Result": "results",
    "fragility": "sweep.fragility",
    "invariance": "sweep.invariance",
    "gradcams": "sweep.gradcam",
    "ParquetPhotos": "albums.parquet",
    "patches": "sweep.patches",
    "Ray": "sweep.ray",
    "shift": "sweep.shift",
    "receptive_field": "views.field",
    "trace": "tracing",
    "open_data": "training",
    "train": "training",
    "anatomy": "views.anatomy",
    "answers": "views.answers",
    "boxes_on_image": "views.saliency.boxes",
    "read_boxes": "views.saliency.boxes",
    "doctor": "views.doctor",
    "dream": "views.synthesis.dream",
    "equivariance": "views.shifts.equivariance",
    "evidence": "views.saliency.evidence",
    "fgsm": "views.fragility.fgsm",
    "filters": "views.filters",
    "flips": "views.fragility.flips",
    "cortex": "views.cells.cortex",
    "feature_maps": "views.maps",
    "gabor": "views.cells.gabor",
    "gabor_bank": "views.cells.gabor",
    "gradcam": "views.saliency.gradcam",
    "gradcam_layers": "views.saliency.gradcam",
    "pointing": "views.saliency.pointing",
    "randomisation": "views.saliency.randomisation",
    "likeness": "views.cells.likeness",
    "maps": "views.maps",
    "maximize": "views.synthesis.maximize",
    "Direction": "views.synthesis.goals",
    "tuning": "views.cells.tuning",
    "growth": "views.growth",
    "inside": "views.fragility.inside",
    "pgd": "views.fragility.pgd",
}

__all__ = [
    "ConvlensError", "Direction", "Model", "ParquetPhotos", "PhotoError", "Ray", "Result",
    "TraceError", "anatomy", "answers", "boxes_on_image", "build", "cortex", "doctor", "dream",
    "equivariance", "evidence", "feature_maps", "fgsm", "filters", "flips", "fragility", "gabor",
    "gabor_bank", "gradcam", "gradcam_layers", "gradcams", "growth", "inside", "invariance",
    "likeness", "load", "maps", "maximize", "open_data", "patches", "pgd", "pointing",
    "randomisation", "read_boxes", "receptive_field", "report", "shift", "snapshots", "trace",
    "train", "tuning", "wrap",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'convlens' has no attribute {name!r}")
    return getattr(import_module(f"convlens.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
