"""Large batches run in parts, with the results of the whole."""

import math
from typing import Any

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.gradcam import gradcam
from convlens.analyses.predictions.predictions import compute_logits
from convlens.tracing import image_parts as module
from convlens.tracing.image_parts import gradient_parts, image_parts


def network(*, norm: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm or nn.Identity(), nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 5),
    ).eval()  # fmt: skip


@pytest.fixture
def batch_sizes(monkeypatch):
    """Images of each run of the convolution that follows; the largest map has 8 × 12 × 12 floats.

    At most three images run at once.
    """
    monkeypatch.setattr(module, "_PART_BYTES", 3.5 * 8 * 12 * 12 * 4)
    sizes: list[int] = []
    forward = nn.Conv2d.forward

    def count(self: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        if images.shape[1] == 3 and type(images) is torch.Tensor:
            sizes.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(nn.Conv2d, "forward", count)
    return sizes


def image_model(**options):
    return convlens.wrap(network(**options), size=12)


def test_parts_are_nearly_equal_and_cover_each_image_once(batch_sizes):
    model, images = image_model(), torch.rand(7, 3, 12, 12)
    parts = image_parts(convlens.trace(model, images), images)
    assert [number for part in parts for number in range(7)[part]] == list(range(7))
    assert sorted(len(range(7)[part]) for part in parts) == [2, 2, 3]


def test_logits_of_parts_are_those_of_single_images(batch_sizes):
    model, images = image_model(), torch.rand(7, 3, 12, 12)
    trace = convlens.trace(model, images)
    batch_sizes.clear()
    logits = compute_logits(model, trace, images)
    assert sum(batch_sizes) == 7 and max(batch_sizes) == 3
    with torch.no_grad():
        alone = torch.cat([model.network(image[None]) for image in images])
    torch.testing.assert_close(logits, alone)


@pytest.mark.parametrize(
    "classes",
    [[0, 3], None, torch.tensor([[0], [1], [2], [3], [4], [0], [1]]),
     torch.tensor([[[number % 5, (number + 2) % 5]] for number in range(7)])],
)  # fmt: skip
def test_maps_of_parts_are_those_of_single_images(batch_sizes, classes):
    model, images = image_model(), torch.rand(7, 3, 12, 12)
    convlens.trace(model, images)
    batch_sizes.clear()
    cam = convlens.gradcam(model, images, classes=classes)
    assert sum(batch_sizes) == 7 and max(batch_sizes) == 3
    for number, image in enumerate(images):
        own = classes[number : number + 1] if isinstance(classes, torch.Tensor) else classes
        alone = convlens.gradcam(model, image[None], classes=own)
        for name in ("maps", "alpha", "contributions", "classes", "subtracted", "scores", "images"):
            torch.testing.assert_close(
                getattr(cam, name)[number : number + 1], getattr(alone, name), msg=name
            )
        assert cam.names[number] == alone.names[0]


def test_a_function_of_the_output_receives_all_images(batch_sizes):
    model, images = image_model(), torch.rand(7, 3, 12, 12)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    cam = convlens.gradcam(model, images, target=lambda output: output[torch.arange(7), labels])
    expected = convlens.gradcam(model, images, classes=labels[:, None])
    torch.testing.assert_close(cam.maps, expected.maps)


def test_classes_for_other_images_are_refused(batch_sizes):
    model, images = image_model(), torch.rand(7, 3, 12, 12)
    with pytest.raises(convlens.ConvlensError, match=r"classes of shape \(3, 1\) for 7 images"):
        convlens.gradcam(model, images, classes=torch.zeros(3, 1, dtype=torch.int64))


@pytest.mark.parametrize(
    "options",
    [{}, {"classes": 2}, {"classes": torch.arange(7) % 5}, {"target": torch.arange(7) % 5},
     {"labels": [0, None, 2, 3, None, 1, 4]}],
)  # fmt: skip
def test_attacks_in_parts_are_those_of_single_images(batch_sizes, options):
    model, images = image_model(), torch.rand(7, 3, 12, 12)
    convlens.trace(model, images)
    batch_sizes.clear()
    attack = convlens.fgsm(model, images, ["2/255"], score=False, **options)
    assert sum(batch_sizes) == 7 and max(batch_sizes) == 3
    for number, image in enumerate(images):
        own: dict[str, Any] = {
            name: value if isinstance(value, int) else value[number : number + 1]
            for name, value in options.items()
        }
        alone = convlens.fgsm(model, image[None], ["2/255"], score=False, **own)
        assert torch.equal(attack.signs[number], alone.signs[0])
        assert attack.classes[number] == alone.classes[0]
        assert attack.class_origins[number] == alone.class_origins[0]
        torch.testing.assert_close(attack.losses[number], alone.losses[0])


def test_images_that_affect_one_another_stay_together(batch_sizes):
    model = image_model(norm=nn.BatchNorm2d(8, track_running_stats=False))
    images = torch.rand(7, 3, 12, 12)
    with pytest.warns(convlens.ConvlensWarning):
        trace = convlens.trace(model, images)
    assert image_parts(trace, images) == [slice(0, 7)]


def test_heavy_weights_are_not_read_for_each_image(batch_sizes):
    """The linear layer has 25 times the elements of all activations of an image."""
    model = convlens.wrap(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(1152, 60)), size=12
    )
    images = torch.rand(40, 3, 12, 12)
    parts = image_parts(convlens.trace(model, images), images)
    assert min(len(range(40)[part]) for part in parts) > 3


@pytest.mark.parametrize("layer", [None, "0"])
def test_maps_of_many_classes_are_those_of_single_classes(monkeypatch, layer):
    """The gradients at the maps of the first layer have 8 × 12 × 12 floats for each class."""
    model, images = image_model(), torch.rand(2, 3, 12, 12)
    monkeypatch.setattr(module, "_PART_BYTES", 4.5 * 8 * 12 * 12 * 4)
    monkeypatch.setattr(module, "_MAX_WEIGHTS", 1e9)
    directions: list[int] = []
    compute = gradcam.compute_gradients

    def count(outputs, inputs, grad_outputs):
        directions.append(len(grad_outputs))
        return compute(outputs, inputs, grad_outputs)

    monkeypatch.setattr(gradcam, "compute_gradients", count)
    cam = convlens.gradcam(model, images, classes=range(5), layer=layer)
    assert sorted(directions) == ([2, 3] if layer is None else [1, 2, 2])
    for rank in range(5):
        alone = convlens.gradcam(model, images, classes=rank, layer=layer)
        torch.testing.assert_close(cam.maps[:, rank], alone.maps[:, 0])
        torch.testing.assert_close(cam.alpha[:, rank], alone.alpha[:, 0])


def test_weights_that_take_long_to_read_are_not_read_for_each_class(monkeypatch):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 12 * 12, 60)
    )  # fmt: skip
    trace = convlens.trace(convlens.wrap(network, size=12))
    activations, node = torch.zeros(1, 4, 12, 12), trace.find_node("0")
    behind, weights = 2 * 4 * 12 * 12 + 60, 60 * (4 * 12 * 12 + 1)  # elements
    monkeypatch.setattr(module, "_PART_BYTES", 1)
    parts = gradient_parts(trace, activations, node, 1000)
    assert len(parts) == math.ceil(1000 / math.ceil(weights / (0.5 * behind))) == 18
