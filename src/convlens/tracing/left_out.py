"""Why layers are left out where an analysis reads the maps of all convolutions."""

from collections.abc import Iterable
from dataclasses import dataclass

from convlens.tracing.trace import Trace


@dataclass(frozen=True)
class LeftOut:
    """Layers that are left out for one reason.

    Attributes:
        layers: names of the layers, in the order of execution.
        reason: why they are left out, in words.
    """

    layers: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        shown = ", ".join(self.layers[:3])
        more = f" and {len(self.layers) - 3} more" if len(self.layers) > 3 else ""
        return f"{shown}{more}: {self.reason}"


def find_left_out(trace: Trace) -> tuple[LeftOut, ...]:
    """The convolutions whose channels have no maps, by the reason."""
    layers: dict[str, list[str]] = {}
    for convolution in trace.convolutions:
        if trace.spatial_dims(convolution.node) is None:
            layers.setdefault(_explain(trace, convolution.node), []).append(convolution.layer)
    return tuple(LeftOut(tuple(names), reason) for reason, names in layers.items())


def _explain(trace: Trace, node: int) -> str:
    """Why a node has no map, in words."""
    shape = trace.shape(node)
    if len(shape) == 4 and shape[2:] == (1, 1):
        return "a single position, no map"
    if trace.capture_point(node) is None:
        return "inside an operation (torch.vmap, compiled code), where no run can be stopped"
    if node in trace.recording.complex_nodes:
        return "complex numbers, and maps hold real ones"
    if node not in trace.batch.dims:
        return f"no dimension of {shape} holds one image at each position"
    lost = explain_lost_positions(trace, node)
    if lost:
        return f"{lost}; convlens.register_operation adds one"
    return "no rows and columns that follow those of the image"


def explain_lost_map(trace: Trace, node: int) -> str:
    """Why a node has no map although it could have one, in words.

    Returns:
        The reason; empty for a single position, as in squeeze-and-excite, which is no map anyway.
    """
    shape = trace.shape(node)
    if len(shape) != 4 or shape[2:] == (1, 1):
        return ""
    return _explain(trace, node)


def explain_lost_positions(trace: Trace, node: int) -> str:
    """The operations without a rule after which a node has no rows and columns, in words.

    Returns:
        The reason; empty if there is no such operation.
    """
    unknown = dict.fromkeys(trace.unknown[before] for before in _sources(trace, node))
    if not unknown:
        return ""
    return f"rows and columns are lost at an operation without a rule ({', '.join(unknown)})"


def _sources(trace: Trace, node: int) -> Iterable[int]:
    """The nodes of operations without a rule from which a node is computed, in order."""
    needed = {node}
    for operation in reversed(trace.recording.operations):
        if not needed.isdisjoint(operation.outputs):
            needed.update(operation.inputs)
    return sorted(needed.intersection(trace.unknown))
