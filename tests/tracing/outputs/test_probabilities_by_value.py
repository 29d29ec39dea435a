"""Outputs that are probabilities without a softmax or sigmoid whose logits could be read."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convlens
from convlens import ConvlensWarning
from convlens.models.output_head import PROBABILITIES
from convlens.tracing.outputs import probability_check
from support.output_readings import assert_logits, assert_no_logits, assert_probabilities
from support.public_functions import SIZE, images


class Network(nn.Module):
    """Two vectors of scores on one body, from which `finish` computes the outputs."""

    def __init__(self, finish):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
        self.first, self.second = nn.Linear(6, 4), nn.Linear(6, 4)
        self.finish = finish
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, std=8)

    def forward(self, x):
        features = self.body(x).mean((2, 3))
        return self.finish(self.first(features), self.second(features))


def model_of(finish):
    torch.manual_seed(0)
    return convlens.wrap(Network(finish).eval(), size=SIZE)


def sparsemax(scores):
    """Martins & Astudillo, From Softmax to Sparsemax, 2016, algorithm 1."""
    ordered = scores.sort(1, descending=True)[0]
    sums = ordered.cumsum(1) - 1
    size = (ordered * torch.arange(1, 5) > sums).sum(1, keepdim=True)
    return (scores - sums.gather(1, size - 1) / size).clamp(min=0)


class HiddenSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(context, scores):
        return sparsemax(scores)

    @staticmethod
    def backward(context, gradient):
        return gradient


def average(first, second):
    weights = torch.tensor([0.3, 0.7])
    return torch.einsum("e,enc->nc", weights, torch.stack([first.softmax(1), second.softmax(1)]))


BY_RANGE = {
    "sigmoid of minus x": lambda a, b: 1 / (1 + a.exp()),
    "one minus a sigmoid": lambda a, b: 1 - a.sigmoid(),
    "powers of 2": lambda a, b: 2**a / (2**a).sum(1, keepdim=True),
    "exp2": lambda a, b: torch.exp2(a) / torch.exp2(a).sum(1, keepdim=True),
    "normalized exponentials": lambda a, b: F.normalize(a.exp(), p=1, dim=1),
    "one of two": lambda a, b: a.exp() / (a.exp() + b.exp()),
    "normalized ReLU": lambda a, b: F.relu(a) / (F.relu(a).sum(1, keepdim=True) + 1e-8),
    "half of a tanh": lambda a, b: 0.5 * (torch.tanh(a / 2) + 1),
    "normal distribution": lambda a, b: 0.5 * (1 + torch.erf(a / 2**0.5)),
    "hard sigmoid": lambda a, b: F.relu6(a + 3) / 6,
    "both classes": lambda a, b: torch.cat([1 - a[:, :1].sigmoid(), a[:, :1].sigmoid()], 1),
    "other order": lambda a, b: a.softmax(1)[:, [1, 0, 3, 2]],
    "smoothed": lambda a, b: a.softmax(1) * 0.9 + 0.025,
    "replaced": lambda a, b: torch.where(a.softmax(1) > 0.01, a.softmax(1), 0.0),
    "softsign": lambda a, b: F.softsign(a) * 0.5 + 0.5,
    "made tensors": lambda a, b: torch.tensor(1.0) / (torch.tensor(1.0) + a.exp()),
    "softmin": lambda a, b: F.softmin(a, 1),
    "clamped scores": lambda a, b: a.clamp(0, 1),
}
BY_VALUE = {
    "sparsemax": lambda a, b: sparsemax(a),
    "hidden in a Function": lambda a, b: HiddenSoftmax.apply(a),
    "weighted average": average,
    "by a matrix": lambda a, b: a.softmax(1) @ torch.full((4, 4), 0.25),
    "times the inverse sum": lambda a, b: a.exp() * a.exp().sum(1, keepdim=True).reciprocal(),
}
NO_LOGITS = {
    "tanh": lambda a, b: torch.tanh(a),
    "per mille": lambda a, b: 1000 * a.softmax(1),
    "log of one minus p": lambda a, b: torch.log1p(-a.softmax(1)),
    "log-odds": lambda a, b: torch.logit(a.softmax(1)),
    "root": lambda a, b: -a.softmax(1).sqrt(),
    "softplus": lambda a, b: F.softplus(a),
    "evidence": lambda a, b: F.softplus(a) + 1,
    "written softplus": lambda a, b: torch.log(1 + a.exp()),
    "softplus as logaddexp": lambda a, b: torch.logaddexp(a, torch.zeros_like(a)),
    "exponential": lambda a, b: a.exp(),
}
LOGITS = {
    "gated": lambda a, b: a * b.sigmoid(),
    "soft cap": lambda a, b: 30 * torch.tanh(a / 30),
    "maxout": torch.maximum,
    "normalized and scaled": lambda a, b: 10 * F.normalize(a),
    "layer norm": lambda a, b: F.layer_norm(a, (4,)),
    "ReLU": lambda a, b: F.relu(a),
    "distance": lambda a, b: (a - b).abs(),
    "clamp": lambda a, b: a.clamp(min=0),
    "mean of ReLUs": lambda a, b: torch.stack([F.relu(a), F.relu(b)]).mean(0),
    "minus a distance": lambda a, b: -((a - b) ** 2),
    "logsumexp of two": lambda a, b: torch.stack([a, b]).logsumexp(0),
}


@pytest.mark.parametrize("name", [*BY_RANGE, *BY_VALUE])
def test_probabilities_are_read_as_they_are_with_a_warning(name):
    assert_probabilities(model_of((BY_RANGE | BY_VALUE)[name]))


@pytest.mark.parametrize("name", NO_LOGITS)
def test_other_limited_outputs_are_called_no_logits(name):
    assert_no_logits(model_of(NO_LOGITS[name]))


@pytest.mark.parametrize("name", LOGITS)
def test_logits_behind_other_operations_give_no_warning(name):
    assert_logits(model_of(LOGITS[name]))


def test_an_ordinary_network_is_not_run_on_generated_images(monkeypatch):
    def fail(*arguments):
        raise AssertionError

    monkeypatch.setattr("convlens.tracing.outputs.probability_check.run_trial", fail)
    assert not convlens.trace(model_of(lambda a, b: a + b)).returns_probabilities


def test_a_network_that_reads_its_data_is_checked_once(monkeypatch):
    model = model_of(lambda a, b: sparsemax(a) if a.sum().item() < 1e9 else b)
    runs = []
    original = probability_check.run_trial
    monkeypatch.setattr(
        "convlens.tracing.outputs.probability_check.run_trial",
        lambda *arguments: runs.append(1) or original(*arguments),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvlensWarning)
        traces = [convlens.trace(model, images()[:1] * factor) for factor in (0.5, 1, 0.2)]
    assert all(trace.final_activation == PROBABILITIES for trace in traces)
    assert not traces[0].recording.faked and len(runs) == 2
