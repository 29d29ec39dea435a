"""The probability of the prediction at every offset of the image."""

from dataclasses import replace

import pytest
import torch

from convlens import ConvlensError, shift, wrap
from convlens.analyses.shift.offset_map import OffsetMap, map_offsets
from convlens.analyses.shift.views import pad_squashed
from convlens.drawing import color_bar, enlarge, sequential_colors
from support.drawn import holds
from support.shifted_networks import SIZE, fickle, images, photos


def test_picture_over_all_offsets_names_the_class():
    cells = torch.rand(3, 5)
    measured = OffsetMap(
        "crop", 0, "cat 1", (0, 1, 2), (0, 1, 2, 3, 4), cells, cells.long(), 0, 1, 1
    )
    drawn = measured.pictures()["offsets, crop, cat 1"]
    assert holds(drawn, enlarge(sequential_colors(cells, 0, 1), 264 // 5))
    assert holds(drawn, color_bar(120, colors="sequential", upright=True))
    for other in (replace(measured, name="cat 2"), replace(measured, columns=(0, 1, 2, 3, 9))):
        picture = other.pictures()[f"offsets, crop, {other.name}"]
        changed = (picture != drawn).any(dim=2)
        assert 0 < int(changed.sum()) < 300


def test_map_over_all_offsets(tmp_path):
    model = fickle()
    paths = photos(tmp_path, 2)
    measured = shift(model, paths, shifts=[], every=1).offsets
    wide = pad_squashed(model, model.prepare(paths[0]))
    assert measured.rows == measured.columns == tuple(range(6))
    with torch.no_grad():
        for y in range(6):
            for x in range(6):
                logits = model(wide[:, :, y : y + SIZE, x : x + SIZE])
                expected = logits.softmax(1)[0, measured.class_index]
                torch.testing.assert_close(measured.probabilities[y, x], expected)
                assert measured.predictions[y, x] == logits.argmax()
    assert 0 < measured.predicted_share <= 1
    rolled = map_offsets(model, images(1), protocol="circular", step=2)
    assert rolled.rows == (-2, 0, 2)
    assert rolled.predictions[1, 1] == rolled.class_index
    cropped = wrap(model.network, size=SIZE, resize=SIZE)
    with pytest.raises(ConvlensError, match="no room"):
        map_offsets(cropped, images(1))
