"""Of several tensors of one shape that a network returns, the choice is reported."""

import pytest
import torch
from torch import nn

import convlens
from convlens import ConvlensWarning
from support.public_functions import SIZE, images


class Several(nn.Module):
    """Logits, and what `finish` makes of them."""

    def __init__(self, finish):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), nn.Linear(6, 6)
        self.finish = finish

    def forward(self, x):
        features = self.body(x).mean((2, 3))
        return self.finish(features, self.fc(features))


UNCLEAR = {
    "a temperature": lambda features, logits: (logits, logits * 2),
    "features of the same shape": lambda features, logits: (features, logits),
}
CLEAR = {
    "their softmax": lambda features, logits: (logits, logits.softmax(1)),
    "their softmax first": lambda features, logits: (logits.softmax(1), logits),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_choice_between_tensors_of_one_shape_is_reported(name):
    model = convlens.wrap(Several(UNCLEAR[name]).eval(), size=SIZE)
    with pytest.warns(ConvlensWarning, match="number 1, which is computed from another"):
        predictions = convlens.predict(model, images())
    assert torch.equal(predictions.logits, model.network(images())[1].detach())
    assert any("number 1" in sentence for sentence in predictions.warnings)


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_given_position_is_no_choice(name):
    network = Several(UNCLEAR[name]).eval()
    for number in (0, 1):  # warnings are errors
        predictions = convlens.predict(convlens.wrap(network, size=SIZE, output=number), images())
        assert torch.equal(predictions.logits, network(images())[number].detach())


@pytest.mark.parametrize("name", CLEAR)
def test_logits_beside_their_softmax_are_no_choice(name):
    model = convlens.wrap(Several(CLEAR[name]).eval(), size=SIZE)
    predictions = convlens.predict(model, images())
    features = model.network.body(images()).mean((2, 3))
    torch.testing.assert_close(predictions.logits, model.network.fc(features).detach())
