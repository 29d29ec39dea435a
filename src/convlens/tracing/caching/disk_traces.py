"""Traces in the disk cache.

Only those of networks whose code is known are kept there, and only if they ran on fake tensors, so
that they are valid for every image of their size.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch

from convlens.cache.entries import read_entry, write_entry
from convlens.cache.environment import describe_environment
from convlens.cache.folder import active_folder
from convlens.models.model import Model
from convlens.runtime.guard import unwrap_network
from convlens.runtime.memory_format import find_remembered_format, remember_memory_format
from convlens.tracing.caching.known_code import describe_known_model
from convlens.tracing.caching.stored_trace import decode_trace, encode_trace
from convlens.tracing.caching.trace_cache import TraceKey
from convlens.tracing.registry import has_registrations
from convlens.tracing.trace import Trace

_KIND = "trace"
_FORMATS = {
    str(memory_format): memory_format
    for memory_format in (torch.channels_last, torch.contiguous_format)
}


@dataclass(frozen=True)
class DiskTraces:
    """The traces of one model in the disk cache.

    Attributes:
        model: the model.
        description: everything on which its traces depend besides the key of each, as plain data.
    """

    model: Model
    description: dict[str, Any]

    @classmethod
    def of(cls, model: Model) -> "DiskTraces | None":
        """The traces of a model; None where the cache is not in use, or not for this model."""
        if active_folder() is None or has_registrations():
            return None
        description = describe_known_model(model)
        if description is None:
            return None
        return cls(
            model, {"model": description, "environment": describe_environment(str(model.device))}
        )

    def find(self, key: TraceKey) -> Trace | None:
        """The trace with a key, if it is in the cache."""
        entry = read_entry(_KIND, self._full_key(key))
        if entry is None:
            return None
        memory_format = _FORMATS.get(entry.data["memory_format"])
        if memory_format is not None:
            network = unwrap_network(self.model.network)
            remember_memory_format(network, key.channels, key.size, memory_format)
        return decode_trace(entry.data["trace"], entry.tensors, self.model.name)

    def add(self, key: TraceKey, trace: Trace) -> None:
        """Keep a trace, if everything in it can be stored."""
        network = unwrap_network(self.model.network)
        memory_format = find_remembered_format(network, key.channels, key.size)
        with suppress(TypeError):  # an argument that cannot be stored
            data, tensors = encode_trace(trace)
            data = {"trace": data, "memory_format": str(memory_format)}
            write_entry(_KIND, self._full_key(key), data, tensors)

    def _full_key(self, key: TraceKey) -> dict[str, Any]:
        return self.description | {"trace": asdict(key)}
