"""The verdict on the preprocessing, from the scores of its variants."""

import math
from dataclasses import replace

import pytest
import torch

from convlens.analyses.preprocessing_check.result import VariantScore
from convlens.analyses.preprocessing_check.scores import score_by_labels
from convlens.analyses.preprocessing_check.verdict import conclude, find_better

CONFIGURED = VariantScore(name="as configured", score=-1.0, accuracy=None, gain=0.0, p_value=1.0)


def variant(p_value, *, gain=0.6, distinctness=0.9):
    return VariantScore(
        name="another",
        score=-1.0 + gain,
        accuracy=None,
        gain=gain,
        p_value=p_value,
        distinctness=distinctness,
    )


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        (variant(0.009), "mistake"),
        (variant(0.03), "cannot tell"),
        (variant(0.06), "fine"),
        (variant(0.03, gain=0.2), "fine"),
        (variant(0.009, distinctness=0.1), "cannot tell"),
    ],
)
def test_verdict_without_labels(other, verdict):
    assert conclude([CONFIGURED, other], 20, labeled=False)[0] == verdict


def test_doubtful_variant_is_named_with_its_gain_and_p_value():
    _, reason = conclude([CONFIGURED, variant(0.03)], 20, labeled=False)
    assert reason == (
        "with 'another' predictions are 0.60 nats more confident on 20 photos, which may be "
        "chance (p = 0.03); give labels or more photos"
    )


@pytest.mark.parametrize(
    ("over_guessing", "accuracy", "verdict"),
    [(2.0, 0.5, "mistake"), (0.0, 0.5, "cannot tell"), (-3.0, 0.1, "cannot tell"),
     (0.5, 0.0, "cannot tell")],
)  # fmt: skip
def test_with_labels_a_network_has_to_do_better_than_by_guessing(over_guessing, accuracy, verdict):
    other = replace(
        variant(0.009, distinctness=None), accuracy=accuracy, over_guessing=over_guessing
    )
    configured = replace(CONFIGURED, accuracy=0.0, over_guessing=over_guessing - 0.6)
    concluded, reason = conclude([configured, other], 20, labeled=True)
    assert concluded == verdict
    assert ("than by guessing" in reason) == (verdict == "cannot tell")


@pytest.mark.parametrize(
    ("output_head", "equal"),
    [("softmax", -math.log(4)), ("probabilities", -math.log(4)), ("sigmoid", -math.log(2))],
)
def test_the_score_of_guessing(output_head, equal):
    logits = torch.rand(3, 4, dtype=torch.float64)
    scores = score_by_labels(logits, [[0], [1], [3]], output_head)
    assert scores.guessed == pytest.approx(equal)
    assert score_by_labels(logits, [[0, 1]] * 3, "softmax").guessed == pytest.approx(math.log(0.5))


@pytest.mark.parametrize("labeled", [False, True])
def test_the_better_variant_is_the_one_that_the_reason_names(labeled):
    """The highest score may be due to a few photos; it is then neither named nor kept."""
    accuracy = 0.5 if labeled else None
    lucky = replace(variant(0.4, gain=0.9), name="lucky", accuracy=accuracy, over_guessing=2.0)
    clear = replace(variant(0.001), name="clear", accuracy=accuracy, over_guessing=2.0)
    configured = replace(CONFIGURED, accuracy=0.1 if labeled else None)
    verdict, reason = conclude([configured, lucky, clear], 20, labeled=labeled)
    assert verdict == "mistake"
    assert "'clear'" in reason
    assert find_better([configured, lucky, clear], labeled=labeled) == clear
    assert find_better([configured, lucky], labeled=labeled) is None
