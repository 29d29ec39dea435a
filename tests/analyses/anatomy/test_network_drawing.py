"""The drawing of a network: boxes, branches and labels, against networks whose graph is known."""

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
import torch
from torch import nn

from convlens import anatomy, wrap
from convlens.drawing.figure_files import write_figure


class Residual(nn.Module):
    """A block around which its input is added."""

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, maps):
        return torch.relu(maps + self.body(maps))


class Branches(nn.Module):
    """Three parallel convolutions, concatenated."""

    def __init__(self, channels):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, 4, size) for size in (1, 1, 1))

    def forward(self, maps):
        return torch.cat([convolution(maps) for convolution in self.convolutions], 1)


def drawing_of(*layers, size=32):
    result = anatomy(wrap(nn.Sequential(*layers), size=size))
    drawing = result.drawing()
    names = ["image" if box.layer < 0 else result.layers[box.layer].name for box in drawing.boxes]
    return drawing, names


def edges(drawing, names):
    return {(names[line.start], names[line.end]) for line in drawing.connections}


def test_a_chain_is_a_row_of_boxes_scaled_by_rows_and_channels():
    drawing, names = drawing_of(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(64, 5),
    )  # fmt: skip
    assert names == ["image", "0", "3", "4", "6", "8"]
    kinds = [box.kind for box in drawing.boxes]
    assert kinds == ["image", "convolution", "pooling", "convolution", "pooling", "dense"]
    assert edges(drawing, names) == set(pairwise(names))
    assert len({box.y for box in drawing.boxes}) == 1
    lefts = [box.x for box in drawing.boxes]
    assert lefts == sorted(lefts)
    first, pooled, second = drawing.boxes[1:4]
    assert first.height / pooled.height == pytest.approx(math.sqrt(32 / 16))
    assert second.width / first.width == pytest.approx(math.sqrt(64 / 16))
    assert [text for _, _, text in drawing.labels][:2] == ["32×32\n3", "16×16\n16"]


def test_a_residual_connection_is_a_line_above_the_boxes_that_it_skips():
    drawing, names = drawing_of(nn.Conv2d(3, 8, 3, padding=1), Residual(8), nn.Conv2d(8, 8, 1))
    assert names == ["image", "0", "1.body.0", "1.body.3", "1/add", "2"]
    assert edges(drawing, names) == {
        ("image", "0"), ("0", "1.body.0"), ("1.body.0", "1.body.3"), ("1.body.3", "1/add"),
        ("0", "1/add"), ("1/add", "2"),
    }  # fmt: skip
    (skip,) = [line for line in drawing.connections if line.skips]
    assert (names[skip.start], names[skip.end]) == ("0", "1/add")
    highest = min(y for _, y in skip.points)
    assert all(highest < box.top - box.slant for box in drawing.boxes[2:4])


def test_branches_lie_below_each_other_without_overlap():
    drawing, names = drawing_of(nn.Conv2d(3, 8, 3), Branches(8), nn.Conv2d(12, 2, 1))
    branches = [box for box, name in zip(drawing.boxes, names, strict=True) if "convol" in name]
    assert len(branches) == 3
    assert len({box.x for box in branches}) == 1
    ordered = sorted(branches, key=lambda box: box.y)
    for upper, lower in pairwise(ordered):
        assert upper.bottom < lower.top - lower.slant
    joined = {start for start, end in edges(drawing, names) if end == "1/cat"}
    assert joined == {f"1.convolutions.{number}" for number in range(3)}


@pytest.mark.parametrize("name", ["googlenet", "densenet121", "vit_b_16"])
def test_everything_lies_inside_and_lines_lead_to_the_right(name):
    import torchvision

    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, **options)
    result = anatomy(wrap(network, size=224 if name == "vit_b_16" else 64))
    drawing = result.drawing()
    for box in drawing.boxes:
        assert box.x >= 0
        assert box.top - box.slant >= 0
        assert box.right + box.slant <= drawing.width
        assert box.bottom <= drawing.height
    for line in drawing.connections:
        start, end = drawing.boxes[line.start], drawing.boxes[line.end]
        assert start.right < end.x
        across = [x for x, _ in line.points]
        assert across == sorted(across)
    convolutions = sum(layer.groups is not None for layer in result.layers)
    assert sum(box.kind == "convolution" for box in drawing.boxes) == convolutions > 0


def test_the_figure_is_vector_text_and_equal_in_two_runs(tmp_path):
    result = anatomy(wrap(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), size=16, name="small"))
    for name in ("a.svg", "b.svg"):
        write_figure(result.figure(), tmp_path / name)
    first = (tmp_path / "a.svg").read_bytes()
    assert first == (tmp_path / "b.svg").read_bytes()
    texts = " ".join(ET.fromstring(first).itertext())
    assert "small on 3×16×16: 224 parameters" in texts
    assert "16×16" in texts


def test_a_network_without_layers_that_compute_is_an_image_alone():
    drawing, names = drawing_of(nn.ReLU())
    assert names == ["image"]
    assert drawing.connections == ()


class OneImage(nn.Module):
    """A network that takes one image at a time, so that a vector has no dimension of images."""

    def __init__(self):
        super().__init__()
        self.convolution, self.scores = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, images):
        return self.scores(self.convolution(images)[0].relu().mean((1, 2)))[None]


def test_a_vector_without_a_dimension_of_images_has_a_label():
    drawing, _ = drawing_of(OneImage())
    assert "3" in [text for _, _, text in drawing.labels]
