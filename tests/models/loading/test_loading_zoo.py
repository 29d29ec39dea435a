"""Networks of torchvision and timm: their preprocessing and their weights, random or cached."""

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config
from torchvision.transforms.functional import center_crop

from convlens.models.loading.demo_photos import demo_photos
from convlens.models.loading.load import load
from convlens.models.loading.sources import timm_models
from convlens.models.loading.sources.timm_models import timm_model
from convlens.models.loading.sources.torchvision_models import torchvision_model
from support.loadable import message
from support.tensors import same_tensors

pytest_plugins = "support.loadable"
pytestmark = pytest.mark.usefixtures("no_network")


# Preprocessing


def photo():
    return Image.open(demo_photos()[0].path).convert("RGB")


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet1_1",
        "resnet50",
        "resnet50@IMAGENET1K_V1",
        "efficientnet_b3",
        "inception_v3",
        "mobilenet_v3_small",
        "shufflenet_v2_x2_0",
        "vit_b_16@IMAGENET1K_SWAG_E2E_V1",
    ],
)
def test_torchvision_preprocessing_is_that_of_its_transforms(name):
    model = torchvision_model(name, weights=False)
    name, _, tag = name.partition("@")
    weights = torchvision.models.get_model_weights(name)[tag or "DEFAULT"]
    expected = weights.transforms()(photo())
    torch.testing.assert_close(model.normalize(model.prepare(photo()))[0], expected)
    assert list(model.labels) == weights.meta["categories"]


def test_torchvision_network_takes_images_of_its_weights_size():
    model = torchvision_model("vit_b_16@IMAGENET1K_SWAG_E2E_V1", weights=False)
    assert model.network.image_size == 384 and model.size == (384, 384)


@pytest.mark.slow
def test_torchvision_segmentation_is_cropped_to_a_square():
    model = load("torchvision:fcn_resnet50@random")
    weights = torchvision.models.get_model_weights("fcn_resnet50").DEFAULT
    expected = center_crop(weights.transforms()(photo()), [520, 520])
    torch.testing.assert_close(model.normalize(model.prepare(photo()))[0], expected)
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64)).shape == (1, 21, 64, 64)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet18.tv_in1k",
        "efficientnet_b1",
        "mobilenetv3_small_050",
        "test_vit",
        "inception_v3.tf_in1k",
        "convnext_pico.d1_in1k",
        "regnety_002",
        "fastvit_t8",
        "resnet18d.ra4_e3600_r224_in1k",
        "convnextv2_nano.fcmae_ft_in22k_in1k_384",  # squashed
    ],
)
def test_timm_preprocessing_is_that_of_its_transforms(name):
    if not timm.is_model_pretrained(name):
        pytest.skip(f"this timm has no {name}")
    model = timm_model(name, weights=False)
    config = resolve_model_data_config(model.network)
    expected = create_transform(**config, is_training=False)(photo())
    torch.testing.assert_close(model.normalize(model.prepare(photo()))[0], expected)
    assert "approximated" not in model.origin


def test_timm_preprocessing_that_cannot_be_had_is_confessed():
    config = {"input_size": (3, 192, 192), "interpolation": "bicubic", "crop_pct": 0.9}
    for mode in ("squash", "border"):
        _, deviation = timm_models._timm_preprocessing({**config, "crop_mode": mode})
        assert f"crop mode {mode} at 0.9, which is only approximated" in deviation


def test_timm_labels_are_imagenet_names():
    model = timm_model("resnet18", weights=False)
    assert model.labels[281] == "tabby, tabby cat" and len(model.labels) == 1000


# Random weights


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1@random", "timm:resnet10t@random"])
def test_random_weights_follow_the_seed_and_nothing_else(spec):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = load(spec, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert same_tensors(first.network.state_dict(), load(spec, seed=1).network.state_dict())
    assert not same_tensors(first.network.state_dict(), load(spec, seed=2).network.state_dict())
    assert first.labels is None and first.spec == spec and not first.network.training


def test_a_network_without_weights_is_fed_as_imagenet_is(monkeypatch):
    none = torchvision.models.WeightsEnum("None_Weights", [])
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: none)
    assert "torchvision has no weights for alexnet; use torchvision:alexnet@random" in message(
        "torchvision:alexnet"
    )
    model = load("torchvision:squeezenet1_1@random")
    assert model.mean == (0.485, 0.456, 0.406) and model.preprocessing.resize == 256


# Weights that are cached, and weights that cannot be had


def test_torchvision_weights_from_its_cache(tmp_path):
    state = torchvision.models.squeezenet1_1().state_dict()
    cache = tmp_path / "torch/hub/checkpoints"
    cache.mkdir(parents=True)
    torch.save(state, cache / "squeezenet1_1-b8a52dc0.pth")
    model = load("torchvision:squeezenet1_1")
    assert same_tensors(model.network.state_dict(), state)
    assert model.labels[282] == "tiger cat" and "IMAGENET1K_V1" in model.origin


def test_timm_weights_from_its_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    state = timm.create_model("resnet10t").state_dict()
    name = f"resnet10t.{timm.get_pretrained_cfg('resnet10t').tag}"
    repository = tmp_path / f"hub/models--timm--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("abc")
    (repository / "snapshots/abc").mkdir(parents=True)
    save_file(state, repository / "snapshots/abc/model.safetensors")
    model = load("timm:resnet10t")
    assert same_tensors(model.network.state_dict(), state)
    assert model.labels[282] == "tiger cat" and name in model.origin


@pytest.mark.parametrize(
    ("spec", "weights"),
    [("torchvision:squeezenet1_1", "IMAGENET1K_V1"), ("timm:resnet18@tv_in1k", "tv_in1k")],
)
def test_weights_that_cannot_be_downloaded(spec, weights, capfd):
    text = message(spec)
    network = spec.partition("@")[0]
    assert f"the weights {weights} of {network} are not on this computer" in text
    assert "Name or service not known" in text
    assert f"file:PATH@{network}@{weights} and {network}@random work" in text
    assert "Retrying" not in capfd.readouterr().err
