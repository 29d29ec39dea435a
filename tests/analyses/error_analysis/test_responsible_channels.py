"""The patches of the channels behind wrong predictions: the strongest ones of a plain search."""

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensError
from convlens.analyses.error_analysis import responsible_channels

SIZE = 12


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    )


def analyze(module, **options):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(30, 3, SIZE, SIZE, generator=generator)
    labels = [(number % 3,) for number in range(30)]
    model = convlens.wrap(module, size=SIZE)
    return images, convlens.error_analysis(model, images, labels, **options)


def test_the_patches_are_the_strongest_of_the_searched_photos():
    module = network()
    images, result = analyze(module)
    causes = result.causes
    first = {evidence.channels[0].channel for evidence in causes.evidence if evidence.channels}
    assert [own.channel for own in causes.patches.shown] == sorted(first)
    assert causes.searched == 30
    with torch.no_grad():
        greatest = module[:2](images).amax((2, 3))
    for own in causes.patches.shown:
        expected = sorted(greatest[:, own.channel].tolist(), reverse=True)[:3]
        assert list(own.values) == pytest.approx(expected, abs=1e-5)
        assert own.tiles.shape[0] == 3
    with_channel = next(own for own in causes.evidence if own.channels)
    assert causes.patches_of(with_channel).channel == with_channel.channels[0].channel


def test_the_picture_has_a_column_of_patches(tmp_path):
    _, result = analyze(network())
    picture = result.pictures()["surest errors"]
    without = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 3))
    _, plain = analyze(without)
    assert plain.causes.patches is None
    assert picture.shape[1] > plain.pictures()["surest errors"].shape[1]
    assert result.how_to_read.keys() >= result.pictures().keys()
    result.save(tmp_path / "errors")
    assert convlens.Result.load(tmp_path / "errors") == result


def test_where_channels_are_classes_those_before_them_are_named():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    images, result = analyze(module)
    causes = result.causes
    assert causes.layer == "2"  # the maps are those of the last layer, one for each class
    evidence = next(own for own in causes.evidence if own.channels)
    error = next(own for own in result.wrong if own.number == evidence.number)
    leaf = module[:2](images[error.number : error.number + 1]).detach().requires_grad_()
    scores = module[2:](leaf)[0]
    (gradient,) = torch.autograd.grad(scores[error.prediction] - scores[error.label], leaf)
    weighted = gradient.mean((2, 3), keepdim=True) * leaf.detach()
    positive = weighted.sum(dim=1, keepdim=True) > 0
    shares = (weighted * positive).sum((2, 3))[0]
    assert evidence.channels[0].channel == int(shares.argmax())
    assert not evidence.channels[0].address.startswith("2:")
    assert causes.patches.channels == 6


def test_the_reason_for_missing_patches_is_kept(monkeypatch):
    def refuse(*arguments, **options):
        raise ConvlensError("no patches today")

    monkeypatch.setattr(responsible_channels, "patches", refuse)
    _, result = analyze(network())
    assert result.causes.patches is None
    assert result.causes.patches_failure == "no patches today"
    assert any("no patches today" in words for words in result.causes.explanations())
