"""Consistency of predictions under shifts, and passes over photos, against plain loops."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from convlens import (
    ConvlensError,
    Result,
    equivariance,
    load,
    open_data,
    shift,
    train,
    wrap,
)
from convlens.analyses.shift.shift import ShiftReducer
from convlens.analyses.shift.views import (
    crop_center,
    crop_pairs,
    find_margin,
    pad_squashed,
    roll_pairs,
    with_margin,
)
from convlens.passes.options import PassOptions
from convlens.passes.proportion import wilson_interval
from support.shifted_networks import SIZE, STRIDED, built, conv, fickle, images, photos

# layer by layer


@pytest.mark.slow
def test_blurred_pooling_makes_the_answers_of_a_trained_network_more_consistent(tmp_path):
    data = open_data("digits")
    batch = data.validation.pixels.permute(0, 3, 1, 2).float() / 255
    alike = {}
    for kind in ("max", "blur"):
        shares = []
        for seed in (0, 1):
            out = tmp_path / f"{kind}{seed}"
            # Without shifts among the augmentations, or training teaches what pooling should give.
            training = train(
                data, out=out, seed=seed, epochs=4, pooling=kind, shift=0, device="cpu"
            )
            assert training.accuracy > 0.97
            measured = shift(load(training.folder), batch, shifts=[], every=0)
            shares.append([protocol.agreement.share for protocol in measured.consistency])
        alike[kind] = np.mean(shares, axis=0)
    assert (alike["blur"] > alike["max"] + 0.05).all()


# answers


def test_counts_are_those_of_a_plain_loop(tmp_path):
    model = fickle()
    paths = photos(tmp_path, 8)
    labels = [[number % 6, 1] for number in range(7)] + [None]
    measured = shift(
        model,
        paths,
        labels=labels,
        shifts=[],
        every=0,
        seed=3,
        pass_options=PassOptions(batch_size=3),
    )
    margin = find_margin(model)
    assert margin == 5 and measured.equivariance is None and measured.offsets is None
    wide = pad_squashed(model, model.prepare(paths))
    assert wide.shape[2:] == (SIZE + margin, SIZE + margin)
    ids = torch.arange(8)
    answer = lambda batch: model(batch).argmax(1).tolist()  # noqa: E731
    with torch.no_grad():
        middle = answer(wide[:, :, 2 : 2 + SIZE, 2 : 2 + SIZE])
        pairs = {
            "crop": [answer(pair) for pair in crop_pairs(wide, ids, model.size, 3)],
            "circular": [
                answer(pair) for pair in roll_pairs(crop_center(wide, model.size), ids, margin, 4)
            ],
        }
    right = [a in (classes or ()) for a, classes in zip(middle, labels, strict=True)]
    assert (measured.accuracy.count, measured.accuracy.total) == (sum(right), 7)
    assert [protocol.protocol for protocol in measured.consistency] == ["crop", "circular"]
    for measurement in measured.consistency:
        first, second = pairs[measurement.protocol]
        alike = [a == b for a, b in zip(first, second, strict=True)]
        assert (measurement.agreement.count, measurement.agreement.total) == (sum(alike), 8)
        assert (measurement.agreement.low, measurement.agreement.high) == wilson_interval(
            sum(alike), 8
        )
        both = [a and b for a, b in zip(alike, right, strict=True)]
        assert (measurement.agreement_if_correct.count, measurement.agreement_if_correct.total) == (
            sum(both),
            sum(right),
        )
        accurate = [a in (classes or ()) for a, classes in zip(first, labels, strict=True)]
        assert measurement.accuracy.count == sum(accurate) and measurement.accuracy.total == 7
    assert any(protocol.agreement.count < 8 for protocol in measured.consistency)


def test_views_are_windows_and_rolls_of_the_photo():
    model = built(*STRIDED)
    wide = images(40, SIZE + 5)
    size = model.size
    ids = torch.arange(40)
    places = set()
    for views in (crop_pairs(wide, ids, size, 0), crop_pairs(wide[7:9], ids[7:9], size, 0)):
        base = wide if len(views[0]) == 40 else wide[7:9]
        for view in views:
            for tensor, whole in zip(view, base, strict=True):
                measured = [
                    (y, x)
                    for y in range(6)
                    for x in range(6)
                    if torch.equal(tensor, whole[:, y : y + SIZE, x : x + SIZE])
                ]
                assert len(measured) == 1
                places.update(measured)
    assert {y for y, _ in places} == {x for _, x in places} == set(range(6))
    # An image's views do not depend on who is beside it.
    alone = crop_pairs(wide[7:9], ids[7:9], size, 0)
    both = crop_pairs(wide, ids, size, 0)
    assert torch.equal(alone[0], both[0][7:9])
    middle = crop_center(wide, size)
    for view in roll_pairs(middle, ids, 5, 1):
        for tensor, image in zip(view, middle, strict=True):
            moves = [(y, x) for y in range(-5, 6) for x in range(-5, 6)
                     if torch.equal(tensor, torch.roll(image, (y, x), (1, 2)))]  # fmt: skip
            assert len(moves) == 1


def test_a_network_that_pools_everything_is_invariant_to_rolling():
    model = built(conv(6, 3, mode="circular"), nn.ReLU)
    measured = shift(model, images(9), every=0)
    assert [protocol.protocol for protocol in measured.consistency] == ["crop", "circular"]
    circular = measured.consistency[1]
    assert (circular.agreement.count, circular.agreement.total) == (9, 9)
    assert (
        circular.agreement_if_correct is None
        and circular.accuracy is None
        and measured.accuracy is None
    )


def test_photos_are_read_larger_where_more_of_them_is_left(tmp_path):
    paths = photos(tmp_path, 3, size=60)
    model = wrap(fickle().network, size=SIZE, resize=38)
    larger = with_margin(model)
    assert find_margin(model) == 6 and larger.size == (38, 38)
    batch = larger.prepare(paths)
    assert torch.equal(batch[:, :, 3:35, 3:35], model.prepare(paths))
    assert torch.equal(pad_squashed(model, batch), batch)
    single = shift(model, paths, shifts=[], every=0)
    other = shift(model, batch, shifts=[], every=0)
    assert single == other and len(single.consistency) == 2
    # Nothing lies around images in memory that a photo was cropped to.
    assert [protocol.protocol for protocol in shift(model, batch[:, :, :32, :32]).consistency] == [
        "circular"
    ]


def test_around_a_squashed_photo_its_edges_are_repeated():
    model = wrap(fickle().network, size=SIZE)
    batch = images(2)
    padded = pad_squashed(model, batch)
    assert padded.shape[2:] == (37, 37)
    assert torch.equal(padded[:, :, 2:34, 2:34], batch)
    assert torch.equal(padded[:, :, 0, 2:34], batch[:, :, 0])
    assert torch.equal(padded[:, :, 2:34, 36], batch[..., -1])


def test_pass_over_photos_is_that_of_the_images(tmp_path):
    """The bins give the median to a few per cent, and counts of parts add up."""
    model = built(*STRIDED)
    paths = photos(tmp_path, 7)
    measured = shift(model, paths, every=0, pass_options=PassOptions(batch_size=3))
    batch = model.prepare(paths)
    exact = equivariance(model, batch)
    for layer, other in zip(measured.equivariance.layers, exact.layers, strict=True):
        for a, b in zip(
            layer.inner_errors + layer.whole_errors,
            other.inner_errors + other.whole_errors,
            strict=True,
        ):
            assert a == pytest.approx(b, rel=0.05, abs=1e-5)
    assert measured.equivariance.lost == exact.lost
    halves = ShiftReducer.for_model(model, None, 5, 0, exact.shifts)
    wide = pad_squashed(model, batch)
    first, second, whole = (halves.initial_state() for _ in range(3))
    halves.process_batch(first, wide[:2], torch.arange(2))
    halves.process_batch(second, wide[2:], torch.arange(2, 7))
    halves.process_batch(whole, wide, torch.arange(7))
    for name, expected in whole.items():
        assert expected.dtype == torch.int64
        for pair in ((first, second), (second, first)):
            assert torch.equal(halves.merge(*pair)[name], expected), name


def test_a_pass_that_was_stopped_goes_on(tmp_path):
    model = fickle()
    paths = photos(tmp_path, 6)
    whole = shift(model, paths, pass_options=PassOptions(batch_size=2))

    def stop(stage, done, total):
        if done == 4:
            raise KeyboardInterrupt

    folder = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        shift(
            model,
            paths,
            pass_options=PassOptions(
                batch_size=2, resume_folder=folder, save_interval=-1, progress=stop
            ),
        )
    assert (folder / "manifest.json").is_file()
    assert (
        shift(model, paths, pass_options=PassOptions(batch_size=2, resume_folder=folder)) == whole
    )


def test_saved_result_is_equal(tmp_path):
    measured = shift(fickle(), photos(tmp_path, 3))
    measured.save(tmp_path / "out")
    assert Result.load(tmp_path / "out") == measured
    assert (tmp_path / "out" / "offsets_crop_class_1.png").is_file()
    json.dumps(measured.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [(images(2, 16), {}, r"smaller than \(32, 32\)"),
     (images(), {"labels": [[1]]}, "1 labels for 3"),
     (images(), {"labels": [[1], None, [99]]}, r"a label outside 0 to .* \(99\)"),
     (images(), {"every": -1}, "every"), (images() * 2, {}, "outside the model's bounds")],
)  # fmt: skip
def test_input_that_cannot_be_used_is_refused(batch, options, message):
    with pytest.raises(ConvlensError, match=message):
        shift(built(*STRIDED), batch, **options)
