"""Shifts, tested on networks that are equivariant by construction and by plain loops."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
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
from convlens.analyses.shift.error_histogram import BIN_COUNT, add_errors, median_errors
from convlens.analyses.shift.offset_map import OffsetMap, map_offsets
from convlens.analyses.shift.shift import ShiftReducer
from convlens.analyses.shift.views import (
    crop_center,
    crop_pairs,
    find_margin,
    pad_squashed,
    roll_pairs,
    with_margin,
)
from convlens.drawing import color_bar, enlarge, sequential_colors
from convlens.passes.options import PassOptions
from convlens.passes.proportion import wilson_interval
from support.drawn import holds

SIZE = 32


def images(count=3, size=SIZE, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def built(*layers):
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(6))
    network = nn.Sequential(*[layer() for layer in layers], *head)
    network(images(1))
    return wrap(network.eval(), size=SIZE)


def conv(channels, weights, stride=1, padding=1, mode="zeros"):
    return lambda: nn.Conv2d(weights, channels, 3, stride, padding, padding_mode=mode)


STRIDED = (conv(6, 3), nn.ReLU, conv(8, 6, stride=2), nn.ReLU, conv(8, 8))


# layer by layer


def test_network_that_is_equivariant_by_construction():
    model = built(conv(6, 3, mode="circular"), nn.ReLU, conv(8, 6, mode="circular"), nn.ReLU)
    measured = equivariance(model, images(), shifts=[1, (3, 0), (5, 7)])
    assert [layer.layer for layer in measured.layers] == ["0", "2"]
    for entry in measured.layers:
        assert all(value < 1e-5 for value in entry.whole_errors)
    assert measured.lost == (None,) * 3
    assert "keeps its equivariance in all 2 layers" in measured.summary()


def test_zero_padding_touches_the_borders_alone():
    model = built(conv(6, 3), nn.ReLU, conv(8, 6))
    measured = equivariance(model, images(), shifts=[2])
    for layer in measured.layers:
        assert layer.inner_errors[0] < 1e-5
        assert layer.whole_errors[0] > 0.01
        assert layer.padded
    assert measured.lost == (None,)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [(conv(8, 6, stride=2), "stride 2"), (lambda: nn.MaxPool2d(2), "max pooling, stride 2"),
     (lambda: nn.AvgPool2d(2), "average pooling, stride 2"),
     (lambda: nn.MaxPool2d(3, 2, 1), "max pooling, stride 2")],
)  # fmt: skip
def test_a_stride_keeps_whole_strides_and_loses_single_pixels(layer, reason):
    measured = equivariance(built(conv(6, 3), nn.ReLU, layer), images())
    assert measured.shifts == ((1, 1), (2, 2))
    first, second = measured.layers
    assert first.inner_errors[0] < 1e-5 and second.inner_errors[1] < 1e-5
    assert second.inner_errors[0] > 0.05
    assert measured.lost == (1, None)
    assert second.reason((1, 1)) == reason
    assert f"loses shift equivariance at 2 ({reason})" in measured.summary()


def test_errors_are_those_of_a_plain_loop():
    model = built(*STRIDED)
    batch = images(1)
    measured = equivariance(model, batch, shifts=[(1, 0), (3, 2)])
    assert [layer.map_size for layer in measured.layers] == [(32, 32), (16, 16), (16, 16)]
    for place, entry in ((0, measured.layers[0]), (2, measured.layers[1]), (4, measured.layers[2])):
        part = model.network[: place + 1]
        with torch.no_grad():
            plain = part(batch)[0].double().numpy()
            for number, (down, across) in enumerate(measured.shifts):
                moved = part(torch.roll(batch, (down, across), (2, 3)))[0].double().numpy()
                step, (height, width) = entry.spacing[0], entry.map_size
                field = {0: 1, 2: 2, 4: 4}[place]  # pixels seen on each side of the center
                every, inner = [], []
                for y in range(height):
                    for x in range(width):
                        top, left = y - down / step, x - across / step
                        rows = [
                            (int(np.floor(top)), 1 - top % 1),
                            (int(np.floor(top)) + 1, top % 1),
                        ]
                        columns = [(int(np.floor(left)), 1 - left % 1),
                                   (int(np.floor(left)) + 1, left % 1)]  # fmt: skip
                        if top < 0 or left < 0:
                            continue
                        expected = sum(
                            a * b * plain[:, r, c] for r, a in rows for c, b in columns if a and b
                        )
                        square = ((moved[:, y, x] - expected) ** 2).sum()
                        every.append(square)
                        sees = []
                        for r, a in rows:
                            sees += [r * step - field >= 0] if a else []
                        for c, b in columns:
                            sees += [c * step - field >= 0] if b else []
                        sees += [y * step + field < SIZE, x * step + field < SIZE]
                        sees += [y * step - field >= down, x * step - field >= across]
                        if all(sees):
                            inner.append(square)
                scale = ((plain - plain.mean((1, 2), keepdims=True)) ** 2).sum(0).mean()
                assert entry.whole_errors[number] == pytest.approx(
                    (np.mean(every) / scale) ** 0.5, rel=1e-3
                )
                if step == 1:
                    assert max(inner) < 1e-9 and entry.inner_errors[number] < 1e-5
                else:
                    inside = (np.mean(inner) / scale) ** 0.5
                    assert entry.inner_errors[number] == pytest.approx(inside, rel=1e-3)


def test_of_large_maps_and_many_channels_a_part_is_compared():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 80, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    batch = images(1, 96)
    measured = equivariance(wrap(network, size=96), batch, shifts=[1, 2]).layers[0]
    with torch.no_grad():
        plain, moved, whole = (
            network[0](torch.roll(batch, (by, by), (2, 3)))[0, :64].double() for by in (0, 1, 2)
        )
    before = (plain + plain.roll(1, 1) + plain.roll(1, 2) + plain.roll((1, 1), (1, 2))) / 4
    rows = plain[:, ::2]
    scale = (rows - rows.mean((1, 2), keepdim=True)).square().sum(0).mean()
    error = ((moved - before)[:, 1::2, 1:].square().sum(0).mean() / scale).sqrt()
    assert measured.whole_errors[0] == pytest.approx(float(error), rel=1e-3)
    inner = ((moved - before)[:, 3::2, 2:].square().sum(0).mean() / scale).sqrt()
    assert measured.inner_errors[0] == pytest.approx(float(inner), rel=1e-3)
    assert measured.inner_errors[1] < 1e-5
    error = (
        (whole - plain.roll((1, 1), (1, 2)))[:, 1::2, 1:].square().sum(0).mean() / scale
    ).sqrt()
    assert measured.whole_errors[1] == pytest.approx(float(error), rel=1e-3)


def test_maps_that_see_beyond_the_image_everywhere_have_no_inside():
    layers = (conv(4, 3), *[conv(4, 4) for _ in range(15)])
    measured = equivariance(built(*layers), images(), shifts=[4])
    assert measured.layers[0].inner_errors[0] < 1e-5
    assert measured.layers[-1].inner_errors == (None,)
    assert measured.layers[-1].whole_errors[0] > 0.01
    lost = measured.layers[measured.lost[0]]
    assert lost.inner_errors[0] is None and "padding" in lost.reason((4, 4))


def test_all_layers_come_from_one_run_of_image_and_shifted_image():
    model = built(*STRIDED)
    runs = []
    model.network[0].register_forward_hook(lambda module, inputs, gave: runs.append(len(inputs[0])))
    equivariance(model, images(3), shifts=[1])
    runs.clear()
    equivariance(model, images(3), shifts=[1])
    assert runs == [6]


@pytest.mark.parametrize("shifts", [[], [0], [-1], [17], [(0, 0)], [(1, -1)]])
def test_shifts_that_cannot_be_used(shifts):
    with pytest.raises(ConvlensError, match="shift"):
        equivariance(built(*STRIDED), images(), shifts=shifts)


def test_network_without_maps():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 3))
    with pytest.raises(ConvlensError, match="no convolution or pooling"):
        equivariance(wrap(network, size=SIZE), images())


def test_blurred_pooling_is_nearer_to_equivariant():
    """Anti-aliasing reduces the equivariance error of a map (Zhang 2019)."""
    from convlens.models.networks.pooling import make_pooling

    errors = {}
    for kind in ("max", "blur"):
        model = built(conv(8, 3), nn.ReLU, lambda kind=kind: make_pooling(kind))
        smooth = nn.functional.avg_pool2d(images(4, SIZE + 2), 3, 1)
        errors[kind] = equivariance(model, smooth, shifts=[1]).layers[-1].inner_errors[0]
    assert errors["blur"] < 0.8 * errors["max"]


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


def photos(folder, count=6, size=48):
    generator = np.random.default_rng(0)
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.png")
        coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def fickle():
    """A network whose prediction depends on shifts."""
    model = built(conv(8, 3, stride=4, padding=0), nn.ReLU)
    with torch.no_grad():
        model.network[-1].weight.mul_(30)
        model.network[-1].bias -= model.network(images(20)).mean(0)
    return model


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


def test_picture_over_all_offsets_names_the_class():
    cells = torch.rand(3, 5)
    measured = OffsetMap(
        "crop", 0, "cat 1", (0, 1, 2), (0, 1, 2, 3, 4), cells, cells.long(), 0, 1, 1
    )
    drawn = measured.pictures()["offsets-crop"]
    assert holds(drawn, enlarge(sequential_colors(cells, 0, 1), 264 // 5))
    assert holds(drawn, color_bar(120, colors="sequential", upright=True))
    for other in (replace(measured, name="cat 2"), replace(measured, columns=(0, 1, 2, 3, 9))):
        changed = (other.pictures()["offsets-crop"] != drawn).any(dim=2)
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


def test_medians_of_bins():
    assert median_errors(torch.zeros(1, BIN_COUNT, dtype=torch.int64)).isnan().all()
    counts = torch.zeros(2, BIN_COUNT, dtype=torch.int64)
    for values in ([0.001, 0], [0.7, 1e9], [0.004, torch.nan], [0.002, 0], [0.5, 0]):
        add_errors(counts, torch.tensor(values))
    assert counts.sum(dim=1).tolist() == [5, 4]
    assert median_errors(counts).tolist() == [pytest.approx(0.004, rel=0.04), 0]


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
    assert (tmp_path / "out" / "offsets-crop.png").is_file()
    json.dumps(measured.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [(images(2, 16), {}, r"smaller than \(32, 32\)"),
     (images(), {"labels": [[1]]}, "1 labels for 3"),
     (images(), {"every": -1}, "every"), (images() * 2, {}, "outside the model's bounds")],
)  # fmt: skip
def test_bad_input(batch, options, message):
    with pytest.raises(ConvlensError, match=message):
        shift(built(*STRIDED), batch, **options)
