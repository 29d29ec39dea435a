"""Why layers are left out where an analysis reads the maps of all convolutions."""

from dataclasses import dataclass

from convlens.tracing.recording.ancestors import find_ancestor_nodes
from convlens.tracing.trace import Trace
from convlens.wording import enumerated


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
        return f"{enumerated(self.layers, most=3)}: {self.reason}"


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
    ancestors = find_ancestor_nodes(trace.recording.operations, [node])
    unknown = dict.fromkeys(
        trace.unknown[before] for before in sorted(ancestors.intersection(trace.unknown))
    )
    if not unknown:
        return ""
    return f"rows and columns are lost at an operation without a rule ({', '.join(unknown)})"
