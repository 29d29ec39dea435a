"""Names of the classes: from a file of the user, or from a checkpoint."""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convlens.errors import ConvlensError, describe_error

if TYPE_CHECKING:  # it imports torch
    from convlens.models.loading.weights.weight_files import WeightFile

# Names under which checkpoints hold the classes, with or without their indices.
_ENTRIES = (
    "class_names", "classes", "class_to_idx", "idx_to_class", "id2label", "label2id",
    "label_names", "categories", "names", "labels",
)  # fmt: skip
_DEEPEST = 3  # levels of nesting that are searched
_MOST_MAPPINGS = 1000


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read the names of the classes from a file.

    Args:
        path: a text file in UTF-8 with one name a line, in the order of the outputs; or a `.json`
            file with a list of names, a mapping of names to indices, or of indices to names.

    Returns:
        The names by index.

    Raises:
        ConvlensError: a file that cannot be read, an empty line between names, or JSON of
            another form.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConvlensError(f"{path} cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ConvlensError(f"{path} is not text in UTF-8 ({error}); save it as such") from error
    if path.suffix.lower() == ".json":
        return _parse_json(path, text)
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not any(lines):
        raise ConvlensError(f"{path} is empty; write one class name a line")
    for number, line in enumerate(lines, start=1):
        if not line:
            raise ConvlensError(f"{path}, line {number}: no class name; remove the empty line")
    return tuple(lines)


def find_class_names(file: "WeightFile", count: int) -> tuple[str, ...] | None:
    """The names of a number of classes in a weight file, or None.

    They are looked for in the mappings beside the weights (`class_to_idx`, `classes`, `id2label`
    and similar names) and in the header of a safetensors file.

    Args:
        file: the weight file.
        count: number of classes.
    """
    header = {key: _loads(text) for key, text in file.metadata.items()}
    for mapping in walk_mappings((header, file.content)):
        for entry in _ENTRIES:
            for key in (entry, entry.upper()):
                names = parse_class_names(mapping.get(key))
                if names is not None and len(names) == count:
                    return names
    return None


def parse_class_names(value: Any) -> tuple[str, ...] | None:
    """Names by index from a list of names, or from a mapping between names and indices.

    Returns:
        The names; None for anything else, also if the indices are not 0, 1, 2 and so on.

    Example:
        >>> parse_class_names({"dog": 1, "cat": 0}), parse_class_names({"0": "cat", "1": "dog"})
        (('cat', 'dog'), ('cat', 'dog'))
    """
    if isinstance(value, (list, tuple)):
        return tuple(value) if value and all(isinstance(name, str) for name in value) else None
    if not isinstance(value, Mapping) or not value:
        return None
    pairs = [(_index(key), name) for key, name in value.items()]
    if not all(isinstance(name, str) for _, name in pairs):
        pairs = [(_index(index), name) for name, index in value.items()]
    by_index = {index: name for index, name in pairs if isinstance(name, str)}
    if len(by_index) != len(value) or set(by_index) != set(range(len(value))):
        return None
    return tuple(by_index[index] for index in range(len(value)))


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _parse_json(path: Path, text: str) -> tuple[str, ...]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConvlensError(f"{path} is not JSON ({describe_error(error)})") from error
    if isinstance(value, dict):  # Keras writes {"0": ["n01440764", "tench"], ...}
        pairs = value.items()
        value = {k: v[-1] if isinstance(v, list) and len(v) == 2 else v for k, v in pairs}
    names = parse_class_names(value)
    if names is None:
        raise ConvlensError(
            f"{path} holds no class names; write a list of names, or a mapping between names and "
            f"the indices 0, 1, 2 and so on"
        )
    return names


def walk_mappings(roots: Iterable[Any]) -> Iterable[Mapping[Any, Any]]:
    """The mappings in some values, breadth first; a namespace of arguments counts as one."""
    queue = [(root, 0) for root in roots]
    for value, depth in queue:  # grows while it is read
        mapping = vars(value) if isinstance(value, argparse.Namespace) else value
        if not isinstance(mapping, Mapping) or len(queue) > _MOST_MAPPINGS:
            continue
        yield mapping
        if depth < _DEEPEST:
            queue += [(item, depth + 1) for item in mapping.values()]


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
