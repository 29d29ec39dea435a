"""Deletion and insertion curves against a plain loop, and on cases with a known answer."""

import math

import pytest
import torch
from torch import nn

from convlens.analyses.gradcam.deletion_insertion import beats_controls, deletion_insertion
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.errors import ConvlensError
from convlens.models.wrap import wrap
from convlens.results import Result


def network(stride=4, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, stride, stride=stride), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, classes),
    )  # fmt: skip


def plain_curve(model, image, order, centers_y, centers_x, counts, target_class, *, deleting):
    """The probability curve of one order, computed pixel by pixel and step by step."""
    _, height, width = image.shape
    mean = [float(channel.mean()) for channel in image]
    curve = []
    for count in counts:
        selected_cells = set(order[:count])
        changed = image.clone()
        for y in range(height):
            for x in range(width):
                row = min(range(len(centers_y)), key=lambda i: abs(y - centers_y[i]))
                column = min(range(len(centers_x)), key=lambda i: abs(x - centers_x[i]))
                if ((row * len(centers_x) + column) in selected_cells) == deleting:
                    for channel in range(3):
                        changed[channel, y, x] = mean[channel]
        with torch.no_grad():
            curve.append(float(model(changed[None]).softmax(1)[0, target_class]))
    return curve


def test_as_a_plain_loop_does_it():
    model = wrap(network(), size=16)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    cam = gradcam(model, images, classes=[2, 0])
    result = deletion_insertion(model, cam, rank=1, steps=5)
    counts = [round(16 * n / 5) for n in range(6)]
    assert result.covered.tolist() == pytest.approx([count / 16 for count in counts])
    assert result.classes.tolist() == [0, 0]
    for image in range(2):
        values = cam.maps[image, 1].flatten().tolist()
        by_map = sorted(range(16), key=lambda cell: -values[cell])
        ys, xs = cam.centers_y.tolist(), cam.centers_x.tolist()
        outwards = sorted(
            range(16), key=lambda cell: math.hypot(ys[cell // 4] - 7.5, xs[cell % 4] - 7.5)
        )
        for which, order in ((0, by_map), (2, outwards)):
            for curves, deleting in ((result.deletion, True), (result.insertion, False)):
                plain = plain_curve(
                    model, images[image], order, ys, xs, counts, 0, deleting=deleting
                )
                assert curves[image, which].tolist() == pytest.approx(plain, abs=1e-6)
        assert result.deletion_areas[image, 0] == pytest.approx(
            torch.trapezoid(result.deletion[image, 0], result.covered)
        )
        # All orders start from the same image and end at the same image.
        assert result.deletion[image, :, 0].unique().numel() == 1
        assert torch.equal(result.deletion[image, :, -1], result.insertion[image, :, 0])


@pytest.mark.parametrize(
    ("areas", "beaten"),
    [((0.5, 0.4, 0.3), True), ((0.5, 0.495, 0.3), False), ((0.5, 0.3, 0.495), False),
     ((0.5, 0.6, 0.3), False)],
)  # fmt: skip
def test_orders_that_are_alike_to_two_digits_do_not_beat_one_another(areas, beaten):
    assert beats_controls(torch.tensor([areas])).tolist() == [beaten]


def test_a_map_of_the_only_cause_beats_both_controls():
    """Class 1 depends on one corner alone; the map finds it before both control orders do."""
    net = nn.Sequential(
        nn.Conv2d(1, 1, 4, stride=4, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    )
    with torch.no_grad():
        net[0].weight.fill_(1 / 16)
        net[3].weight.zero_()
        net[3].weight[1, 0] = 8.0
        net[3].bias.zero_()
    model = wrap(net, size=16)
    image = torch.zeros(1, 1, 16, 16)
    image[:, :, :4, :4] = 1
    result = deletion_insertion(model, gradcam(model, image, classes=[1], layer="0"), seed=3)
    assert result.deletion_beats.tolist() == [True]
    assert result.insertion_beats.tolist() == [True]
    # The corner is the first cell of sixteen: the first step of two cells removes it.
    assert result.deletion[0, 0, 1] < 0.7 < result.deletion[0, 0, 0]


def test_a_negated_map_has_worse_areas():
    model = wrap(network(), size=16)
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    cam = gradcam(model, images)
    negated = type(cam)(**{**vars(cam), "maps": -cam.maps})
    right, wrong = deletion_insertion(model, cam), deletion_insertion(model, negated)
    assert right.deletion_areas[0, 0] < wrong.deletion_areas[0, 0]
    assert right.insertion_areas[0, 0] > wrong.insertion_areas[0, 0]


def test_ties_do_not_go_all_at_once():
    model = wrap(network(), size=16)
    cam = gradcam(model, torch.rand(1, 3, 16, 16))
    flat = type(cam)(**{**vars(cam), "maps": torch.zeros_like(cam.maps)})
    result = deletion_insertion(model, flat, steps=16)
    assert result.deletion[0, 0].unique().numel() > 4


def test_passes_are_counted_and_few():
    net = network()
    batch_sizes = []
    net.register_forward_pre_hook(lambda module, inputs: batch_sizes.append(len(inputs[0])))
    model = wrap(net, size=16)
    cam = gradcam(model, torch.rand(1, 3, 16, 16))
    batch_sizes.clear()
    result = deletion_insertion(model, cam)
    assert result.passes == sum(batch_sizes) == 44


def test_bad_rank_and_steps():
    model = wrap(network(), size=16)
    cam = gradcam(model, torch.rand(1, 3, 16, 16))
    with pytest.raises(ConvlensError, match="rank 1 of 1"):
        deletion_insertion(model, cam, rank=1)
    with pytest.raises(ConvlensError, match="0 steps"):
        deletion_insertion(model, cam, steps=0)


def test_saved_and_loaded(tmp_path):
    model = wrap(network(), size=16)
    result = deletion_insertion(model, gradcam(model, torch.rand(2, 3, 16, 16)))
    result.save(tmp_path / "e")
    assert Result.load(tmp_path / "e") == result
