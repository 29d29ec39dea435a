"""Filters that are learned from photos."""

import numpy as np
import pytest
import torch
from PIL import Image

import convlens

SIDE = 7


def bars():
    """A photo of vertical bars of random brightness: it varies from column to column only."""
    row = np.random.default_rng(0).integers(0, 256, 160, dtype=np.uint8)
    return Image.fromarray(np.repeat(row[None], 120, axis=0))


def learned(steps, seed=0):
    model = convlens.learn_filters([bars()], filters=6, kernel=SIDE, steps=steps, seed=seed)
    return model.network[0].weight.detach()[:, 0]


def column_share(weights):
    """Share of the squared weights that is constant along the columns of the filters."""
    return float(weights.mean(dim=1).square().sum() * SIDE / weights.square().sum())


def test_filters_have_the_orientation_of_what_they_see():
    assert column_share(learned(1)) < 0.3
    assert column_share(learned(200)) > 0.6


def test_the_seed_decides():
    assert torch.equal(learned(3), learned(3))
    assert not torch.equal(learned(3), learned(3, seed=1))


def test_the_model_takes_gray_images_and_reports_progress():
    done = []
    model = convlens.learn_filters(
        [bars()], filters=6, kernel=SIDE, steps=150, progress=lambda *steps: done.append(steps)
    )
    assert done == [(100, 150), (150, 150)]
    assert model.channels == 1
    assert float(model(model.prepare(bars())).detach().min()) == 0
    assert len(convlens.fit_gabor(model, null_size=100).verdicts) == 6


def test_a_damaged_photo_is_left_out_and_named(tmp_path):
    bars().save(tmp_path / "bars.png")
    (tmp_path / "text.png").write_text("no photo")
    photos = [tmp_path / "bars.png", tmp_path / "text.png"]
    with pytest.warns(convlens.ConvlensWarning, match=r"left out: .*text\.png is not an image"):
        model = convlens.learn_filters(photos, filters=2, kernel=SIDE, steps=1)
    assert model.network[0].weight.shape[0] == 2
    with pytest.raises(convlens.PhotoError, match=r"text\.png"):
        convlens.learn_filters(photos, filters=2, kernel=SIDE, steps=1, strict=True)
    with pytest.raises(convlens.PhotoError, match="none of 1 photos"):
        convlens.learn_filters(photos[1:], filters=2, kernel=SIDE, steps=1)


def test_photos_and_settings_that_cannot_be_used_are_refused():
    with pytest.raises(convlens.ConvlensError, match="no photos"):
        convlens.learn_filters([])
    with pytest.raises(convlens.ConvlensError, match="at least 1 of each"):
        convlens.learn_filters([bars()], steps=0)
    with pytest.raises(convlens.ConvlensError, match="6 x 6 pixels"):
        convlens.learn_filters([Image.new("L", (6, 6))])
