"""Class scores inside another tuple or mapping, and outputs that are no real numbers."""

import pytest
import torch
from torch import nn

import convlens

SIZE = 8
IMAGES = torch.rand(2, 3, SIZE, SIZE)


class Network(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.outputs = outputs

    def forward(self, x):
        maps = self.body(x).relu()
        return self.outputs(self.head(maps.mean((2, 3))), maps)


def model_of(outputs, **options):
    return convlens.wrap(Network(outputs).eval(), size=SIZE, **options)


@pytest.mark.parametrize(
    "outputs",
    [
        lambda logits, maps: ((logits,), maps),
        lambda logits, maps: (maps, [maps, logits]),
        lambda logits, maps: (maps, {"scores": logits}),
        lambda logits, maps: {"map": maps, "all": (logits,)},
    ],
)
def test_maps_are_not_taken_for_scores_that_are_nested(outputs):
    with pytest.raises(convlens.ConvlensError, match=r"a vector \(1, 5\) that may be the class"):
        convlens.gradcam(model_of(outputs), IMAGES)


@pytest.mark.parametrize(
    "outputs",
    [
        lambda logits, maps: (logits, [maps, logits.softmax(1)]),
        lambda logits, maps: (logits, {"attention": maps}),
        lambda logits, maps: {"scores": logits, "all": (maps, maps)},
    ],
)
def test_scores_at_the_first_level_are_taken(outputs):
    model = model_of(outputs)
    assert convlens.predict(model, IMAGES).logits.shape == (2, 5)


def test_a_map_can_be_chosen():
    model = model_of(lambda logits, maps: (maps, (logits,)), output=0)
    assert convlens.trace(model).shape(convlens.trace(model).logits) == (1, 4, 6, 6)


def test_a_list_called_logits():
    model = model_of(lambda logits, maps: {"logits": [logits, logits]})
    with pytest.raises(convlens.ConvlensError, match="has to be a tensor called logits or out"):
        convlens.predict(model, IMAGES)


def test_complex_scores_are_refused():
    model = model_of(lambda logits, maps: torch.complex(logits, logits))
    with pytest.raises(convlens.ConvlensError, match="of type complex64; class scores have to be"):
        convlens.predict(model, IMAGES)
