"""Maps, checks and images of networks that end in sigmoids, and of networks with one output."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convlens import (
    check_preprocessing,
    deletion_insertion,
    gradcam,
    maximize,
)
from convlens.analyses.shift.offset_map import map_offsets
from convlens.models.labels import NEGATIVE
from support.sigmoid_networks import SIZE, Mapped, images, model

# answers and maps


@pytest.mark.parametrize("classes", [1, 4])
def test_maps_are_of_the_logit_and_not_of_the_sigmoid(classes):
    network = Mapped(classes, nn.Sigmoid())
    network.linear.weight.data *= 50  # so sure that the sigmoid's own gradient is nothing
    plain = Mapped(classes)
    plain.load_state_dict(network.state_dict())
    cam = gradcam(model(network), images(), classes=0)
    expected = gradcam(model(plain), images(), classes=0)
    torch.testing.assert_close(cam.maps, expected.maps)
    assert float(cam.maps.abs().max()) > 0.1
    with torch.no_grad():
        torch.testing.assert_close(cam.probabilities, network(images())[:, :1])


@pytest.mark.parametrize("classes", [1, 4])
def test_evidence_follows_the_networks_own_output(classes):
    network = Mapped(classes, nn.Sigmoid())
    batch = images(2)
    cam = gradcam(model(network), batch, classes=0)
    result = deletion_insertion(model(network), cam, steps=4)
    gray = batch.mean((2, 3), keepdim=True).expand_as(batch)
    with torch.no_grad():
        whole, nothing = network(batch)[:, 0], network(gray)[:, 0]
    torch.testing.assert_close(result.deletion[:, :, 0], whole[:, None].expand(-1, 3))
    torch.testing.assert_close(result.deletion[:, :, -1], nothing[:, None].expand(-1, 3))
    assert len(result.deletion_areas.unique()) == result.deletion_areas.numel()


class Segments(nn.Module):
    def __init__(self, end):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 1)
        with torch.no_grad():
            for part in self.parameters():
                part.copy_(torch.randn(part.shape, generator=generator))
        self.end = end

    def forward(self, x):
        return self.end(self.last(self.first(x).relu()))


def test_sigmoids_at_each_pixel_have_areas_of_their_own():
    network = Segments(nn.Sigmoid())
    result = gradcam(model(network), images(2), classes=[0, 1, 2])
    logits = Segments(nn.Identity())
    logits.load_state_dict(network.state_dict())
    with torch.no_grad():
        scores = logits(images(2))
    for image in range(2):
        for class_index in range(3):
            mask = scores[image, class_index] > 0
            area = max(int(mask.sum()), 1)
            expected = float(scores[image, class_index][mask].sum()) / area
            assert float(result.scores[image, class_index]) == pytest.approx(
                expected, rel=1e-4, abs=1e-6
            )
            share = float(scores[image, class_index][mask].sigmoid().sum()) / area
            assert float(result.probabilities[image, class_index]) == pytest.approx(share, rel=1e-4)


# other analyses


def test_doctor_of_one_output_scores_its_own_probability():
    network = Mapped(1, nn.Sigmoid())
    network.linear.bias.data += 0.01  # one probability would be 0.5 up to rounding
    batch = images(6)
    with torch.no_grad():
        share, mirrored = network(batch)[:, 0], network(batch.flip(3))[:, 0]
    right = [(0,), (NEGATIVE,), (0,), (NEGATIVE,), (0,), (0,)]
    result = check_preprocessing(model(network), batch, labels=right).variants[0]
    expected = [
        probability if of == (0,) else 1 - probability
        for probability, of in zip(share.tolist(), right, strict=True)
    ]
    assert result.score == pytest.approx(sum(map(math.log, expected)) / 6, rel=1e-5)
    assert result.accuracy == sum(probability > 0.5 for probability in expected) / 6
    both = torch.stack([share * mirrored, (1 - share) * (1 - mirrored)]).sqrt().log()
    result = check_preprocessing(model(network), batch).variants[0]
    assert result.score == pytest.approx(float(both.amax(0).mean()), rel=1e-5)


def test_doctor_of_several_sigmoids():
    network = Mapped(3, nn.Sigmoid())
    batch = images(5)
    with torch.no_grad():
        share, mirrored = network(batch), network(batch.flip(3))
    result = check_preprocessing(model(network), batch, labels=[(1, 2)] * 5).variants[0]
    assert result.score == pytest.approx(float(share[:, 1:].amax(1).log().mean()), rel=1e-5)
    both = torch.stack([share * mirrored, (1 - share) * (1 - mirrored)]).sqrt().log()
    result = check_preprocessing(model(network), batch).variants[0]
    assert result.score == pytest.approx(float(both.amax(0).sum(1).mean()), rel=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_maximized_class_has_the_networks_own_probability(classes):
    network = Mapped(classes, nn.Sigmoid())
    result = maximize(model(network), ["0"], class_score="probability", steps=8).maxima[0]
    with torch.no_grad():
        share = float(network(result.images)[0, 0])
        start = float(network(torch.full((1, 3, SIZE, SIZE), 0.5))[0, 0])
    assert float(result.probability[0]) == pytest.approx(share, rel=1e-4)
    assert share > start
    # The objective is the logarithm of that probability, which a softmax over one would keep at 0.
    assert float(result.curve[0, -1]) == pytest.approx(math.log(share), abs=0.3)
    assert bool((result.curve < 0).all())


def test_probability_at_every_offset_is_that_of_the_answer():
    network = Mapped(1, nn.Sigmoid())
    wide = F.interpolate(images(1), size=(SIZE + 4, SIZE + 4), mode="bilinear")
    result = map_offsets(model(network), wide)
    crops = torch.cat([wide[:, :, y : y + SIZE, x : x + SIZE] for y in range(5) for x in range(5)])
    with torch.no_grad():
        share = network(crops).view(5, 5)
    middle = bool(share[2, 2] > 0.5)
    assert result.class_index == (0 if middle else NEGATIVE)
    torch.testing.assert_close(result.probabilities, share if middle else 1 - share)
    assert result.predicted_share == float(((share > 0.5) == middle).float().mean())
