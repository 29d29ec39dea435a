"""Receptive fields and multiply-adds of published networks."""

from functools import partial

import torchvision

import convlens
from benchmarks.reproductions.published_figure import Outcome, PublishedFigure, judge

# Network, layer of torchvision's version, size of its receptive field in pixels.
_ARAUJO = "Araujo et al., Computing Receptive Fields of CNNs, Distill 2019"
_FIELDS = (
    ("alexnet", "features.12", 195, "last pooling"),
    ("vgg16", "features.30", 212, "last pooling"),
)
_NETWORKS = ("alexnet", "vgg16", "googlenet", "resnet18", "resnet50", "mobilenet_v2")


def reproductions() -> list[PublishedFigure]:
    """The figures, in the order of the table."""
    fields = [
        PublishedFigure(
            f"receptive field of {name}, {where}", f"{size}", _ARAUJO,
            partial(_compare_field, name, layer, size),
        )
        for name, layer, size, where in _FIELDS
    ]  # fmt: skip
    costs = [
        PublishedFigure(
            f"multiply-adds of {name}", f"{_published_cost(name):.3f} G", "torchvision's weights",
            partial(_compare_cost, name),
        )
        for name in _NETWORKS
    ]  # fmt: skip
    return fields + costs


def _compare_field(name: str, layer: str, size: int) -> Outcome:
    network = convlens.anatomy(convlens.load(f"torchvision:{name}@random"), size=(512, 512))
    field = next(row.field_size for row in network.layers if row.name == layer)
    return judge("unknown" if field is None else f"{field[0]}", field == (size, size))


def _published_cost(name: str) -> float:
    """Billions of multiply-adds at the size of the weights."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    return float(weights.meta["_ops"])


def _compare_cost(name: str) -> Outcome:
    network = convlens.anatomy(convlens.load(f"torchvision:{name}@random"))
    cost = network.multiply_adds / 1e9
    return judge(f"{cost:.3f} G", abs(cost - _published_cost(name)) < 0.0015)
