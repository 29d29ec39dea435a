"""The finding about the preprocessing, with the name of the publicly reported mistake."""

from convlens.analyses.model_check.result import BROKEN, CANNOT_TELL, FINE, CheckFinding, Status
from convlens.analyses.preprocessing_check.result import Diagnosis
from convlens.models.model import Model

_STATUS: dict[str, Status] = {"fine": FINE, "mistake": BROKEN, "cannot tell": CANNOT_TELL}
_NOTHING = "0..1, nothing subtracted"
_CLOSE = 1e-2  # relative


def check_configured_preprocessing(model: Model, diagnosis: Diagnosis) -> CheckFinding:
    """The verdict of the preprocessing check, with the usual name of the mistake.

    Args:
        model: the model with its configured preprocessing.
        diagnosis: from `check_preprocessing`.
    """
    words = diagnosis.reason
    if diagnosis.better is not None:
        mistake = name_mistake(model, diagnosis.variants[0].name, diagnosis.better.name)
        words = f"{words}; {mistake}" if mistake else words
    return CheckFinding("preprocessing", _STATUS[diagnosis.verdict], words)


def name_mistake(model: Model, configured: str, best: str) -> str:
    """What probably happened, if another variant of the preprocessing is better; may be empty.

    Args:
        model: the model with its configured preprocessing.
        configured: name of the configured variant.
        best: name of the better variant, as `list_variants` names it.
    """
    better = best.removesuffix(", RGB")
    cases = (
        (best.endswith(", BGR"), "the order of the channels is reversed (RGB and BGR)"),
        (
            better.startswith(("squashed", "short side")),
            "the network was trained with another resize or crop ratio",
        ),
        (_is_normalized_twice(model), "the images are normalized twice"),
        (
            better == _NOTHING,
            "the network probably normalizes its images itself, so that they are normalized twice",
        ),
        (better.startswith("0..255"), "the network takes pixels of 0 to 255"),
        (configured.endswith(_NOTHING), "the images are not normalized"),
        ("0..255" in configured, "the network takes normalized pixels, not 0 to 255"),
    )
    return next(
        (words for applies, words in cases if applies),
        "the images are normalized with other numbers than in training",
    )


def _is_normalized_twice(model: Model) -> bool:
    """Whether mean and deviation are those of a usual normalization that was applied twice."""
    for mean, std in (
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5,) * 3, (0.5,) * 3),
    ):  # fmt: skip
        twice_mean = [m + s * m for m, s in zip(mean, std, strict=True)]
        twice_std = [s * s for s in std]
        configured = [(values * 3)[:3] for values in (model.mean, model.std)]
        twice = [twice_mean, twice_std]
        if model.bounds == (0.0, 1.0) and all(
            abs(value - expected) <= _CLOSE * abs(expected)
            for values, numbers in zip(configured, twice, strict=True)
            for value, expected in zip(values, numbers, strict=False)
        ):
            return True
    return False
