"""The traces of each network, kept as long as nothing changes on which they depend."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from convlens.models.model import Model
from convlens.runtime.guard import unwrap_network

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class TraceKey:
    """Which trace of a network is asked for.

    Attributes:
        channels: number of channels of the images.
        size: height and width of the images in pixels.
        partly: what is asked of a network that raises an error, as for `trace`.
    """

    channels: int
    size: tuple[int, int]
    partly: bool | str


class TraceCache(Generic[Entry]):
    """Traces, or recordings, by network and key; a network that has changed since has none."""

    def __init__(self) -> None:
        self._entries: WeakKeyDictionary[nn.Module, dict[TraceKey, tuple[Hashable, Entry]]] = (
            WeakKeyDictionary()
        )

    def find(self, model: Model, key: TraceKey, state: Hashable) -> Entry | None:
        """The entry of a key if the network was in the same state when it was added; else None."""
        entries = self._entries.get(unwrap_network(model.network), {})
        saved_state, entry = entries.get(key, (None, None))
        return entry if saved_state == state else None

    def add(self, model: Model, key: TraceKey, state: Hashable, entry: Entry) -> None:
        """Keep an entry until the state of the network is another one."""
        self._entries.setdefault(unwrap_network(model.network), {})[key] = (state, entry)
