"""Pairs of classes of two networks: by name where both have names, else by index."""

from collections.abc import Sequence
from dataclasses import dataclass

from convlens.errors import ConvlensError
from convlens.models.labels import NEGATIVE, class_name, matching_classes
from convlens.models.model import Model
from convlens.wording import counted, enumerated

NO_CLASS = -2  # a class of the second network that the first one lacks


@dataclass(frozen=True)
class ClassPairing:
    """For each class of the second network its counterpart in the first one.

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
    matches = [_find_classes(first.labels, label) for label in second.labels]
    to_first = _pair_matches(matches)
    paired = [index for index in to_first if index != NO_CLASS]
    if not paired:
        raise ConvlensError(
            f"{first.name} and {second.name} have no class in common: "
            f"{class_name(first.labels, 0)} … and {class_name(second.labels, 0)} …; give networks "
            f"of the same classes"
        )
    return ClassPairing(to_first, _describe(first.labels, second.labels, to_first, matches))


def _pair_matches(matches: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """For each class of the second network the class of the first that has its name.

    Classes of one name, such as the two cranes of ImageNet, are paired in their order where both
    networks have as many of them; otherwise they are ambiguous and have no counterpart.

    Args:
        matches: for each class of the second network the classes of the first with its name.
    """
    namesakes: dict[tuple[int, ...], list[int]] = {}
    for index, classes in enumerate(matches):
        namesakes.setdefault(tuple(classes), []).append(index)
    to_first = [NO_CLASS] * len(matches)
    for first, second in namesakes.items():
        if len(first) == 1 or len(first) == len(second):
            for place, index in enumerate(second):
                to_first[index] = first[place if len(first) > 1 else 0]
    return tuple(to_first)


def _find_classes(labels: Sequence[str], label: str) -> list[int]:
    return matching_classes(labels, label) or matching_classes(
        labels, label.split(",", maxsplit=1)[0]
    )


def _describe(
    first: Sequence[str],
    second: Sequence[str],
    to_first: Sequence[int],
    matches: Sequence[Sequence[int]],
) -> str:
    """How two lists of class names differ; empty if each class has the same index in both."""
    if list(to_first) == list(range(len(first))):
        return ""  # synonyms
    unpaired = [index for index, counterpart in enumerate(to_first) if counterpart == NO_CLASS]
    ambiguous = [index for index in unpaired if matches[index]]
    only_second = [index for index in unpaired if not matches[index]]
    named_twice = {counterpart for index in ambiguous for counterpart in matches[index]}
    only_first = set(range(len(first))) - set(to_first) - named_twice
    distances = {
        counterpart - index for index, counterpart in enumerate(to_first) if counterpart != NO_CLASS
    }
    rotations = {
        (counterpart - index) % len(first)
        for index, counterpart in enumerate(to_first)
        if counterpart != NO_CLASS
    }
    parts = []
    if len(distances) == 1 or (len(rotations) == 1 and len(first) == len(second)):
        shift = min(distances, key=abs)
        if shift:
            parts.append(
                f"the labels are shifted by {abs(shift)}: class {max(0, -shift)} of the second "
                f"network has the label that class {max(0, shift)} of the first one has"
            )
    else:
        moved = sum(
            counterpart not in (index, NO_CLASS) for index, counterpart in enumerate(to_first)
        )
        parts.append(f"{counted(moved, 'label')} of {len(second):,} have another index")
    parts += [
        _name_some(labels, indices, words)
        for labels, indices, words in (
            (second, only_second, "of the second network {} not in the first"),
            (first, sorted(only_first), "of the first network {} not in the second"),
            (second, ambiguous, "of the second network {} ambiguous by name in the first"),
        )
        if indices
    ]
    return "; ".join(parts)


def _name_some(labels: Sequence[str], indices: Sequence[int], words: str) -> str:
    """The number of some classes, what `words` say of them, and the names of up to three."""
    verb = "is" if len(indices) == 1 else "are"
    names = enumerated([class_name(labels, index) for index in indices], 3)
    return f"{counted(len(indices), 'class')} {words.format(verb)}: {names}"
