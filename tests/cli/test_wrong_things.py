"""What is no Model, no image and no shift, and labels of another number: one line each."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError, wrap


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip


def images():
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


OF_IMAGES = ["predict", "equivariance", "fgsm", "gradcam", "gradcam_layers", "pgd", "randomization"]
OF_PHOTOS = ["check_preprocessing", "robustness", "invariance", "patches", "shift"]


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_PHOTOS, "dream"])
def test_a_network_that_is_not_wrapped(name):
    words = {"layer": "0"} if name == "invariance" else {}
    with pytest.raises(ConvlensError, match=r"^Sequential is not a Model; give convlens\.wrap\("):
        getattr(convlens, name)(network(), images(), **words)


@pytest.mark.parametrize("name", ["trace", "anatomy", "filters", "orientation_tuning"])
def test_a_name_instead_of_a_model(name):
    with pytest.raises(
        ConvlensError, match=r"str is not a Model; give convlens\.load\('default'\)"
    ):
        getattr(convlens, name)("default")


@pytest.mark.parametrize("name", [*OF_IMAGES, "dream"])
def test_arrays_with_the_channels_first(name):
    with pytest.raises(ConvlensError, match=r"3x16x16 is no photo.*moves the channels to the end"):
        getattr(convlens, name)(wrap(network(), size=16), images()[0].numpy())


@pytest.mark.parametrize("name", [*OF_IMAGES, *OF_PHOTOS])
def test_a_path_that_does_not_exist_and_an_array_that_is_no_photo(name):
    words = {"layer": "0"} if name == "invariance" else {}
    for photos, says in (
        ("a.png", "a.png does not exist|none of (them|1 photos) can be read"),
        (np.zeros(3), "an array of 3 is no photo"),
    ):
        with pytest.raises(ConvlensError, match=says):
            getattr(convlens, name)(wrap(network(), size=16), photos, **words)


@pytest.mark.parametrize(("count", "hint"), [(3, ".*background"), (5, ".*background"), (9, "$")])
def test_labels_of_another_number(count, hint):
    model = wrap(network(), size=16, labels=[f"name {each}" for each in range(count)])
    words = rf"Sequential has 4 outputs and {count} labels; give a label for each output{hint}"
    for call in (
        convlens.anatomy,
        lambda wrapped: convlens.gradcam(wrapped, images(), classes=["name 2"]),
    ):
        with pytest.raises(ConvlensError, match=words):
            call(model)
    # The trace that is kept is of the network, whose labels may be right another time.
    convlens.trace(wrap(model.network, size=16, labels=list("abcd")))
    with pytest.raises(ConvlensError, match=words):
        convlens.trace(model)


def test_classes_and_shifts_of_other_types_are_refused():
    model = wrap(network(), size=16)
    with pytest.raises(ConvlensError, match="class None of type NoneType"):
        convlens.gradcam(model, images(), classes=[None])
    for shift in (1.5, "1", (1, 2, 3), None):
        with pytest.raises(ConvlensError, match="give whole pixels, for both axes"):
            convlens.equivariance(model, images(), shifts=[shift])  # type: ignore[list-item]
    maximum = convlens.maximize(model, ["class 0"], steps=1)
    assert maximum.maxima[0].objective == "class 0"


def test_an_epsilon_alone_is_a_list_of_one():
    model = wrap(network(), size=16)
    first = convlens.fgsm(model, images(), "8/255")
    assert first.epsilons == pytest.approx([8 / 255])
    assert convlens.fgsm(model, images(), 0.25).epsilons == (0.25,)
    bad: Any
    for bad in ("cat", [None], []):
        with pytest.raises(ConvlensError, match="epsilon"):
            convlens.fgsm(model, images(), bad)
