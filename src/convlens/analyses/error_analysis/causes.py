"""The rules by which evidence about an error names causes, and how many errors each explains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from convlens.analyses.error_analysis.evidence import UNEXPLAINED, UNSTABLE, ErrorCause
from convlens.analyses.error_analysis.views import NEARER, SHIFT, WHOLE
from convlens.passes.proportion import Proportion

PREPROCESSING = "preprocessing"
LABEL = "label looks wrong"
OFF_CENTER = "object off-center"
SMALL = "object small"
CROPPED = "object cut off by the crop"
BACKGROUND = "background"
OVERLAP = "classes that overlap"

# In this order the first cause that applies counts as the cause of an error.
MEASURED = {
    PREPROCESSING: "the preprocessing check finds another preprocessing clearly better, with which "
    "the prediction is right",
    LABEL: "the prediction is more probable than all other classes together and than is usual for "
    "photos of its class, and the photos of the predicted class that are nearest in the last layer "
    "are nearer than those of the label",
    OFF_CENTER: "the prediction is right in more than half of eight shifted views",
    SMALL: "the prediction is right in more than half of three magnified views",
    CROPPED: "the prediction is right when the whole photo is shown, both squashed and resized",
    BACKGROUND: "a greater share of the evidence for the predicted class than of the image lies "
    "outside the boxes",
    OVERLAP: "the two classes are confused with each other, both ways, more often than errors of "
    "other classes are with them (binomial test, p < 0.01)",
    UNSTABLE: "FGSM towards the right class by one gray level makes the prediction right",
    UNEXPLAINED: "none of these applies, or none is shown to apply to errors more often than to "
    "right predictions",
}
_FRAMING = {OFF_CENTER: SHIFT, SMALL: NEARER, CROPPED: WHOLE}
_WITHOUT_CONTROL = {PREPROCESSING, LABEL, OVERLAP, UNEXPLAINED}  # they need an error
_LEAST_CONFUSIONS = 3
_SIGNIFICANCE, _OVERLAP_SIGNIFICANCE = 0.05, 0.01

# Shares of the evidence and of the image outside the boxes of a photo; None without boxes.
OutsideShares = tuple[float, float] | None


@dataclass(frozen=True)
class ChangedPredictions:
    """Which predictions of some photos are right after changes.

    Attributes:
        views: for each kind of view, for each photo, the names of the views in which it is right.
        view_counts: number of views of each kind.
        preprocessings: for each photo the names of the preprocessings with which it is right.
        levels: for each photo the least change by FGSM, in gray levels, after which the prediction
            is right (of an error) or wrong (of a right prediction); None if none is.
        attack_failure: why FGSM could not be tried; empty where it was.
    """

    views: Mapping[str, Sequence[tuple[str, ...]]]
    view_counts: Mapping[str, int]
    preprocessings: Sequence[tuple[str, ...]]
    levels: Sequence[int | None]
    attack_failure: str = ""

    def right_in_most(self, kind: str, photo: int) -> bool:
        """Whether a photo is predicted correctly in more than half of the views of a kind."""
        return kind in self.views and 2 * len(self.views[kind][photo]) > self.view_counts[kind]

    def wrong_in_most(self, kind: str, photo: int) -> bool:
        """Whether a photo is predicted wrongly in more than half of the views of a kind."""
        if kind not in self.views:
            return False
        return 2 * len(self.views[kind][photo]) < self.view_counts[kind]


def causes_of(
    photo: int,
    changed: ChangedPredictions,
    *,
    better_preprocessing: str | None,
    label_looks_wrong: bool,
    overlaps: bool,
    outside: OutsideShares,
) -> tuple[str, ...]:
    """The causes that apply to an error, in the order of `MEASURED`.

    Args:
        photo: row of the error in `changed`.
        changed: what makes the errors right.
        better_preprocessing: the preprocessing that the check finds clearly better, or None.
        label_looks_wrong: see `MEASURED`.
        overlaps: whether label and prediction are classes that overlap.
        outside: share of the evidence for the wrong class outside the boxes, and of the area; None
            without boxes.
    """
    applies = {
        PREPROCESSING: better_preprocessing in changed.preprocessings[photo],
        LABEL: label_looks_wrong,
        **{cause: changed.right_in_most(kind, photo) for cause, kind in _FRAMING.items()},
        BACKGROUND: lies_outside(outside),
        OVERLAP: overlaps,
        UNSTABLE: changed.levels[photo] == 1,
    }
    return tuple(cause for cause in MEASURED if applies.get(cause)) or (UNEXPLAINED,)


def count_causes(
    causes: Sequence[tuple[str, ...]],
    changed: ChangedPredictions,
    control: ChangedPredictions,
    *,
    outside: Sequence[OutsideShares],
    control_outside: Sequence[OutsideShares],
) -> tuple[ErrorCause, ...]:
    """How many errors each cause explains, and to how many right predictions its change applies.

    A cause is left out where its change could not be tried: views that the preprocessing does not
    have, boxes that no error has, FGSM on a network without gradients.

    Args:
        causes: the causes of each error.
        changed: what makes errors right.
        control: the same changes of photos that are predicted correctly.
        outside: for each error its evidence outside the boxes, see `causes_of`.
        control_outside: the same of the photos that are predicted correctly.
    """
    controls: dict[str, list[bool]] = {
        cause: [control.wrong_in_most(kind, photo) for photo in range(len(control.levels))]
        for cause, kind in _FRAMING.items()
        if kind in changed.views
    }
    if not changed.attack_failure:
        controls[UNSTABLE] = [] if control.attack_failure else [n == 1 for n in control.levels]
    boxed = sum(shares is not None for shares in outside)
    if boxed:
        controls[BACKGROUND] = [lies_outside(each) for each in control_outside if each is not None]
    names = [name for name in MEASURED if name in controls or name in _WITHOUT_CONTROL]
    applies = {
        name: Proportion.from_counts(
            sum(name in error_causes for error_causes in causes),
            boxed if name == BACKGROUND else len(causes),
        )
        for name in names
    }
    control_shares = {
        name: Proportion.from_counts(sum(outcomes), len(outcomes))
        for name, outcomes in controls.items()
    }
    supported = {
        name: _is_more_frequent(applies[name], control_shares[name])
        if name in control_shares
        else True
        for name in names
    }
    first = [
        next((name for name in error_causes if supported[name]), UNEXPLAINED)
        for error_causes in causes
    ]
    return tuple(
        ErrorCause(
            name=name,
            explained=Proportion.from_counts(first.count(name), len(causes)),
            applies=applies[name],
            control=control_shares.get(name),
            supported=supported[name],
            measured=MEASURED[name],
        )
        for name in names
    )


def lies_outside(shares: OutsideShares) -> bool:
    """Whether more of the evidence than of the image lies outside the boxes."""
    return shares is not None and shares[0] > shares[1]


def _is_more_frequent(errors: Proportion, right: Proportion) -> bool | None:
    """Whether something applies to a greater share of the errors than of right predictions.

    None if these are too few to tell: it applies to a smaller share of the right predictions, but
    the difference would not be significant even if it applied to none of them.
    """
    if not errors.count or (right.total and right.share >= errors.share):
        return False
    if _p_value(errors, right.count, right.total) < _SIGNIFICANCE:
        return True
    return False if _p_value(errors, 0, right.total) < _SIGNIFICANCE else None


def _p_value(errors: Proportion, count: int, total: int) -> float:
    """Fisher's exact test, one-sided, of the errors against `count` in `total`."""
    from scipy.stats import fisher_exact  # takes a second to import

    table = [[errors.count, errors.total - errors.count], [count, total - count]]
    return float(fisher_exact(table, alternative="greater").pvalue)


def do_overlap(confusion: Tensor | None, label: int, prediction: int) -> bool:
    """Whether two classes are confused with each other, both ways, more often than by chance.

    By chance, errors of one class would be predicted as the other one as often as errors of all
    other classes are (an error is added for each class, so that no share is 0). The number of
    confusions of the two classes is compared with this by a binomial test, p < 0.01.

    Args:
        confusion: `(K, K)`, errors by label and prediction; None where pairs are not counted.
        label: column of the label.
        prediction: column of the prediction.
    """
    if confusion is None or len(confusion) < 3:
        return False
    as_prediction, as_label = int(confusion[label, prediction]), int(confusion[prediction, label])
    if min(as_prediction, as_label) < 1 or as_prediction + as_label < _LEAST_CONFUSIONS:
        return False
    from scipy.stats import binom  # takes a second to import

    errors, predicted = confusion.sum(dim=1), confusion.sum(dim=0)
    elsewhere = int(confusion.sum() - errors[label] - errors[prediction]) + len(confusion) - 1
    expected = (
        int(errors[label]) * (int(predicted[prediction]) - as_prediction + 1)
        + int(errors[prediction]) * (int(predicted[label]) - as_label + 1)
    ) / elsewhere
    total = int(errors[label] + errors[prediction])
    chance = binom.sf(as_prediction + as_label - 1, total, min(1.0, expected / total))
    return bool(chance < _OVERLAP_SIGNIFICANCE)
