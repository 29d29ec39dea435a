"""Changes of a network while an explorer runs: each state that was seen has a number."""

from operator import is_
from typing import Any

from torch import Tensor

from convlens.models.model import Model
from convlens.tracing.caching.network_state import network_state


class ModelChanges:
    """Counts the changes of the network of a model.

    Other modules, attributes of modules and tensors count, and in-place operations on tensors; what
    is written through `.data` is not seen.

    Args:
        model: the model.

    Attributes:
        number: a number that differs for each state that `notice` has seen.
    """

    def __init__(self, model: Model) -> None:
        self.number = 0
        self._model = model
        self._tensors: list[Tensor] = []
        self._state: Any = None

    def notice(self) -> None:
        """Compare the network with its state at the last call."""
        tensors = [
            tensor
            for module in self._model.network.modules()
            for group in (module._parameters, module._buffers)
            for tensor in group.values()
            if tensor is not None
        ]
        versions = [0 if tensor.is_inference() else tensor._version for tensor in tensors]
        state = (network_state(self._model), versions)
        # The tensors are kept, so that no other one gets the identity of one of them.
        same = len(tensors) == len(self._tensors) and all(map(is_, tensors, self._tensors))
        if not same or state != self._state:
            self._tensors, self._state = tensors, state
            self.number += 1
