"""The verdict on the preprocessing, from the scores of its variants."""

import pytest

from convlens.analyses.preprocessing_check.result import VariantScore
from convlens.analyses.preprocessing_check.verdict import conclude

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
