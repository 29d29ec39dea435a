"""Reversed channels look like exchanged labels where color decides: which of both is named."""

import torch
from torch import nn

import convlens

SIZE = 8


class Colors(nn.Module):
    """Predicts which of red, green and blue is strongest on average."""

    def forward(self, x):
        return 60 * x.mean((2, 3))


class Reversed(Colors):
    """The same for a network that was trained with blue, green, red."""

    def forward(self, x):
        return super().forward(x.flip(1))


def photos(count=96):
    generator = torch.Generator().manual_seed(0)
    images = 0.4 * torch.rand(count, 3, SIZE, SIZE, generator=generator)
    kinds = torch.arange(count) % 3
    images[torch.arange(count), kinds] += 0.3
    return images, kinds.tolist()


def check(network, labels):
    images, _ = photos()
    model = convlens.wrap(network, size=SIZE, labels=["red", "green", "blue"])
    return convlens.check(model, images, [(label,) for label in labels])


def test_reversed_channels_are_named_and_not_the_labels():
    result = check(Reversed(), photos()[1])
    assert [finding.name for finding in result.broken] == ["preprocessing"]
    assert "order of the channels" in result["preprocessing"].sentence
    assert result["label order"].status == "cannot tell"
    assert "correct the preprocessing first" in result["label order"].sentence


def test_labels_in_a_circle_are_named_and_not_the_preprocessing():
    result = check(Colors(), [(kind + 1) % 3 for kind in photos()[1]])
    assert [finding.name for finding in result.broken] == ["label order"]
    assert "one too high" in result["label order"].sentence


class RedBands(nn.Module):
    """Predicts in which of four bands of rows the red channel is brightest."""

    def forward(self, x):
        return 4 * x[:, 0].clamp(0, 1).reshape(len(x), 4, -1).mean(2)


def test_exchanged_labels_do_not_make_a_right_preprocessing_wrong():
    """With blue in the place of red, predictions are surer and wrong; only labels tell that."""
    count = 96
    generator = torch.Generator().manual_seed(0)
    images = 0.2 * torch.rand(count, 3, SIZE, SIZE, generator=generator)
    bands = torch.arange(count) % 4
    distracting = torch.randint(4, (count,), generator=generator)
    for number, (band, other) in enumerate(zip(bands.tolist(), distracting.tolist(), strict=True)):
        images[number, 0, 2 * band : 2 * band + 2] += 0.3
        images[number, 2, 2 * other : 2 * other + 2] += 0.8
    model = convlens.wrap(RedBands(), size=SIZE, labels=["first", "second", "third", "fourth"])
    assert convlens.check_preprocessing(model, images).verdict == "mistake"
    exchanged = [(band ^ 1,) if band < 2 else (band,) for band in bands.tolist()]
    result = convlens.check(model, images, exchanged)
    assert [finding.name for finding in result.broken] == ["label order"]
    assert "first and second exchanged" in result["label order"].sentence
    assert result["preprocessing"].status == "fine"
