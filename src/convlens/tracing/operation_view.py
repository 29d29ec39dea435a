"""The argument of a rule: one recorded operation with the shapes of its inputs and outputs."""

from dataclasses import dataclass
from typing import Any

from convlens.tracing.recording.recording import NodeRef, Operation


@dataclass(frozen=True, eq=False)
class OperationView:
    """One recorded operation, its arguments and the shapes of its tensors.

    `view["stride"]` is an argument by its name in the operation's schema, or None if the call did
    not pass it. For a tensor it is a `NodeRef`, and `view.shape("weight")` returns the shape.

    Attributes:
        operation: the recorded operation.
        shapes: shape of each node of the recording, by its index.
    """

    operation: Operation
    shapes: tuple[tuple[int, ...], ...]

    def __getitem__(self, name: str) -> Any:
        return self.operation.arguments.get(name)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.shapes[self.operation.outputs[0]]

    @property
    def first_argument(self) -> str:
        """Name of the first argument."""
        return next(iter(self.operation.arguments))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor argument.

        Raises:
            KeyError: there is no tensor of that name.
        """
        ref = self[name]
        if not isinstance(ref, NodeRef):
            raise KeyError(f"{self.operation.qualified_name} has no tensor argument {name!r}")
        return self.shapes[ref.node]
