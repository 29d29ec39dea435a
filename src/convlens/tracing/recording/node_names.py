"""Node names: the text that names a tensor which a network computes.

layer4.2                 the output of layer4.2 when it ran for the last time
layer4.2.relu#1          the output of layer4.2.relu when it ran for the first time
layer4.2.relu#3:in       the input of layer4.2.relu when it ran for the third time
layer4.2/add             the result of an operation in layer4.2's own code, here of a sum
layer4.2/relu#2          the result of the second relu in layer4.2's own code
layer4.2/chunk.1         the second tensor that an operation returns
image                    the image, after normalization
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

IMAGE = "image"


@dataclass(frozen=True)
class NodeName:
    """The position of a node in the run of a network, and the text for it.

    Attributes:
        path: dotted name of the module; "" is the network itself.
        call: number of the module's run, from 1; None stands for the last run.
        is_input: whether it is the module's first input instead of its output.
        operation: name of an operation in the module's own code, or None.
        number: number of the operation among those of that name in that run, from 1.
        part: index of the tensor among several that are returned together, from 0.
    """

    path: str
    call: int | None = None
    is_input: bool = False
    operation: str | None = None
    number: int = 1
    part: int = 0

    def __str__(self) -> str:
        text = self.path
        if self.call is not None:
            text += f"#{self.call}"
        if self.is_input:
            text += ":in"
        if self.operation is not None:
            text += f"/{self.operation}"
            if self.number != 1:
                text += f"#{self.number}"
        return f"{text}.{self.part}" if self.part else text

    def brief(self, runs: Mapping[str, int]) -> "NodeName":
        """The name without a run number where the module runs once.

        Args:
            runs: number of runs of each module, by its path.
        """
        return replace(self, call=None) if runs.get(self.path) == 1 else self
