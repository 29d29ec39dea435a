"""A random network with its Model, its images, and its values by plain execution."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

import convlens
from convlens.capture.nodes import capture_nodes
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.tracing.trace import Trace
from fuzz.program import Program

_NUM_IMAGES = 5
_UNFOLLOWED = "read before what may be the non-linearity"


class Mismatch(AssertionError):
    """A wrong value: what was expected, and what convlens gave."""


@dataclass
class Case:
    """A random network as the oracles need it.

    Attributes:
        program: the network as a program.
        network: the module.
        model: the Model around it.
        images: `(N, C, H, W)`, from 0 to 1.
        refusals: the messages with which convlens refused, by what was asked for.
    """

    program: Program
    network: nn.Module
    model: Model
    images: Tensor
    refusals: dict[str, str]

    @classmethod
    def of(cls, program: Program) -> "Case":
        """Build the network of a program."""
        network = program.build()
        channels, height, width = program.image
        generator = torch.Generator().manual_seed(program.seed + 1)
        images = torch.rand(_NUM_IMAGES, channels, height, width, generator=generator)
        model = convlens.wrap(network, size=(height, width), channels=channels)
        return cls(program, network, model, images, {})

    @cached_property
    def values(self) -> dict[str, Tensor]:
        """Every value of the program for all images."""
        with torch.no_grad():
            return self.program.run(self.network, self.images)

    @cached_property
    def trace(self) -> Trace:
        """The trace that convlens makes."""
        return convlens.trace(self.model, self.images)

    @cached_property
    def maps(self) -> dict[int, str]:
        """The value of each node with rows and columns, where it is a value of the program."""
        nodes = [
            node for node in self.trace.on_image
            if node != 0 and self.trace.spatial_dims(node) is not None
        ]  # fmt: skip
        linked = {}
        for node, activation in self._captured(nodes):
            names = [
                name
                for name, value in self.values.items()
                if isinstance(value, Tensor)
                and value.dtype == activation.dtype
                and value.shape == activation.shape
                and torch.allclose(value, activation, rtol=1e-4, atol=1e-5)
            ]
            if names:
                linked[node] = names[0]
        return linked

    @contextmanager
    def refusing(self, attempt: str) -> Iterator[None]:
        """Note a refusal inside the block."""
        try:
            yield
        except ConvlensError as error:
            self.refuse(attempt, error)

    def refuse(self, attempt: str, error: ConvlensError) -> None:
        """Note that convlens refused something, in one line.

        Raises:
            Mismatch: the message has several lines or none.
        """
        message = str(error)
        if not message.strip() or len(message.splitlines()) > 1:
            raise Mismatch(f"the message of {attempt} is not one line: {message!r}")
        self.refusals[attempt] = message

    def is_unfollowed(self, attempt: str, warnings: tuple[str, ...]) -> bool:
        """Whether convlens says that it has not found a non-linearity; note it as a refusal."""
        saying = [warning for warning in warnings if _UNFOLLOWED in warning]
        if saying:
            self.refusals[attempt] = saying[0]
        return bool(saying)

    def value_of_node(self, node: int) -> str | None:
        """The name of the value that a node holds; None if it is none of the program's."""
        return self.maps.get(node)

    def _captured(self, nodes: list[int]) -> Iterator[tuple[int, Tensor]]:
        for node in nodes:
            try:
                yield node, capture_nodes(self.model, self.trace, self.images, [node])[node]
            except ConvlensError as error:
                self.refusals[f"capture {self.trace.name(node)}"] = str(error)
