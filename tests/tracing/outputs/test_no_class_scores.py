"""Networks that return boxes or several values instead of class scores."""

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import convlens

LAYER = "features.0"


class Detector(nn.Module):
    """Boxes above a score, chosen by their values, for each image."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.boxes, self.scores = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 1, 1)

    def forward(self, images):
        maps = self.features(images)
        boxes, scores = self.boxes(maps).flatten(2), self.scores(maps).flatten(1).sigmoid()
        detections = []
        for image_boxes, image_scores in zip(boxes, scores, strict=True):
            chosen = image_scores > 0.5
            corners = image_boxes[:, chosen].t().abs().cumsum(1)
            boxes_kept = torchvision.ops.nms(corners, image_scores[chosen], 0.5)
            detections.append(
                {"boxes": corners[boxes_kept], "scores": image_scores[chosen][boxes_kept]}
            )
        return detections


class Named(Detector):
    """All boxes, in a mapping."""

    def forward(self, images):
        maps = self.features(images)
        return {"pred_boxes": self.boxes(maps), "pred_scores": self.scores(maps)}


class Early(Detector):
    """The layer `boxes` runs only on the values above a score."""

    def forward(self, images):
        maps = self.features(images)
        mask = self.scores(maps)[0, 0] > 0
        chosen = maps[0][:, mask]
        return [{"boxes": self.boxes(chosen[None, :, :, None]).flatten(2)}]


@pytest.mark.parametrize("kind", [Detector, Named, Early])
def test_what_needs_no_class_scores_works(kind):
    torch.manual_seed(0)
    network = kind().eval()
    images = torch.rand(3, 3, 12, 10)
    model = convlens.wrap(network, size=(12, 10))
    hooked = {}
    handle = network.get_submodule(LAYER).register_forward_hook(
        lambda module, inputs, output: hooked.update(maps=output)
    )
    with torch.no_grad():
        network(images)
    handle.remove()
    maps = hooked["maps"]

    result = convlens.anatomy(model)
    assert {layer.name for layer in result.layers} >= {LAYER, "boxes", "scores"}
    assert result.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert result.unused == () and result.logits == "" and result.final_post is None

    shown = convlens.feature_maps(model, images[:1], layer=LAYER, side="output")
    torch.testing.assert_close(shown.maps, maps[0].detach())
    patches = convlens.patches(model, images, layers=[LAYER], top=3, show=1)[LAYER]
    strongest = maps.relu().flatten(2).amax(2).t().sort(1, descending=True)
    torch.testing.assert_close(patches.values, strongest.values.detach())
    assert torch.equal(patches.images, strongest.indices)
    assert convlens.filters(model).weights.shape == (8, 3, 3, 3)
    assert convlens.trace(model).field(convlens.trace(model).find_node(LAYER)).size == (3, 3)


@pytest.mark.parametrize("kind", [Detector, Named])
def test_the_trace_of_a_detector_holds_for_all_images(kind):
    assert convlens.trace(convlens.wrap(kind().eval(), size=12)).recording.faked


@pytest.mark.parametrize(("kind", "words"), [(Detector, "boxes, scores"), (Named, "pred_boxes")])
def test_class_views_say_what_the_network_returns(kind, words):
    model = convlens.wrap(kind().eval(), size=12, labels=["a", "b"])
    images = torch.rand(1, 3, 12, 12)
    for explain in (convlens.gradcam, convlens.fgsm):
        with pytest.raises(convlens.ConvlensError, match=words):
            explain(model, images)


def test_costs_of_a_detector_are_half_of_what_torch_counts():
    network = Named().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, 12, 12))
    result = convlens.anatomy(convlens.wrap(network, size=12))
    assert 2 * result.multiply_adds == counter.get_total_flops()
