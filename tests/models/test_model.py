from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convlens.data.preprocessing import Preprocessing
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.models.outputs import select_output
from convlens.models.wrap import wrap
from convlens.runtime.guard import unwrap_network


def gray_levels(mode="RGB", size=(8, 6)):
    """A PIL photo of size (width, height) with every pixel another color."""
    pixels = np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(size[1], size[0], 3)
    return Image.fromarray(pixels).convert(mode)


def identity(channels=3, **options):
    return wrap(nn.Identity(), channels=channels, size=(6, 8), **options)


# prepare


def test_prepare_keeps_pixels_of_a_photo_that_has_the_size():
    photo = gray_levels()
    images = identity().prepare(photo)
    expected = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 255
    assert images.shape == (1, 3, 6, 8)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-7)


def test_prepare_stacks_photos_and_paths_in_channels_last(tmp_path):
    path = tmp_path / "photo.png"
    gray_levels().save(path)
    images = identity().prepare([path, str(path), gray_levels()])
    assert images.shape == (3, 3, 6, 8)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])


def test_prepare_fills_the_bounds():
    photo = gray_levels()
    images = identity(bounds=(0.0, 255.0)).prepare(photo)
    assert torch.equal(images[0].permute(1, 2, 0), torch.from_numpy(np.array(photo)).float())
    signed = identity(bounds=(-1.0, 1.0)).prepare(photo)
    torch.testing.assert_close(signed, images / 127.5 - 1, rtol=0, atol=1e-6)


def test_prepare_gives_one_gray_channel():
    images = identity(channels=1).prepare(gray_levels())
    gray = torch.from_numpy(np.array(gray_levels("L"))) / 255
    torch.testing.assert_close(images, gray[None, None], rtol=0, atol=1e-7)


def test_prepare_refuses_four_channels():
    with pytest.raises(ConvlensError, match=r"takes 4 input channels and a photo has 1 or 3"):
        identity(channels=4).prepare(gray_levels())


# check


@pytest.mark.parametrize("shape", [(3, 6, 8), (2, 1, 6, 8), (0, 3, 6, 8)])
def test_check_refuses_other_shapes(shape):
    with pytest.raises(ConvlensError, match=r"\(N, 3, H, W\)"):
        identity().check(torch.zeros(shape))


@pytest.mark.parametrize("value", [-0.01, 1.01, 255.0, float("nan"), float("inf")])
def test_check_refuses_values_outside_the_bounds(value):
    images = torch.full((1, 3, 6, 8), 0.5)
    images[0, 1, 2, 3] = value
    with pytest.raises(ConvlensError, match="outside the model's bounds 0 to 1"):
        identity().check(images)


def test_check_forgives_rounding_only():
    model = identity(bounds=(0.0, 255.0))
    images = torch.full((1, 3, 6, 8), 255.0001)
    assert model.check(images) is images
    with pytest.raises(ConvlensError, match="outside"):
        model.check(images + 0.01)


def test_any_height_and_width_will_do():
    assert identity()(torch.rand(2, 3, 5, 17)).shape == (2, 3, 5, 17)


# normalize and call


def test_normalize_subtracts_then_divides_per_channel():
    model = identity(mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    images = torch.rand(2, 3, 6, 8)
    expected = images.clone()
    for channel, (mean, std) in enumerate(zip(model.mean, model.std, strict=True)):
        expected[:, channel] = (images[:, channel] - mean) / std
    torch.testing.assert_close(model.normalize(images), expected)
    assert torch.equal(model(images), model.normalize(images))


def test_center_of_each_image():
    """Each image's own mean is subtracted in each channel; the gradient knows of it."""
    model = wrap(nn.Identity(), std=(0.5, 0.25), center="image", channels=2, size=4)
    images = torch.rand(3, 2, 4, 5, dtype=torch.float32, requires_grad=True)
    result = model.normalize(images)
    for n in range(3):
        for c in range(2):
            own = images[n, c] - images[n, c].sum() / 20
            torch.testing.assert_close(result[n, c], own / (0.5, 0.25)[c])
    (gradient,) = torch.autograd.grad(result[0, 0, 0, 0], images)
    assert gradient[0, 0, 0, 0].item() == pytest.approx(2 * (1 - 1 / 20))
    assert gradient[0, 0, 1, 1].item() == pytest.approx(-2 / 20)
    with pytest.raises(ConvlensError, match="beside each image's own"):
        wrap(nn.Identity(), mean=0.5, center="image")
    with pytest.raises(ConvlensError, match="center 'middle'"):
        wrap(nn.Identity(), center="middle")


def test_normalize_in_the_units_of_the_image():
    images = torch.rand(1, 3, 6, 8)
    unit = identity(mean=0.5, std=0.25)
    bytes_ = identity(mean=127.5, std=63.75, bounds=(0.0, 255.0))
    torch.testing.assert_close(bytes_.normalize(images * 255), unit.normalize(images))


def test_four_channels_are_normalized_alike():
    images = torch.rand(1, 4, 6, 8)
    model = identity(channels=4, mean=0.5, std=2.0)
    torch.testing.assert_close(model(images), (images - 0.5) / 2)


def test_double_precision_network_gets_doubles():
    network = nn.Conv2d(3, 2, 3, dtype=torch.float64)
    model = wrap(network, mean=0.5, std=0.25)
    images = torch.rand(1, 3, 6, 8)
    output = model(images)
    assert output.dtype == torch.float64
    torch.testing.assert_close(output, network((images.double() - 0.5) / 0.25))


def test_call_leaves_the_mode_alone():
    model = wrap(nn.BatchNorm2d(3, affine=False).train())
    model(torch.rand(4, 3, 6, 8))
    assert model.network.training


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mean": (0.5, 0.5)}, "mean has 2 values for 3 input channels"),
        ({"std": (1.0, 1.0, 1.0, 1.0)}, "std has 4 values for 3 input channels"),
        ({"std": (1.0, 0.0, 1.0)}, "has a zero"),
        ({"bounds": (1.0, 0.0)}, "are empty"),
    ],
)
def test_values_that_do_not_fit_together(options, says):
    with pytest.raises(ConvlensError, match=says):
        identity(**options)


# select_output


def test_select_output_finds_the_scores():
    scores, other = torch.rand(1, 5), torch.rand(1, 7)
    assert select_output(scores) is scores
    assert select_output({"aux": other, "out": scores}) is scores
    assert select_output({"out": other, "logits": scores}) is scores
    assert select_output({"anything": scores, "loss": None}) is scores
    assert select_output(SimpleNamespace(logits=scores, hidden=other)) is scores
    assert select_output((scores, torch.rand(1, 7, 2, 2))) is scores
    assert select_output([other, scores], num_labels=5) is scores


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"a": torch.zeros(1), "b": torch.zeros(1)}, "mapping with a, b"),
        ((torch.zeros(1, 5), torch.zeros(1, 7)), r"\(1, 5\) and \(1, 7\); give labels"),
        ((), "returns a tuple"),
        (SimpleNamespace(scores=torch.zeros(1)), "returns a SimpleNamespace"),
        (None, "returns a NoneType"),
    ],
)
def test_select_output_says_what_it_was_given(output, says):
    with pytest.raises(ConvlensError, match=says):
        select_output(output)


# wrap and bare


def test_wrap_reads_channels_and_resizes_by_habit():
    model = wrap(nn.Sequential(nn.Conv2d(1, 4, 3)), labels=["no", "yes"])
    assert model.channels == 1
    assert model.preprocessing == Preprocessing(size=(224, 224), resize=256)
    assert model.labels == ("no", "yes")
    assert model.name == "Sequential"
    assert wrap(nn.Identity(), size=(100, 200)).preprocessing.resize is None
    assert wrap(nn.Identity(), size=28).preprocessing.resize is None


def test_wrap_refuses_what_is_no_module():
    with pytest.raises(ConvlensError, match=r"function is not a torch\.nn\.Module"):
        wrap(lambda images: images)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_wrap_refuses_torchscript():
    with pytest.raises(ConvlensError, match="TorchScript network has no layers"):
        wrap(torch.jit.script(nn.Identity()))


def test_bare_finds_the_module_inside_a_compiled_or_parallel_one():
    network = nn.Sequential(nn.Conv2d(1, 4, 3))
    compiled: Any = torch.compile(network)
    assert compiled is not network
    assert unwrap_network(compiled) is network
    assert unwrap_network(nn.DataParallel(compiled)) is network
    assert unwrap_network(network) is network
    model = wrap(compiled)
    assert isinstance(model, Model) and model.channels == 1 and model.name == "Sequential"
    images = torch.rand(1, 1, 8, 8)
    assert torch.equal(model(images), network(images))
