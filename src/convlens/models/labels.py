"""Class names: the index of a class by its name, and its name by the index."""

import numbers
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from convlens.errors import ConvlensError, suggest
from convlens.text import printable

NEGATIVE = -1  # index of the negative class of a network with one output, a binary network

# For each photo the indices of its right classes, or None if they are not known.
PhotoLabels = Sequence[Sequence[int] | None]

# int() also takes 1_0, and refuses thousands of digits. Spreadsheets and pandas write 1.0 for an
# index in a column with gaps.
_INDEX = re.compile(r"\s*([+-]?\d{1,9})(?:\.0+)?\s*")
_MINUS = " - "  # between two classes whose difference is meant


def find_class(labels: Sequence[str] | None, name: str | int, num_classes: int) -> int:
    """The index of a class that is given by index or by name.

    Args:
        labels: names of the classes by index, synonyms separated by commas; or None.
        name: an index, also as text such as "17" or "17.0"; or a name, in any case: a whole label
            or, if no label is equal, one of its synonyms. Without labels also "class 17", as
            `class_name` writes it. Text that is both an index and a name is a name.
        num_classes: number of classes of the network.

    Returns:
        Index of the class, 0 to `num_classes` - 1.

    Raises:
        ConvlensError: an index out of range; a name that no class or several classes have; a name
            if there are no labels.

    Example:
        >>> find_class(["tabby, tabby cat", "tiger cat"], "Tabby Cat", 2)
        0
    """
    if isinstance(name, str):
        matches = matching_classes(labels or (), name)
        if len(matches) > 1:
            raise ConvlensError(
                f"{name!r} is the name of classes {', '.join(map(str, matches))}; "
                f"give one of these indices"
            )
        if matches:
            return matches[0]
        name = _parse_index(labels, name, num_classes)
    if not isinstance(name, numbers.Integral):
        raise ConvlensError(
            f"class {name!r} of type {type(name).__name__}; give a name or an index of 0 to "
            f"{num_classes - 1}"
        )
    if not 0 <= name < num_classes:
        raise ConvlensError(
            f"class {name} of {num_classes}; give an index of 0 to {num_classes - 1}"
        )
    return int(name)


def read_class_index(labels: Sequence[str] | None, text: str, num_classes: int) -> int:
    """The index of a class by text in which a number is always an index; see `find_class`."""
    is_index = text.isdecimal() and len(text) < 10
    return find_class(labels, int(text) if is_index else text[:200], num_classes)


def write_class(labels: Sequence[str] | None, index: int, num_classes: int) -> str:
    """The text of an index that `find_class` reads as this index, also where names are numbers."""
    named = matching_classes(labels or (), str(index))
    return str(index) if named in ([], [index]) else f"+{index}"


def find_class_pair(
    labels: Sequence[str] | None, name: str | int, num_classes: int
) -> tuple[int, int | None]:
    """The index of a class, or the indices of two classes whose difference `A - B` names.

    Args:
        labels: names of the classes by index, or None.
        name: one class, as `find_class` takes it, or two with " - " between them. A label that
            itself contains " - " is one class.
        num_classes: number of classes of the network.

    Returns:
        Index of the class, and index of the class that is subtracted or None.

    Raises:
        ConvlensError: a class that `find_class` refuses; the same class twice; text that can be
            split in several ways.

    Example:
        >>> find_class_pair(["cat", "dog"], "dog - cat", 2)
        (1, 0)
    """
    if not isinstance(name, str) or _MINUS not in name or matching_classes(labels or (), name):
        return find_class(labels, name, num_classes), None
    parts = name.split(_MINUS)
    pairs: list[tuple[int, int]] = []
    last_error: ConvlensError | None = None
    for cut in range(1, len(parts)):
        sides = _MINUS.join(parts[:cut]), _MINUS.join(parts[cut:])
        try:
            first, second = (find_class(labels, side, num_classes) for side in sides)
        except ConvlensError as error:
            last_error = error
            continue
        pairs.append((first, second))
    if not pairs:
        assert last_error is not None
        raise last_error
    if len(pairs) > 1:
        raise ConvlensError(
            f"{name!r} can be split in {len(pairs)} ways; give indices, such as "
            f"'{pairs[0][0]} - {pairs[0][1]}'"
        )
    first, second = pairs[0]
    if first == second:
        raise ConvlensError(f"{name!r} is class {first} minus itself, which is zero")
    return first, second


def find_prediction(labels: Sequence[str] | None, name: str | int, num_classes: int) -> int:
    """The index of a prediction: a class or, for one output, also `NEGATIVE`.

    Args:
        labels: names of the classes by index, or None.
        name: name as `find_class` takes it; for one output also "not NAME", as `class_name` writes
            it, or -1.
        num_classes: number of outputs of the network.

    Raises:
        ConvlensError: a class that `find_class` refuses; for one output the message names the two
            predictions.

    Example:
        >>> find_prediction(["dog"], "not dog", 1)
        -1
    """
    if num_classes != 1:
        return find_class(labels, name, num_classes)
    positive, negative = class_name(labels, 0), class_name(labels, NEGATIVE)
    if _key(str(name)) in (str(NEGATIVE), _key(negative)):
        return NEGATIVE
    try:
        return find_class(labels, name, 1)
    except ConvlensError:
        raise ConvlensError(
            f"{name!r} is no prediction of a network with one output; "
            f"it predicts {positive!r} or {negative!r}"
        ) from None


def class_name(labels: Sequence[str] | None, index: int) -> str:
    """The name of a class for people.

    Args:
        labels: names of the classes by index, or None.
        index: index of the class; may be `NEGATIVE`.

    Returns:
        The first synonym of the label, printable; "class 17" without a label; for `NEGATIVE` "not"
        and the name of class 0.

    Example:
        >>> class_name(["tabby, tabby cat"], 0), class_name(None, 17), class_name(["dog"], -1)
        ('tabby', 'class 17', 'not dog')
    """
    if index == NEGATIVE:
        return f"not {class_name(labels, 0)}"
    if labels is None or not 0 <= index < len(labels):
        return f"class {index}"
    return printable(labels[index].split(",")[0].strip())


def classes_named(labels: Sequence[str], name: str) -> set[int]:
    """Indices of the labels that are equal to a name or have it as a synonym."""
    return {k for classes in _classes_by_name(tuple(labels)) for k in classes.get(_key(name), [])}


def class_names(labels: Sequence[str] | None, indices: Iterable[int]) -> tuple[str, ...]:
    """The names of several classes for people; see `class_name`."""
    return tuple(class_name(labels, index) for index in indices)


def matching_classes(labels: Sequence[str], name: str) -> list[int]:
    """Indices of the labels equal to a name; if there are none, of those with it as a synonym."""
    equal, with_synonym = _classes_by_name(tuple(labels))
    key = _key(name)
    return equal.get(key) or with_synonym.get(key, [])


@lru_cache(maxsize=8)
def _classes_by_name(labels: tuple[str, ...]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Indices of the labels by the whole label, and by each synonym."""
    equal: dict[str, list[int]] = {}
    with_synonym: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        equal.setdefault(_key(label), []).append(index)
        for key in {_key(synonym) for synonym in label.split(",")}:
            with_synonym.setdefault(key, []).append(index)
    return equal, with_synonym


def _key(name: str) -> str:
    """The form in which equal names are equal: in lower case, and composed (NFC)."""
    return unicodedata.normalize("NFC", name.strip().casefold())


def _parse_index(labels: Sequence[str] | None, name: str, num_classes: int) -> int:
    digits = name.strip().removeprefix("class ") if labels is None else name
    if index := _INDEX.fullmatch(digits):
        return int(index[1])
    if labels is None:
        raise ConvlensError(
            f"class {name!r}: the network has no labels; give an index of 0 to {num_classes - 1}"
        )
    names = (synonym.strip() for label in labels for synonym in label.split(","))
    hint = suggest(name, names) or f"; give a name or an index of 0 to {num_classes - 1}"
    raise ConvlensError(f"unknown class {name!r}{hint}")
