"""Checks the description of a run folder (`convlens.json`), whoever wrote it."""

import math
import re
from collections.abc import Callable
from typing import Any

_CHECKPOINT = re.compile(r"step-\d{7,15}")
_LARGEST_SIZE = 65_536  # pixels of a side
_COLUMNS = {
    "epoch", "step", "loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds",
}  # fmt: skip # of the history
_LARGEST_COUNT = 1_000_000  # classes, or channels of an image


def find_damage(description: dict[str, Any]) -> str:
    """The first field of a description that is missing or holds what no training writes.

    Args:
        description: the content of `convlens.json`, of the present format.

    Returns:
        The dotted name of the field and what it holds; empty if all fields are right.

    Example:
        >>> find_damage({"network": {"name": 3}})
        'network.name is 3'
    """
    for name, is_right in _FIELDS.items():
        value: Any = description
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                return f"{name} is missing"
            value = value[part]
        if not is_right(value):
            text = repr(value)
            return f"{name} is {text if len(text) <= 60 else text[:59] + '…'}"
    network, preprocessing = description["network"], description["preprocessing"]
    if len(description["labels"]) != network["classes"]:
        return f"there are {len(description['labels'])} labels for {network['classes']} classes"
    classes = len(description["labels"])
    counts = {"training.class_images": description["training"]["class_images"]}
    if description["progress"]["history"]:  # before the first epoch there are none
        for name in ("class_correct", "best_class_correct"):
            counts[f"progress.{name}"] = description["progress"][name]
    for name, values in counts.items():
        if len(values) != classes:
            return f"{name} has {len(values)} values for {classes} classes"
    for name in ("mean", "std"):
        if len(preprocessing[name]) not in (1, network["channels"]):
            return f"preprocessing.{name} has {len(preprocessing[name])} values"
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any, least: int = 1, greatest: int = _LARGEST_COUNT) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= greatest


def _is_large_count(value: Any) -> bool:
    """Whether a value is a number of steps, or of images, which may be 0."""
    return _is_count(value, least=0, greatest=10**15)


def _is_side(value: Any) -> bool:
    return _is_count(value, greatest=_LARGEST_SIZE)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_number(value: Any) -> bool:
    """Whether a value is a number; a loss may be NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_checkpoint(value: Any) -> bool:
    """Whether a value is the name of a checkpoint's folder, which lies in the run folder."""
    return isinstance(value, str) and _CHECKPOINT.fullmatch(value) is not None


def _is_epoch(value: Any) -> bool:
    return (
        isinstance(value, dict) and set(value) == _COLUMNS and all(map(_is_number, value.values()))
    )


def _list_of(is_right: Callable[[Any], bool], *lengths: int) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        right_length = isinstance(value, list) and (not lengths or len(value) in lengths)
        return right_length and all(map(is_right, value))

    return check


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "network.name": _is_text,
    "network.size": _list_of(_is_side, 2),
    "network.channels": _is_count,
    "network.classes": _is_count,
    "network.pooling": _is_text,
    "preprocessing.size": _list_of(_is_side, 2),
    "preprocessing.resize": lambda value: value is None or _is_side(value),
    "preprocessing.interpolation": _is_text,
    "preprocessing.center": _is_text,
    "preprocessing.mean": _list_of(_is_finite),
    "preprocessing.std": _list_of(_is_finite),
    "preprocessing.bounds": _list_of(_is_finite, 2),
    "labels": _list_of(_is_text),
    "training.data": _is_text,
    "training.fingerprint": _is_text,
    "training.images": _is_large_count,
    "training.validated": _is_large_count,
    "training.held_out": _is_text,
    "training.validation_share": lambda value: value is None or _is_finite(value),
    "training.skipped": _list_of(_is_text),
    "training.class_images": _list_of(_is_large_count),
    "training.recipe": _is_mapping,
    "progress.step": _is_large_count,
    "progress.loss": _is_number,
    "progress.history": _list_of(_is_epoch),
    "progress.class_correct": _list_of(_is_large_count),
    "progress.best_class_correct": _list_of(_is_large_count),
    "checkpoints.last": _is_checkpoint,
    "checkpoints.best": _is_checkpoint,
    "checkpoints.scheduled": _list_of(_is_checkpoint),
}
