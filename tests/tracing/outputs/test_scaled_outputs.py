"""Percentages, bits and negative logarithms are undone; random numbers are named."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens

SIZE = 8
IMAGES = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


class Network(nn.Module):
    def __init__(self, finish, classes=4):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, classes)
        nn.init.normal_(self.head.weight, std=4)
        self.finish = finish

    def logits(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))

    def forward(self, x):
        return self.finish(self.logits(x))


UNDONE = {
    "percentages": lambda x: x.softmax(1) * 100,
    "percentages by a quotient": lambda x: x.softmax(1) / 0.01,
    "negative logarithms": lambda x: -x.log_softmax(1),
    "minus the logarithm": lambda x: x.softmax(1).clamp(min=1e-12).log() * -1,
    "bits": lambda x: x.softmax(1).log2(),
    "decibels": lambda x: 10 * x.softmax(1).log10(),
    "bits by a quotient": lambda x: x.log_softmax(1) / 0.6931471805599453,
    "decibels, negative": lambda x: -(10 * x.softmax(1).log10()),
    "another dimension between": lambda x: x.unsqueeze(1).softmax(-1).squeeze(1),
    "another dimension by a view": lambda x: x.view(-1, 1, 4).softmax(2).view(-1, 4),
}
NOT_UNDONE = {
    "scaled, then limited": lambda x: (x.softmax(1) * 100).clamp(max=50),
    "logarithm of percentages": lambda x: (x.softmax(1) * 100).log(),
    "exponential of bits": lambda x: x.softmax(1).log2().exp(),
    "percentages of percentages": lambda x: x.softmax(1) * 100 * 100,
    "rounded logarithms": lambda x: torch.div(x.log_softmax(1), 0.5, rounding_mode="floor"),
    "negative probabilities": lambda x: -x.softmax(1),
    "logarithm of a logarithm": lambda x: (-x.log_softmax(1)).log(),
}


@pytest.mark.parametrize("name", UNDONE)
def test_probabilities_are_those_of_the_softmax(name):
    network = Network(UNDONE[name]).eval()
    with torch.no_grad():
        logits = network.logits(IMAGES)
    predictions = convlens.predict(convlens.wrap(network, size=SIZE), IMAGES, top=1)
    torch.testing.assert_close(predictions.logits, logits)
    torch.testing.assert_close(predictions.probabilities, logits.softmax(1))
    assert predictions.classes[:, 0].tolist() == logits.argmax(1).tolist()
    assert not predictions.warnings


@pytest.mark.parametrize("name", NOT_UNDONE)
def test_what_is_not_undone_is_said(name):
    model = convlens.wrap(Network(NOT_UNDONE[name]).eval(), size=SIZE)
    with pytest.warns(convlens.ConvlensWarning, match="from the results of a softmax"):
        assert convlens.predict(model, IMAGES).warnings


def test_percentages_of_a_sigmoid():
    network = Network(lambda x: x.sigmoid() * 100, classes=1).eval()
    with torch.no_grad():
        right = network.logits(IMAGES).sigmoid()
    predictions = convlens.predict(convlens.wrap(network, size=SIZE), IMAGES)
    torch.testing.assert_close(predictions.probabilities, right)


RANDOM = {
    "dropout that stays on": lambda x: F.dropout(x, 0.5, training=True),
    "noise": lambda x: x + torch.randn_like(x),
    "a noisy mask": lambda x: x * torch.empty_like(x).uniform_().gt(0.5),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_are_named(name):
    model = convlens.wrap(Network(RANDOM[name]).eval(), size=SIZE)
    with pytest.warns(convlens.ConvlensWarning, match="draws random numbers in evaluation mode"):
        assert convlens.gradcam(model, IMAGES).warnings


@pytest.mark.parametrize(
    "finish",
    [
        lambda x: F.dropout(x, 0.5, training=False),
        lambda x: F.scaled_dot_product_attention(x[:, :, None], x[:, :, None], x[:, :, None])[
            :, :, 0
        ],
        lambda x: (torch.randn_like(x), x)[1],
    ],
    ids=["dropout that is off", "attention", "numbers that are not used"],
)
def test_what_draws_nothing_is_not_named(finish):
    trace = convlens.trace(convlens.wrap(Network(finish).eval(), size=SIZE))
    assert not [sentence for sentence in trace.warnings if "random" in sentence]
