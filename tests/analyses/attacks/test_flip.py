"""The smallest change in gray levels that flips a prediction, against files on disk."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convlens import ConvlensError, fgsm, find_flip, wrap
from support.attacked_networks import small

SIZE = 32


def images(count=2):
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def loop_over_files(network, attack, levels, bounds, folder):
    """A plain reference: write each file, read it back, and run the network on it."""
    low, high = bounds
    level_of = lambda x: np.clip(np.rint((x - low) * 255 / (high - low)), 0, 255)  # noqa: E731
    answers = np.zeros((len(levels) + 1, len(attack.images)), dtype=int)
    largest = np.zeros((len(levels) + 1, len(attack.images)), dtype=int)
    files = {}
    for image, (x, signs) in enumerate(zip(attack.images, attack.signs, strict=True)):
        base = level_of(x.double().numpy())
        for row, level in enumerate((0, *levels)):
            moved = np.clip(base + level * signs.numpy(), 0, 255).astype(np.uint8)
            path = folder / f"{image}-{level}.png"
            Image.fromarray(moved.transpose(1, 2, 0)).save(path)
            with Image.open(path) as picture:
                pixels = np.asarray(picture).copy()
            back = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 * (high - low) + low
            with torch.no_grad():
                answers[row, image] = int(network(back[None])[0].argmax())
            largest[row, image] = np.abs(pixels.astype(int) - base.transpose(1, 2, 0)).max()
            files[image, level] = pixels
    return answers, largest, files


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_flips_equal_a_plain_loop_over_files(bounds, tmp_path):
    levels = (1, 2, 4, 8, 16, 40)
    network = small(classes=10)
    with torch.no_grad():  # answers that hang on little
        # Gray levels, as photos have them: nothing lies on the edge between two.
        batch = (images(12) * 255).round() / 255 * (bounds[1] - bounds[0]) + bounds[0]
        network[-1].bias -= network(batch).mean(0)
    model = wrap(network, size=SIZE, bounds=bounds)
    attack = fgsm(model, batch, ["8/255"])
    result = find_flip(model, attack, levels=levels)
    answers, largest, files = loop_over_files(network, attack, levels, bounds, tmp_path)
    assert result.levels == levels
    assert result.original_predictions.tolist() == answers[0].tolist()
    assert result.predictions.tolist() == answers[1:].tolist()
    changed = answers[1:] != answers[0]
    assert changed.any(0).any() and not changed[0].all()
    for image in range(12):
        rows = np.flatnonzero(changed[:, image])
        first = levels[rows[0]] if len(rows) else None
        assert result.flip_levels[image] == first
        row = rows[0] if len(rows) else len(levels) - 1
        assert result.largest_changes[image] == largest[row + 1, image] <= levels[row]
        assert (result.pixels[image].numpy() == files[image, levels[row]]).all()
        change = files[image, levels[row]].astype(int) - files[image, 0]
        assert (result.change[image].numpy() == change).all()
        assert result.reverted[image] == bool(len(rows) and not changed[rows[0] :, image].all())


def test_levels_are_sorted_and_checked():
    model = wrap(small(), size=SIZE)
    attack = fgsm(model, images(), ["1/255"])
    assert find_flip(model, attack, levels=(8, 2, 2)).levels == (2, 8)
    for levels in ((), (0, 1), (256,), (-1,)):
        with pytest.raises(ConvlensError, match="gray levels"):
            find_flip(model, attack, levels=levels)


def test_network_that_nothing_changes_has_no_flip():
    network = small()
    nn.init.zeros_(network[-1].weight)
    model = wrap(network, size=SIZE)
    result = find_flip(model, fgsm(model, images(), classes=0), levels=(1, 255))
    assert result.flip_levels == (None, None) and result.reverted == (False, False)
    assert not result.noise_flipped.any()
