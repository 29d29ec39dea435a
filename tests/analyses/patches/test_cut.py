"""cut_patches: the patches of further channels are those that a pass which shows them draws."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import convlens


def network(channels=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, channels, 3), nn.ReLU(), nn.Conv2d(channels, 5, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return convlens.wrap(network(), size=10, name="net")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp("photos"), []
    for number in range(11):
        torch.manual_seed(number)
        paths.append(folder / f"{(number * 3) % 11:02}.png")  # not in the order of their names
        pixels = torch.randint(0, 256, (12, 12, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.mark.parametrize("side", ["post", "pre"])
def test_files_are_read_again_from_the_paths_of_the_pass(model, photos, side, tmp_path):
    labels = [(number % 2,) for number in range(11)]
    options = {"labels": labels, "side": side, "top": 3}
    index = convlens.patches(model, photos, show=0, **options)
    index.save(tmp_path / "index")
    shown = convlens.patches(model, photos, show={"0": [3, 1], "2": [4]}, **options)
    for given in (index, tmp_path / "index"):
        assert convlens.cut_patches(model, given, {"0": [3, 1], "2": [4]}) == shown
    part = convlens.cut_patches(model, index, {"2": [4]})
    assert part["2"] == shown["2"]
    assert part["0"] == index["0"]


def test_images_are_given_again(model):
    images = torch.rand(3, 3, 10, 10)  # fewer than patches of a channel
    index = convlens.patches(model, images, show={"0": [0]})
    cut = convlens.cut_patches(model, index, {"0": [2]}, photos=images)
    assert cut["0"] == convlens.patches(model, images, show={"0": [2]})["0"]
    with pytest.raises(convlens.ConvlensError, match="of 3 photos, and 2 others are given"):
        convlens.cut_patches(model, index, {"0": [2]}, photos=images[:2])


def test_the_first_patches_of_each_channel(model, photos):
    index = convlens.patches(model, photos, show=0)
    (whole,) = convlens.cut_patches(model, index, {"0": [2]})["0"].shown
    cut = convlens.cut_patches(model, index, {"0": [2]}, top=2)["0"]
    assert cut.values.shape == (4, 2)
    assert torch.equal(cut.shown[0].tiles, whole.tiles[:2])
    assert cut.shown[0].values == whole.values[:2]
    with pytest.raises(convlens.ConvlensError, match="top is 0"):
        convlens.cut_patches(model, index, {"0": [2]}, top=0)


def test_other_weights_and_changed_files_are_refused(model, photos, tmp_path):
    index = convlens.patches(model, photos, show=0)
    other = convlens.wrap(network(seed=1), size=10, name="net")
    with pytest.raises(convlens.ConvlensError, match="or the weights of net, have changed"):
        convlens.cut_patches(other, index, {"0": [2]})
    copies = [shutil.copy(photo, tmp_path) for photo in photos]
    index = convlens.patches(model, copies, show=0)
    channel = int(index["2"].values[:, 0].argmax())  # others may be silent on any photo
    strongest = index.photos[int(index["2"].images[channel, 0])]
    convlens.cut_patches(model, index, {"2": [channel]})
    Image.new("RGB", (12, 12)).save(strongest)
    with pytest.raises(convlens.ConvlensError, match=f"{Path(strongest).name}, or the weights"):
        convlens.cut_patches(model, index, {"2": [channel]})


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (convlens.wrap(network(), size=12, name="net"), "the model is net at 12 x 12"),
        (convlens.wrap(network(), size=10, name="other"), "the model is other at 10 x 10"),
        (convlens.wrap(network(6), size=10, name="net"), "'0' of 4 channels that net does not"),
    ],
)
def test_patches_of_another_model_are_refused(model, photos, made, says):
    index = convlens.patches(model, photos, show=0)
    with pytest.raises(convlens.ConvlensError, match=says):
        convlens.cut_patches(made, index, {"0": [2]})


def test_unknown_layers_and_channels_are_refused(model, photos):
    index = convlens.patches(model, photos, show=0)
    with pytest.raises(convlens.ConvlensError, match="has 4 channels"):
        convlens.cut_patches(model, index, {"0": [4]})
    with pytest.raises(convlens.ConvlensError, match="no patches of layer '1x'"):
        convlens.cut_patches(model, index, {"1x": [0]})
