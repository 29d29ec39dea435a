"""The size of the maximized images on the page, and the traces that finding it takes."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from torch import nn

import convlens
from convlens.analyses.maximize import crop_plan
from convlens.analyses.maximize.crop_plan import plan_crop
from convlens.analyses.maximize.objectives import parse_objective
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.page import maximized_images
from convlens.page.inputs import Inputs
from convlens.tracing.tracer import trace

SIDES = (24, 104)


def _network(stages: int, *, pooled: bool = False) -> nn.Sequential:
    """Convolutions of stride 2, each of which doubles what a unit sees."""
    layers: list[nn.Module] = []
    for stage in range(stages):
        layers += [nn.Conv2d(3 if stage == 0 else 2, 2, 3, stride=2), nn.ReLU()]
    pooling = nn.AdaptiveAvgPool2d(2) if pooled else nn.Identity()
    return nn.Sequential(*layers, pooling)


def _size_of_both_steps(model: Model, target: str, side: int) -> tuple[int, int]:
    """The usual size first, then at most `side` pixels of it where the network runs on these."""
    base = trace(model, partly=True)
    objective = parse_objective(model, base, target)
    usual = plan_crop(model, base, objective, None).size
    try:
        return plan_crop(model, base, objective, (min(usual[0], side), min(usual[1], side))).size
    except ConvlensError:
        return usual


@pytest.mark.parametrize("size", [(96, 96), (100, 130), (224, 224)])
@pytest.mark.parametrize("stages", [1, 5])
def test_size_is_that_of_both_steps(size: tuple[int, int], stages: int) -> None:
    model = convlens.wrap(_network(stages, pooled=True), size=size)
    inputs = cast("Inputs", SimpleNamespace(model=model))
    for layer in (0, 2 * stages - 2):
        for side in SIDES:
            expected = _size_of_both_steps(model, f"{layer}:1", side)
            assert maximized_images._choose_image_size(inputs, f"{layer}:1", side) == expected


def test_the_usual_size_of_a_large_field_is_not_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    model = convlens.wrap(_network(5), size=224)  # a unit of the last layer sees 63 pixels
    inputs = cast("Inputs", SimpleNamespace(model=model))
    traced: list[tuple[int, int]] = []

    def count(model: Model, *arguments: Any, size: tuple[int, int], **options: Any) -> Any:
        traced.append(size)
        return trace(model, *arguments, size=size, **options)

    monkeypatch.setattr(crop_plan, "trace", count)
    assert maximized_images._choose_image_size(inputs, "8:0", 96) == (96, 96)
    assert traced == [(96, 96)]
