"""The patches of the channels behind wrong predictions: the strongest ones of a plain search."""

import pytest
import torch
from torch import nn

import convlens

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
