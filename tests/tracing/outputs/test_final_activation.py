"""Outputs are read as the network means them: as logits, or as probabilities."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens import ConvlensWarning
from convlens.models.output_head import (
    PROBABILITIES,
    cross_entropy,
    misclassification_margin,
    predicted_classes,
    top_predictions,
)
from support.output_readings import assert_logits, assert_no_logits, assert_probabilities
from support.public_functions import CALLS, SIZE, images


class Network(nn.Module):
    """Three heads on one body, whose logits `finish` turns into the outputs."""

    def __init__(self, finish, classes=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(6, classes) for _ in range(3))
        self.finish = finish
        for weight in self.heads.parameters():
            nn.init.normal_(weight, std=8)

    def forward(self, x):
        features = self.body(x).mean((2, 3))
        return self.finish([head(features) for head in self.heads])


def model_of(finish, classes=4):
    torch.manual_seed(0)
    return convlens.wrap(Network(finish, classes).eval(), size=SIZE)


def softmax(logits):
    return F.softmax(logits, 1)


def over_its_sum(exponentials):
    return exponentials / exponentials.sum(-1, keepdim=True)


EXACT = {
    "softmax": lambda heads: softmax(heads[0]),
    "times one": lambda heads: softmax(heads[0]) * 1.0,
    "clamped": lambda heads: softmax(heads[0]).clamp(1e-7, 1 - 1e-7),
    "clamped to all": lambda heads: softmax(heads[0]).clamp(0, 1) / 1 + 0,
    "exp of log": lambda heads: F.log_softmax(heads[0], 1).exp(),
    "sigmoid": lambda heads: heads[0].sigmoid().clamp(1e-7, 1 - 1e-7),
    "exp over its sum": lambda heads: heads[0].exp() / heads[0].exp().sum(1, keepdim=True),
    "one exp": lambda heads: over_its_sum(heads[0].exp()),
    "sum without keepdim": lambda heads: heads[0].exp() / heads[0].exp().sum(1).unsqueeze(1),
    "shifted by the largest": lambda heads: over_its_sum(
        (heads[0] - heads[0].max(1, keepdim=True)[0]).exp()
    ),
    "shifted by amax": lambda heads: over_its_sum(
        (heads[0] - heads[0].amax(1, keepdim=True).detach()).exp()
    ),
    "written sigmoid": lambda heads: 1 / (1 + torch.exp(-heads[0])),
    "sigmoid by a power": lambda heads: (1 + (-1 * heads[0]).exp()) ** -1,
    "sigmoid by exp": lambda heads: heads[0].exp() / (1 + heads[0].exp()),
    "exp of written log": lambda heads: (heads[0] - heads[0].logsumexp(1, keepdim=True)).exp(),
}
EXACT_LOGARITHMS = {
    "log": lambda heads: softmax(heads[0]).log(),
    "log of clamped": lambda heads: softmax(heads[0]).clamp(min=1e-8).log(),
    "log of shifted": lambda heads: torch.log(softmax(heads[0]) + 1e-8),
    "clamped log": lambda heads: F.log_softmax(heads[0], 1).clamp(min=-100),
    "minus logsumexp": lambda heads: heads[0] - heads[0].logsumexp(1, keepdim=True),
    "minus log of sum": lambda heads: heads[0] - heads[0].exp().sum(1, keepdim=True).log(),
    "log of written softmax": lambda heads: (
        heads[0].exp() / heads[0].exp().sum(1, keepdim=True)
    ).log(),
}
NOT_SOFTMAX = {
    "over the images": lambda heads: heads[0].exp() / heads[0].exp().sum(0, keepdim=True),
    "sum of another head": lambda heads: heads[0].exp() / heads[1].exp().sum(1, keepdim=True),
    "minus another's logsumexp": lambda heads: heads[0] - heads[1].logsumexp(1, keepdim=True),
    "two plus": lambda heads: 1 / (2 + torch.exp(-heads[0])),
}
AVERAGES = {
    "mean of a stack": lambda heads: torch.stack([softmax(h) for h in heads]).mean(0),
    "sum over three": lambda heads: sum(softmax(h) for h in heads) / 3,
    "sums with weights": lambda heads: 0.5 * softmax(heads[0]) + 0.5 * softmax(heads[1]),
    "mean of sigmoids": lambda heads: torch.stack([h.sigmoid() for h in heads]).mean(0),
    "clamped far inside": lambda heads: softmax(heads[0]).clamp(0.05, 0.95),
    "squeezed into the middle": lambda heads: softmax(heads[0]) * 0.5,
    "product of sigmoids": lambda heads: heads[0].sigmoid() * heads[1].sigmoid(),
    "squared and normalized": lambda heads: (
        softmax(heads[0]) ** 2 / (softmax(heads[0]) ** 2).sum(1, keepdim=True)
    ),
    "highest": lambda heads: torch.maximum(heads[0].sigmoid(), heads[1].sigmoid()),
}
UNCLEAR = {
    "log of a mean": lambda heads: (softmax(heads[0]) + softmax(heads[1])).div(2).log(),
    "scaled": lambda heads: heads[0].sigmoid() * 2 - 1,
}
LOGITS = {
    "logits": lambda heads: heads[0],
    "mean of logits": lambda heads: torch.stack(heads).mean(0),
    "gated": lambda heads: heads[0] * heads[1].sigmoid(),
    "silu": lambda heads: F.silu(heads[0]),
}


@pytest.mark.parametrize("name", [*EXACT, *EXACT_LOGARITHMS])
def test_what_can_be_undone_is_read_at_the_logits(name):
    model = model_of((EXACT | EXACT_LOGARITHMS)[name])  # warnings are errors
    predictions = convlens.predict(model, images())
    with torch.no_grad():
        outputs = model(images())
        features = model.network.body(images()).mean((2, 3))
        logits = model.network.heads[0](features)
    expected = outputs.exp() if name in EXACT_LOGARITHMS else outputs
    torch.testing.assert_close(predictions.probabilities, expected, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(predictions.logits, logits)
    assert predictions.output_head == ("sigmoid" if "sigmoid" in name else "softmax")


@pytest.mark.parametrize("name", NOT_SOFTMAX)
def test_what_only_looks_like_a_softmax_or_sigmoid_is_not_undone(name):
    model = model_of(NOT_SOFTMAX[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvlensWarning)
        # One image for the softmax over images, whose result depends on the others.
        predictions = convlens.predict(model, images()[:1])
        assert torch.equal(predictions.logits, model(images()[:1]).detach())


@pytest.mark.parametrize("name", AVERAGES)
def test_other_probabilities_are_read_as_they_are_and_every_analysis_says_so(name):
    model = model_of(AVERAGES[name])
    assert_probabilities(model)
    with torch.no_grad():
        outputs = model(images())
    with pytest.warns(ConvlensWarning, match="read as probabilities"):
        cams = convlens.gradcam(model, images())
    torch.testing.assert_close(cams.probabilities[:, 0], outputs.amax(1))
    with pytest.warns(ConvlensWarning):
        assert "read as they are" in convlens.anatomy(model).prediction_rule


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_neither_is_read_as_logits_with_a_warning(name):
    assert_no_logits(model_of(UNCLEAR[name]))


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_read_without_a_warning(name):
    assert_logits(model_of(LOGITS[name]))


def test_a_softmax_over_the_images_is_no_final_activation():
    model = model_of(lambda heads: F.softmax(heads[0], 0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trace = convlens.trace(model)
    assert trace.final_activation == "" and trace.depends_on_batch
    assert any("other images" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "patches", "shift", "feature_maps", "maximize"])
def test_each_of_several_analyses_warns(name):
    torch.manual_seed(0)
    network = nn.Sequential(
        *[nn.Identity()] * 7, nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, 4), Average(),
    )  # fmt: skip
    model = convlens.wrap(network.eval(), size=SIZE)
    call = CALLS[name] if name != "maximize" else lambda m: convlens.maximize(m, ["7:1"], steps=1)
    with pytest.warns(ConvlensWarning, match="read as probabilities"):
        call(model)


class Average(nn.Module):
    def forward(self, x):
        return (softmax(x) + softmax(2 * x)) / 2


def test_fgsm_follows_the_cross_entropy_of_the_mean_probability():
    model = model_of(AVERAGES["mean of a stack"])
    batch = images().requires_grad_()
    outputs = model.network(batch)
    loss = -outputs.gather(1, outputs.argmax(1, keepdim=True)).log().sum()
    (gradient,) = torch.autograd.grad(loss, batch)
    with pytest.warns(ConvlensWarning):
        attack = convlens.fgsm(model, images())
    agree = (attack.signs == gradient.sign().to(attack.signs)).float().mean()
    assert agree > 0.999
    assert "outputs that are no logits" in {entry.name for entry in attack.diagnostics}


def test_one_probability_is_binary():
    outputs = torch.tensor([[0.8], [0.3]])
    classes = torch.tensor([0, -1])
    assert predicted_classes(outputs, PROBABILITIES).tolist() == [0, -1]
    assert top_predictions(outputs, PROBABILITIES, 2).tolist() == [[0, -1], [-1, 0]]
    expected = -torch.tensor([0.8, 0.7]).log()
    torch.testing.assert_close(cross_entropy(outputs, classes, PROBABILITIES), expected)
    margins = misclassification_margin(outputs, classes, PROBABILITIES)
    torch.testing.assert_close(margins, torch.tensor([0.2 - 0.8, 0.3 - 0.7]))
