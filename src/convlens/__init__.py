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
    from convlens.sweep.shift import shift
    from convlens.tracing import trace
    from convlens.training import open_data, train
    from convlens.views.anatomy import anatomy
    from convlens.views.answers import answers
    from convlens.views.boxes import boxes_on_image, read_boxes
    from convlens.views.cortex import cortex
    from convlens.views.doctor import doctor
    from convlens.views.dream import dream
    from convlens.views.equivariance import equivariance
    from convlens.views.evidence import evidence
    from convlens.views.fgsm import fgsm
    from convlens.views.field import receptive_field
    from convlens.views.filters import filters
    from convlens.views.flips import flips
    from convlens.views.gabor import gabor, gabor_bank
    from convlens.views.goals import Direction
    from convlens.views.gradcam import gradcam, gradcam_layers
    from convlens.views.growth import growth
    from convlens.views.inside import inside
    from convlens.views.likeness import likeness
    from convlens.views.maps import feature_maps, maps
    from convlens.views.maximize import maximize
    from convlens.views.pgd import pgd
    from convlens.views.pointing import pointing
    from convlens.views.randomisation import randomisation
    from convlens.views.tuning import tuning

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
    "patches": "sweep.patches",
    "shift": "sweep.shift",
    "receptive_field": "views.field",
    "trace": "tracing",
    "open_data": "training",
    "train": "training",
    "anatomy": "views.anatomy",
    "answers": "views.answers",
    "boxes_on_image": "views.boxes",
    "read_boxes": "views.boxes",
    "doctor": "views.doctor",
    "dream": "views.dream",
    "equivariance": "views.equivariance",
    "evidence": "views.evidence",
    "fgsm": "views.fgsm",
    "filters": "views.filters",
    "flips": "views.flips",
    "cortex": "views.cortex",
    "feature_maps": "views.maps",
    "gabor": "views.gabor",
    "gabor_bank": "views.gabor",
    "gradcam": "views.gradcam",
    "gradcam_layers": "views.gradcam",
    "pointing": "views.pointing",
    "randomisation": "views.randomisation",
    "likeness": "views.likeness",
    "maps": "views.maps",
    "maximize": "views.maximize",
    "Direction": "views.goals",
    "tuning": "views.tuning",
    "growth": "views.growth",
    "inside": "views.inside",
    "pgd": "views.pgd",
}

__all__ = [
    "ConvlensError", "Direction", "Model", "PhotoError", "Result", "TraceError", "anatomy",
    "answers", "boxes_on_image", "build", "cortex", "doctor", "dream", "equivariance", "evidence",
    "feature_maps", "fgsm", "filters", "flips", "fragility", "gabor", "gabor_bank", "gradcam",
    "gradcam_layers", "gradcams", "growth", "inside", "invariance", "likeness", "load", "maps",
    "maximize", "open_data", "patches", "pgd", "pointing", "randomisation", "read_boxes",
    "receptive_field", "report", "shift", "snapshots", "trace", "train", "tuning", "wrap",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'convlens' has no attribute {name!r}")
    return getattr(import_module(f"convlens.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
