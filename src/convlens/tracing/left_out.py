"""Why layers have no maps: single ones, which an analysis leaves out, or all of a network."""

from dataclasses import dataclass

from convlens.tracing.convolutions import count_convolved_dims
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


def explain_missing_maps(trace: Trace) -> str:
    """Why a network has no maps, as far as its convolutions tell.

    They run over one or three dimensions, after an operation at which positions are lost, or where
    the images are mixed.

    Returns:
        The reason in words; empty for another reason.
    """
    lengths = count_convolved_dims(trace.recording)
    if not lengths or 2 in lengths:
        mapless = (
            convolution.node
            for convolution in trace.convolutions
            if trace.spatial_dims(convolution.node) is None
        )
        return next(filter(None, (_explain_missing_map(trace, node) for node in mapless)), "")
    dims = " and ".join(map(str, sorted(lengths)))
    return (
        f"its convolutions run over {dims} dimension{'' if lengths == {1} else 's'}, and maps have "
        f"two, rows and columns, as torch.nn.Conv2d gives them"
    )


def _explain_missing_map(trace: Trace, node: int) -> str:
    """Why a node is no map, as far as positions and images tell; empty for another reason."""
    if node in trace.batch.dims:
        return explain_lost_positions(trace, node)
    return f"{trace.name(node)} {trace.describe_mixed_images(node)}"


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
