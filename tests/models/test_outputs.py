"""Which of several returned tensors holds the class scores."""

from typing import Any

import pytest
import torch
from torch import nn

import convlens


class Network(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.fc, self.other = nn.Linear(4, 5), nn.Linear(4, 6)
        self.outputs = outputs

    def forward(self, x):
        maps = self.body(x)
        vector = maps.mean((2, 3))
        return self.outputs(self, maps, vector, self.fc(vector))


DECIDED = {
    "logits, map": lambda net, maps, vector, logits: (logits, maps),
    "map, logits": lambda net, maps, vector, logits: (maps, logits),
    "vector, logits": lambda net, maps, vector, logits: (vector, logits),
    "loss, logits": lambda net, maps, vector, logits: (torch.zeros(()), logits),
    "nothing, logits": lambda net, maps, vector, logits: [None, logits],
    "one number for each image, logits": lambda net, maps, vector, logits: (vector[:, 0], logits),
    "classes, logits": lambda net, maps, vector, logits: (logits.argmax(1), logits),
    "logits, probabilities": lambda net, maps, vector, logits: (logits, logits.softmax(1)),
    "all maps, logits": lambda net, maps, vector, logits: ([maps, maps], logits),
}


@pytest.mark.parametrize("labels", [None, "abcde"])
@pytest.mark.parametrize("name", DECIDED)
def test_the_logits_are_found_among_several_outputs(name, labels):
    network = Network(DECIDED[name]).eval()
    images = torch.rand(2, 3, 8, 8)
    logits = network.fc(network.body(images).mean((2, 3)))
    model = convlens.wrap(network, size=8, labels=labels and list(labels))
    torch.testing.assert_close(convlens.predict(model, images).logits, logits.detach())
    assert convlens.gradcam(model, images).classes[:, 0].tolist() == logits.argmax(1).tolist()


def test_one_number_for_each_image_beside_a_map_is_asked_about():
    network = Network(lambda net, maps, vector, logits: (logits[:, 0], maps)).eval()
    images = torch.rand(2, 3, 8, 8)
    with pytest.raises(convlens.ConvlensError, match="several tensors that may be class scores"):
        convlens.gradcam(convlens.wrap(network, size=8), images)
    model = convlens.wrap(network, size=8, output=0)
    assert torch.equal(model(images), network(images)[0])


def test_labels_or_the_position_decide_where_nothing_else_does():
    network = Network(lambda net, maps, vector, logits: (net.other(vector), logits)).eval()
    images = torch.rand(2, 3, 8, 8)
    vector = network.body(images).mean((2, 3))
    with pytest.raises(convlens.ConvlensError, match=r"\(1, 6\) and \(1, 5\); give labels, or the"):
        convlens.predict(convlens.wrap(network, size=8), images)
    chosen: dict[str, tuple[dict[str, Any], nn.Linear]] = {
        "five labels": ({"labels": list("abcde")}, network.fc),
        "six labels": ({"labels": list("abcdef")}, network.other),
        "first": ({"output": 0}, network.other),
        "second": ({"output": 1}, network.fc),
    }
    for options, layer in chosen.values():
        # One network, several models: the traces of one are not those of another.
        model = convlens.wrap(network, size=8, **options)
        torch.testing.assert_close(convlens.predict(model, images).logits, layer(vector).detach())
        torch.testing.assert_close(model(images), layer(vector))
    with pytest.raises(convlens.ConvlensError, match="output 2 is no tensor among the 2"):
        convlens.predict(convlens.wrap(network, size=8, output=2), images)
