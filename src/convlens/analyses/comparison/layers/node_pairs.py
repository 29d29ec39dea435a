"""The nodes of two networks whose values can be compared with each other."""

from dataclasses import dataclass
from difflib import SequenceMatcher

from convlens.errors import ConvlensError
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.trace import Trace
from convlens.wording import counted

# Operations that only move values, or give them another shape.
_MOVES = frozenset({
    "_reshape_alias", "_unsafe_view", "alias", "detach", "expand", "permute", "reshape", "squeeze",
    "t", "transpose", "unsqueeze", "view",
})  # fmt: skip
_ENOUGH = 0.5  # share of the convolutions of both networks that must have a counterpart


@dataclass(frozen=True)
class NodePair:
    """A node of each of two networks, of the same shape.

    Attributes:
        name: name of the node in the first network.
        first: its index in the first trace.
        second: index of its counterpart in the second trace.
    """

    name: str
    first: int
    second: int


@dataclass(frozen=True)
class NodePairs:
    """Which nodes of two networks are compared.

    Attributes:
        pairs: in the order of execution.
        every_node: whether both networks execute the same operations, so that all nodes that can be
            captured are compared; otherwise these are the images, what follows each convolution and
            its non-linearity, and the logits.
        reason: why there are none but the images and the logits, in words; usually empty.
    """

    pairs: tuple[NodePair, ...]
    every_node: bool
    reason: str = ""


def pair_nodes(first: Trace, second: Trace) -> NodePairs:
    """Pair the nodes of two networks.

    Networks that execute the same operations on tensors of the same shapes, under the same names,
    are compared node by node. In others, for example if batch normalization is folded into the
    convolutions of one of them, the tensors after a convolution's normalization and non-linearity
    are what both compute; they are paired in their order by their shapes.
    """
    if _operations(first) == _operations(second):
        nodes = _captured_nodes(first)
        return NodePairs(tuple(NodePair(first.name(node), node, node) for node in nodes), True)
    pairs = []
    if first.shape(0) == second.shape(0):
        pairs.append(NodePair(first.name(0), 0, 0))
    inner, reason = _pair_convolutions(first, second)
    pairs += inner
    if first.shape(first.logits) == second.shape(second.logits):
        pairs.append(NodePair(first.name(first.logits), first.logits, second.logits))
    return NodePairs(tuple(pairs), False, reason)


def _operations(trace: Trace) -> list[tuple[object, ...]]:
    """What decides whether two traces have the same nodes."""
    recording = trace.recording
    return [
        (operation.name, operation.inputs, operation.outputs, *map(trace.name, operation.outputs),
         *(recording.shapes[node] for node in operation.outputs))
        for operation in recording.operations
    ]  # fmt: skip


def _captured_nodes(trace: Trace) -> list[int]:
    """The nodes with values of their own that can be captured, in the order of execution."""
    output, producers = trace.recording.output, trace.structure.producers
    return [
        node
        for node in sorted(trace.on_image)
        if node in trace.batch.dims
        and (node in (0, output) or producers[node].name not in _MOVES)
        and (node in (0, output) or trace.capture_point(node) is not None)
    ]


def _pair_convolutions(first: Trace, second: Trace) -> tuple[list[NodePair], str]:
    """The nodes after the convolutions of two networks, in pairs; or why there are none."""
    try:
        sources = find_channel_sources(first, None), find_channel_sources(second, None)
    except ConvlensError as error:
        return [], str(error)
    shapes = [
        [trace.shape(source.node) for source in network_sources]
        for trace, network_sources in zip((first, second), sources, strict=True)
    ]
    pairs = [
        NodePair(first_source.node_name, first_source.node, second_source.node)
        for block in SequenceMatcher(a=shapes[0], b=shapes[1], autojunk=False).get_matching_blocks()
        for first_source, second_source in zip(
            sources[0][block.a : block.a + block.size],
            sources[1][block.b : block.b + block.size],
            strict=True,
        )
    ]
    if len(pairs) < _ENOUGH * max(map(len, sources)):
        return [], (
            f"the networks have other layers: {len(pairs)} of {len(sources[0])} and "
            f"{counted(len(sources[1]), 'convolution')} correspond by their order and shapes"
        )
    return pairs, ""
