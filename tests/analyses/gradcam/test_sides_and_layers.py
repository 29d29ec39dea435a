"""Maps from one forward pass are those of `gradcam` and `gradcam_layers`, in every bit."""

from unittest.mock import patch

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.gradcam import sides_and_layers
from convlens.analyses.gradcam.sides_and_layers import gradcam_sides_and_layers
from convlens.errors import ConvlensError
from convlens.tracing.selection import Side

IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def network(last: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), last, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 4),
    )  # fmt: skip


@pytest.mark.parametrize("last", [nn.ReLU(), nn.ReLU(inplace=True), nn.Identity()])
@pytest.mark.parametrize("layer", [None, "0"])
@pytest.mark.parametrize("side", ["pre", "post"])
def test_maps_are_those_of_three_calls(last: nn.Module, layer: str | None, side: Side) -> None:
    model = convlens.wrap(network(last), size=16)
    cam = convlens.gradcam(model, IMAGE, top=2, layer=layer, side=side)
    classes = torch.stack([cam.classes, cam.subtracted], dim=-1)
    other = convlens.gradcam(
        model, IMAGE, classes=classes, layer=layer, side="post" if side == "pre" else "pre"
    )
    with patch.object(sides_and_layers, "_one_by_one", side_effect=AssertionError):
        maps = gradcam_sides_and_layers(model, IMAGE, top=2, layer=layer, side=side)
    assert maps.cam == cam
    assert maps.other_side == (None if torch.equal(other.maps, cam.maps) else other)
    assert maps.layers == convlens.gradcam_layers(model, IMAGE, classes=classes[:, :1])


def test_maps_that_fail_do_not_prevent_the_others() -> None:
    class Detached(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.detach()

    layers = network(nn.ReLU())
    layers[2] = nn.Sequential(nn.MaxPool2d(2), Detached())
    model = convlens.wrap(layers, size=16)
    maps = gradcam_sides_and_layers(model, IMAGE)
    assert maps.cam == convlens.gradcam(model, IMAGE)
    assert maps.other_side is not None
    with pytest.raises(ConvlensError):
        gradcam_sides_and_layers(model, IMAGE, layer="0")


def test_a_network_with_warnings_has_them_in_each_result() -> None:
    class Dropped(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * (1 + torch.rand(()))

    layers = network(nn.ReLU())
    layers[2] = nn.Sequential(nn.MaxPool2d(2), Dropped())
    model = convlens.wrap(nn.Sequential(*layers, nn.Softmax(dim=1), nn.Dropout()), size=16)
    with pytest.warns(convlens.ConvlensWarning):
        cam = convlens.gradcam(model, IMAGE)
        maps = gradcam_sides_and_layers(model, IMAGE)
    assert cam.warnings
    assert maps.cam.warnings == cam.warnings
    assert maps.layers is not None and maps.layers.warnings == cam.warnings
