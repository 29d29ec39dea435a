"""Networks that give equal scores, and outputs that no temperature divides."""

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.model_check.thresholds import CheckThresholds


class Constant(nn.Module):
    """A network that has died: the same score for every class."""

    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, classes, 1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


def test_equal_scores_are_ranked_in_the_order_of_the_classes():
    model = convlens.wrap(Constant(10), size=8)
    labels = [(number,) for number in range(10)]
    result = convlens.error_analysis(model, torch.rand(10, 3, 8, 8), labels, show=0, examine=0)
    assert result.accuracy.share == 0.1
    assert result.top5 is not None and result.top5.share == 0.5
    assert sorted(error.label_rank for error in result.wrong) == list(range(1, 10))


def test_of_five_classes_all_are_among_the_first_five():
    model = convlens.wrap(Constant(3), size=8)
    labels = [(number % 3,) for number in range(12)]
    result = convlens.check(
        model, torch.rand(12, 3, 8, 8), labels, thresholds=CheckThresholds(top5=0.9)
    )
    assert result["among the first five"].status == "fine"
    assert result["among the first five"].value == 1.0


class Ensemble(nn.Module):
    """The mean of two probabilities, from which no logit can be had."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 1)

    def forward(self, x):
        probabilities = [conv(x).mean((2, 3)).sigmoid() for conv in (self.first, self.second)]
        return (probabilities[0] + probabilities[1]) / 2


@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
def test_one_probability_has_no_loss():
    labels = [(0,), (-1,)] * 6
    result = convlens.error_analysis(
        convlens.wrap(Ensemble(), size=8), torch.rand(12, 3, 8, 8), labels, show=0, examine=0
    )
    assert result.calibration.loss is None
