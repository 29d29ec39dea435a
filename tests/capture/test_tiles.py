"""Maps and Grad-CAM of large images in tiles, against a run on the whole image."""

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens import ConvlensError
from convlens.tracing import memory
from support.tiled_networks import (
    NETWORKS,
    SIZE,
    allow_share,
    assert_in_tiles,
    head,
    model_of,
    photo,
    strided,
)


class Gate(nn.Module):
    """Squeeze and excitation: depends on the whole image."""

    def forward(self, x):
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


class Coordinates(nn.Module):
    """Adds to each position the number of its column, so that equal pixels differ."""

    def forward(self, x):
        return x + torch.arange(x.shape[3], dtype=x.dtype) / 100


class BySize(nn.Module):
    def forward(self, x):
        return x * (x.shape[2] / 100)


class Around(nn.Module):
    """A network whose logits also depend on the mean of the image, around its layers."""

    def __init__(self):
        super().__init__()
        self.layers, self.linear = strided(), nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(self.layers(x).mean((2, 3)) + x.mean((1, 2, 3))[:, None])


class BySizeInTheHead(nn.Module):
    """A network that divides by the number of pixels of its image."""

    def __init__(self):
        super().__init__()
        self.layers, self.linear = strided(), nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(self.layers(x).sum((2, 3)) / x[0, 0].numel())


class Enlarged(nn.Module):
    """Segmentation: the scores have the size of the image."""

    def __init__(self):
        super().__init__()
        self.layers = strided()

    def forward(self, x):
        return F.interpolate(self.layers(x), size=x.shape[2:])


LAYERS = {"strides": "3", "residual": "4", "same padding": "3", "modules that overwrite": "2"}


@pytest.mark.parametrize("name", NETWORKS)
def test_grad_cam_in_tiles_is_that_of_the_whole_image(name, monkeypatch):
    model, images = model_of(NETWORKS[name]), photo()
    if name == "strides":
        images = torch.cat([images, images.flip(3)])
    whole = convlens.gradcam(model, images, classes=[0, 2])
    sizes = allow_share(monkeypatch, model, 0.4 if name == "strides" else 0.7)
    tiled = convlens.gradcam(model, images, classes=[0, 2])
    assert_in_tiles(sizes)
    assert tiled.nodes == whole.nodes
    scale = whole.maps.square().mean().sqrt()
    torch.testing.assert_close(tiled.maps, whole.maps, rtol=0, atol=1e-4 * float(scale))
    torch.testing.assert_close(tiled.scores, whole.scores, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(tiled.contributions, whole.contributions, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_in_tiles_are_those_of_the_whole_image(name, monkeypatch):
    model, image = model_of(NETWORKS[name]), photo()
    whole = convlens.feature_maps(model, image, layer=LAYERS[name])
    sizes = allow_share(monkeypatch, model, 0.5)
    tiled = convlens.feature_maps(model, image, layer=LAYERS[name])
    assert_in_tiles(sizes)
    torch.testing.assert_close(tiled.maps, whole.maps, rtol=1e-4, atol=1e-5)


def test_tiles_are_stated_before_they_run(monkeypatch, caplog):
    model = model_of(NETWORKS["strides"])
    sizes = allow_share(monkeypatch, model, 0.5)
    monkeypatch.setattr(memory, "_stated", set())
    with caplog.at_level(logging.INFO, logger="convlens.memory"):
        convlens.feature_maps(model, photo(), layer="3")
        convlens.feature_maps(model, photo(), layer="3")
    (statement,) = (
        record.getMessage() for record in caplog.records if "tiles" in record.getMessage()
    )
    height, width = min(sizes)
    count = (len(sizes) - 4) // 2  # beside those that run again to be compared
    assert statement.endswith(f"on an image of 203 x 178 in {count} tiles of {height} x {width}")


def test_tiles_subtract_the_mean_of_the_whole_image(monkeypatch):
    model = model_of(NETWORKS["strides"], center="image")
    image = photo() * torch.linspace(0, 1, SIZE[1])
    whole = convlens.feature_maps(model, image, layer="3")
    sizes = allow_share(monkeypatch, model, 0.5)
    tiled = convlens.feature_maps(model, image, layer="3")
    assert_in_tiles(sizes)
    torch.testing.assert_close(tiled.maps, whole.maps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Gate(), nn.Conv2d(4, 4, 3), *head()),
            "2 depends on the whole image through a global operation",
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Coordinates(), nn.Conv2d(4, 4, 3), *head()),
            "units of 2 have other values in other tiles",
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 4, 3), BySize(), nn.Conv2d(4, 4, 3), *head()),
            "units of 2 have other values in other tiles",
        ),
        (
            lambda: nn.Sequential(
                nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(4, 4, 3), *head()
            ),
            "units of 1 are not evenly spaced",
        ),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), *head()), "what follows 0 takes too much"),
        (Around, "the logits do not depend on .* alone"),
        (BySizeInTheHead, "the logits depend on the size of the image"),
        (Enlarged, "the logits cannot be computed from .* alone"),
    ],
)
def test_tiles_that_would_be_wrong_are_refused(network, reason, monkeypatch):
    """In one line that says why, instead of other maps than those of the whole image."""
    model, image = model_of(network), photo()
    layer = "layers" if network is Around else None
    convlens.gradcam(model, image, layer=layer)
    allow_share(monkeypatch, model, 0.7)
    with pytest.raises(ConvlensError, match=f"tiles are not possible: .*{reason}"):
        convlens.gradcam(model, image, layer=layer)


def test_results_do_not_depend_on_free_memory(monkeypatch):
    """Without a limit of the user's the threshold is fixed, whatever memory is free."""
    model, image = model_of(NETWORKS["strides"]), photo()
    sizes = allow_share(monkeypatch, model, 0.6)
    monkeypatch.delenv(memory.LIMIT_VARIABLE)
    monkeypatch.setattr(memory, "free_memory", lambda device: 10**12)
    convlens.gradcam(model, image)
    assert set(sizes) == {SIZE}
    monkeypatch.setattr(memory, "_WITHOUT_TILES", 500_000)
    convlens.gradcam(model, image)
    assert len(set(sizes)) > 1
