"""Responses to gratings in the disk cache: one entry for a layer and a set of gratings."""

from typing import Any

from torch import Tensor

from convlens.analyses.orientation_tuning.gratings import Gratings
from convlens.cache.entries import read_entry, write_entry
from convlens.cache.environment import describe_environment
from convlens.cache.folder import active_folder
from convlens.models.model import Model
from convlens.runtime.fingerprints import to_plain
from convlens.tracing.caching.known_code import describe_known_model
from convlens.tracing.model_fingerprint import describe_operations
from convlens.tracing.trace import Trace

_KIND = "orientation-tuning"
_RESPONSES = "responses"


def describe_responses(
    model: Model, trace: Trace, node: int, position: tuple[int, int], gratings: Gratings
) -> dict[str, Any] | None:
    """Everything on which the responses of a layer depend, as plain data.

    Args:
        model: the model.
        trace: its trace for images of the size of the gratings.
        node: the node that is recorded.
        position: row and column of the unit.
        gratings: the gratings.

    Returns:
        The key of the entry; None where the disk cache is not used for this model.
    """
    description = describe_known_model(model) if active_folder() is not None else None
    if description is None:
        return None
    return {
        "model": description,
        "environment": describe_environment(str(model.device)),
        "operations": to_plain(describe_operations(trace.recording)),
        "unit": [node, *position],
        "gratings": to_plain(gratings),
    }


def read_responses(key: dict[str, Any] | None) -> Tensor | None:
    """The responses with a key, float32 `(channels, gratings)`; None if they are not stored."""
    entry = read_entry(_KIND, key) if key is not None else None
    return entry.tensors[_RESPONSES] if entry is not None else None


def write_responses(key: dict[str, Any] | None, responses: Tensor) -> None:
    """Store responses, if there is a key."""
    if key is not None:
        write_entry(_KIND, key, {}, {_RESPONSES: responses})
