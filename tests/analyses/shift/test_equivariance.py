"""Shift equivariance of each layer: networks that have it by construction, and plain loops."""

import numpy as np
import pytest
import torch
from torch import nn

from convlens import (
    ConvlensError,
    equivariance,
    wrap,
)
from convlens.analyses.shift.error_histogram import BIN_COUNT, add_errors, median_errors
from support.shifted_networks import SIZE, STRIDED, built, conv, images

# layer by layer


def test_network_that_is_equivariant_by_construction():
    model = built(conv(6, 3, mode="circular"), nn.ReLU, conv(8, 6, mode="circular"), nn.ReLU)
    measured = equivariance(model, images(), shifts=[1, (3, 0), (5, 7)])
    assert [layer.layer for layer in measured.layers] == ["0", "2"]
    for entry in measured.layers:
        assert all(value < 1e-5 for value in entry.whole_errors)
    assert measured.lost == (None,) * 3
    assert "the output of every layer (2 layers) equals" in measured.summary()


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
    assert f"after a 1-pixel shift, the output of 2 ({reason}) differs" in measured.summary()


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
    model.network[0].register_forward_hook(
        lambda module, inputs, output: runs.append(len(inputs[0]))
    )
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


# answers


def test_medians_of_bins():
    assert median_errors(torch.zeros(1, BIN_COUNT, dtype=torch.int64)).isnan().all()
    counts = torch.zeros(2, BIN_COUNT, dtype=torch.int64)
    for values in ([0.001, 0], [0.7, 1e9], [0.004, torch.nan], [0.002, 0], [0.5, 0]):
        add_errors(counts, torch.tensor(values))
    assert counts.sum(dim=1).tolist() == [5, 4]
    assert median_errors(counts).tolist() == [pytest.approx(0.004, rel=0.04), 0]
