"""Refusals where images are repeated, looped over or detached give the true reason."""

import pytest
import torch
from torch import nn

import convlens

SIZE = 8
IMAGES = torch.rand(2, 3, SIZE, SIZE)


class Network(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.run = run

    def scores(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))

    def forward(self, x):
        return self.run(self, x)


def with_mirror_images(network, x):
    first, second = network.scores(torch.cat([x, x.flip(3)])).chunk(2)
    return (first + second) / 2


def one_by_one(network, x):
    return torch.cat([network.scores(image[None]) for image in x])


@pytest.mark.parametrize(
    ("run", "shapes"),
    [
        (with_mirror_images, r"\(2, 4, 6, 6\) for one image and \(4, 4, 6, 6\) for two"),
        (
            one_by_one,
            r"\(1, 4, 6, 6\) for one image.* two",
        ),
    ],
)
@pytest.mark.parametrize(
    "analysis",
    [
        lambda model: convlens.gradcam(model, IMAGES),
        lambda model: convlens.patches(model, IMAGES),
        lambda model: convlens.gradcam(model, IMAGES, layer="body"),
        lambda model: convlens.feature_maps(model, IMAGES[:1]),
    ],
    ids=["gradcam", "patches", "layer", "feature_maps"],
)
def test_images_that_are_repeated_or_run_one_by_one(run, shapes, analysis):
    model = convlens.wrap(Network(run).eval(), size=SIZE)
    with pytest.raises(convlens.ConvlensError, match=shapes + ".* one image at each"):
        analysis(model)


def without_gradient(network, x):
    with torch.no_grad():
        return network.scores(x)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda network, x: network.scores(x.detach()), "detach, through which"),
        (without_gradient, "it computes without recording how"),
    ],
)
def test_a_missing_gradient_is_refused_with_its_reason(run, reason):
    model = convlens.wrap(Network(run).eval(), size=SIZE)
    with pytest.raises(convlens.ConvlensError, match=reason):
        convlens.fgsm(model, IMAGES)
