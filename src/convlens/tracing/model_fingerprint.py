"""The fingerprint of a model: its weights, the operations that it executes, its preprocessing."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from convlens.models.model import Model
from convlens.runtime.fingerprints import fingerprint_weights, to_plain
from convlens.runtime.guard import unwrap_network
from convlens.tracing.recording.recording import Recording
from convlens.tracing.tracer import trace

_DIGITS = 16


def fingerprint_model(model: Model) -> str:
    """A hash of the network's weights, of the operations it executes, and of its preprocessing."""
    operations = describe_operations(trace(model, partly=True).recording)
    fed = (model.preprocessing, model.mean, model.std, model.bounds, model.center, model.channels)
    parts = [fingerprint_weights(unwrap_network(model.network)), operations, to_plain(fed)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def describe_operations(recording: Recording) -> list[Any]:
    """The operations of a recording with their arguments, as plain data."""
    return [
        [str(operation.function), _plain_arguments(operation.arguments)]
        for operation in recording.operations
    ]


def _plain_arguments(arguments: Any) -> Any:
    """The arguments of an operation; of an argument that is not plain data only the type counts."""
    if isinstance(arguments, Mapping):
        return {str(key): _plain_arguments(item) for key, item in arguments.items()}
    if isinstance(arguments, list | tuple):
        return [_plain_arguments(item) for item in arguments]
    try:
        return to_plain(arguments)
    except TypeError:
        return f"{type(arguments).__module__}.{type(arguments).__qualname__}"
