"""torchvision's detection networks by name: they normalize photos themselves and return boxes."""

import pytest
import torch

import convlens
from convlens import ConvlensError

LAYER = "backbone.features.0.0"


@pytest.fixture(scope="module")
def detector():
    return convlens.load("torchvision:ssdlite320_mobilenet_v3_large@random")


def test_photos_are_squashed_and_not_normalized_twice(detector):
    assert detector.size == (320, 320) and detector.preprocessing.resize is None
    assert detector.mean == (0.0,) * 3 and detector.std == (1.0,) * 3
    assert detector.network.transform.image_mean == [0.5] * 3


@pytest.mark.slow
def test_layers_of_the_backbone_are_seen_and_boxes_are_named(detector):
    weights = convlens.filters(detector).weights
    assert torch.equal(weights, detector.network.backbone.features[0][0][0].weight)
    image = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
    hooked = {}
    module = detector.network.get_submodule(LAYER)
    handle = module.register_forward_hook(lambda m, inputs, output: hooked.update(maps=output))
    with torch.no_grad():
        detector.network([image[0]])
    handle.remove()
    maps = convlens.feature_maps(detector, image, layer=LAYER, side="output").maps
    torch.testing.assert_close(maps, hooked["maps"][0])
    with pytest.raises(ConvlensError, match="boxes, scores, labels"):
        convlens.gradcam(detector, image)


@pytest.mark.parametrize(
    ("name", "size"),
    [("retinanet_resnet50_fpn", 800), ("fasterrcnn_mobilenet_v3_large_320_fpn", 320)],
)
def test_the_size_is_that_of_the_networks_own_resize(name, size, monkeypatch):
    # Their networks are large, so one with the same resize stands for each.
    from torchvision import models

    build = models.get_model

    def small(name, **options):
        network = build("ssdlite320_mobilenet_v3_large", weights_backbone=None, weights=None)
        network.transform.fixed_size, network.transform.min_size = None, (size,)
        return network

    monkeypatch.setattr(models, "get_model", small)
    assert convlens.load(f"torchvision:{name}@random").size == (size, size)


def test_networks_for_videos_and_pairs_are_refused_in_words_that_say_so():
    for name in ("r3d_18", "raft_small", "quantized_resnet18"):
        with pytest.raises(ConvlensError, match="quantized, or takes videos or pairs"):
            convlens.load(f"torchvision:{name}@random")
