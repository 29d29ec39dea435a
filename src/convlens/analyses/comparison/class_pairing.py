"""The class of the first network that each class of the second one is."""

from collections.abc import Sequence
from dataclasses import dataclass

from convlens.errors import ConvlensError
from convlens.models.labels import NEGATIVE, class_name, matching_classes
from convlens.models.model import Model
from convlens.wording import counted, enumerated

NO_CLASS = -2  # a class of the second network that the first one lacks


@dataclass(frozen=True)
class ClassPairing:
    """Which class of the first network each class of the second one is.

    Attributes:
        to_first: for each class of the second network the class of the first, or `NO_CLASS`.
        difference: how the lists of classes differ, in words; empty if they are the same.
    """

    to_first: tuple[int, ...]
    difference: str = ""

    @property
    def same(self) -> bool:
        """Whether each class has the same index in both networks."""
        return self.to_first == tuple(range(len(self.to_first)))

    def translate(self, prediction: int) -> int:
        """The prediction of the second network as a class of the first one."""
        return prediction if prediction == NEGATIVE else self.to_first[prediction]


def pair_classes(first: Model, second: Model, num_first: int, num_second: int) -> ClassPairing:
    """Pair the classes of two networks: by name where both have names, else by index.

    Args:
        first: the first model.
        second: the second model.
        num_first: number of outputs of the first network.
        num_second: number of outputs of the second network.

    Raises:
        ConvlensError: the networks have no class in common, or different numbers of outputs and not
            both have names.
    """
    if first.labels is None or second.labels is None:
        if num_first != num_second:
            unnamed = first if first.labels is None else second
            raise ConvlensError(
                f"{first.name} has {num_first} outputs and {second.name} has {num_second}, and "
                f"{unnamed.name} has no class names by which they could be compared; give them"
            )
        return ClassPairing(tuple(range(num_second)))
    if first.labels == second.labels:
        return ClassPairing(tuple(range(num_second)))
    to_first = tuple(_find_class(first.labels, label) for label in second.labels)
    known = [index for index in to_first if index != NO_CLASS]
    if not known:
        raise ConvlensError(
            f"{first.name} and {second.name} have no class in common: "
            f"{class_name(first.labels, 0)} … and {class_name(second.labels, 0)} …; give networks "
            f"of the same classes"
        )
    return ClassPairing(to_first, _describe(first.labels, second.labels, to_first))


def _find_class(labels: Sequence[str], label: str) -> int:
    matches = matching_classes(labels, label) or matching_classes(
        labels, label.split(",", maxsplit=1)[0]
    )
    return matches[0] if len(matches) == 1 else NO_CLASS


def _describe(first: Sequence[str], second: Sequence[str], to_first: Sequence[int]) -> str:
    """How two lists of class names differ; empty if each class has the same index in both."""
    if list(to_first) == list(range(len(first))):
        return ""  # synonyms
    missing = [class_name(second, index) for index, own in enumerate(to_first) if own == NO_CLASS]
    distances = {own - index for index, own in enumerate(to_first) if own != NO_CLASS}
    turned = {(own - index) % len(first) for index, own in enumerate(to_first) if own != NO_CLASS}
    parts = []
    if len(distances) == 1 or (len(turned) == 1 and len(first) == len(second)):
        shift = min(distances, key=abs)
        if shift:
            parts.append(
                f"the labels are shifted by {abs(shift)}: class {max(0, -shift)} of the second "
                f"network has the label that class {max(0, shift)} of the first one has"
            )
    else:
        moved = sum(own not in (index, NO_CLASS) for index, own in enumerate(to_first))
        parts.append(f"{counted(moved, 'label')} of {len(second):,} have another index")
    if missing:
        parts.append(
            f"{counted(len(missing), 'class')} of the second network "
            f"{'is' if len(missing) == 1 else 'are'} not in the first: {enumerated(missing, 3)}"
        )
    return "; ".join(parts)
