"""The share of Gabor-like filters in a first layer, beside that of noise."""

import convlens
from benchmarks.reproductions.published_figure import (
    OTHER,
    SHARED,
    Outcome,
    PublishedFigure,
    percent,
)

_WEIGHTS = SHARED / "weights" / "squeezenet1_0.safetensors"


def reproductions() -> list[PublishedFigure]:
    """The figures, in the order of the table."""
    return [
        PublishedFigure(
            "share of Gabor-like filters in a first layer", "44 % of InceptionV1, by hand",
            "Olah et al., An Overview of Early Vision in InceptionV1, Distill 2020", _fit,
            (_WEIGHTS,),
        )
    ]  # fmt: skip


def _fit() -> Outcome:
    fit = convlens.fit_gabor(convlens.load(f"{_WEIGHTS}@torchvision:squeezenet1_0@random"))
    share = fit.count("Gabor-like") / len(fit.verdicts)
    return Outcome(f"{percent(share, 0)} of SqueezeNet 1.0, false discovery rate 5 %", OTHER)
