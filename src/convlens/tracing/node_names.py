"""Node names: the text that names a tensor which a network computes.

layer4.2                 what layer4.2 gave the last time that it ran
layer4.2.relu#1          what it gave the first time
layer4.2.relu#3:in       what it was given the third time
layer4.2/add_            an operation in layer4.2's own code, here a sum
layer4.2/relu#2          the second of its operations of that name
layer4.2/chunk.1         the second tensor that an operation gave
image                    the image itself, after normalization
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

IMAGE = "image"


@dataclass(frozen=True)
class NodeName:
    """The position of a node in the run of a network, and the text for it.

    Attributes:
        path: dotted name of the module; "" is the network itself.
        call: which of the module's runs, from 1; None stands for the last.
        given: the module's first input rather than what it gave.
        operation: name of an operation in the module's own code, or None.
        number: which of its operations of that name in that run, from 1.
        part: which tensor of several, from 0.
    """

    path: str
    call: int | None = None
    given: bool = False
    operation: str | None = None
    number: int = 1
    part: int = 0

    def __str__(self) -> str:
        text = self.path
        if self.call is not None:
            text += f"#{self.call}"
        if self.given:
            text += ":in"
        if self.operation is not None:
            text += f"/{self.operation}"
            if self.number != 1:
                text += f"#{self.number}"
        return f"{text}.{self.part}" if self.part else text

    def brief(self, runs: Mapping[str, int]) -> "NodeName":
        """Without the call number where the module runs once, as `runs` by path says."""
        return replace(self, call=None) if runs.get(self.path) == 1 else self
