"""Anatomy: every layer that runs, in the order in which it runs, with its sizes and costs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

from convlens import arithmetic
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.models.output_head import describe_prediction_rule
from convlens.results import Result
from convlens.runtime.guard import unwrap_network
from convlens.tracing.node_names import NodeName
from convlens.tracing.recorder import FunctionCall, ModuleRun, Operation
from convlens.tracing.selection import check_layer
from convlens.tracing.trace import Trace, trace

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Layer(Result):
    """One run of a layer, or one operation in the code of a module that has layers of its own.

    Attributes:
        name: its node (a layer's dotted name, or `layer4.2/add` for an operation).
        kind: class of the module, or name of the operation.
        output: shape for a batch of one.
        kernel: height and width of its windows, None where it has none.
        stride: of the windows, in positions of its input.
        padding: rows and columns added (before, after) for y, then for x; with what it adds
            itself before it convolves ("same" padding that depends on the size).
        dilation: distance of the taps.
        groups: of channels that a convolution keeps apart.
        parameters: numbers that it learned, counted where they are first read.
        by_formula: (M²C+1) C_out of a convolution with its bias, (C+1) C_out of a fully connected
            layer; without the 1 where there is no bias. None for other kinds.
        multiply_adds: for one image.
        dense_weights: weights of a fully connected layer between the same sizes, for convolutions.
        field_size: rows and columns of the image that a position sees; None where it differs
            between positions or the node has no map.
        field_stride: pixels between neighboring positions' fields.
        field_offset: first row and column that position (0, 0) sees; negative in the padding.
        beyond: it depends on the whole image through a global operation besides.
        followed: False where an operation on the way is not known, so that the field was not
            followed but taken as global.
        pre: a non-linearity consumes its output.
        post: a non-linearity gives its output.
        final: "pre" or "post" at the final convolutional layer.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: tuple[int, int, int, int] | None = None
    dilation: Pair | None = None
    groups: int | None = None
    parameters: int = 0
    by_formula: int | None = None
    multiply_adds: int = 0
    dense_weights: int | None = None
    field_size: Pair | None = None
    field_stride: Pair | None = None
    field_offset: Pair | None = None
    beyond: bool = False
    followed: bool = True
    pre: bool = False
    post: bool = False
    final: str | None = None


@dataclass(frozen=True, eq=False)
class Anatomy(Result):
    """What the network is made of, as traced on an image of one size.

    Attributes:
        model: name of the model.
        image: shape of the image, `(C, H, W)`.
        layers: in the order of execution.
        parameters: of the network, all told.
        unused: names of parameters that this run never read (heads used in training only).
        multiply_adds: for one image.
        final_post: name of the final convolutional layer, or None for a network without maps.
        final_pre: names on its pre side.
        final_reason: why it is that one.
        logits: name of the node before any softmax or sigmoid.
        valid_for: what the trace holds for.
        final_activation: of the network: "softmax", "sigmoid", or empty where neither is known.
        prediction_rule: how its answers are read, in words, where that is not by a softmax.
    """

    model: str
    image: tuple[int, int, int]
    layers: tuple[Layer, ...]
    parameters: int
    unused: tuple[str, ...]
    multiply_adds: int
    final_post: str | None
    final_pre: tuple[str, ...]
    final_reason: str
    logits: str
    valid_for: str
    final_activation: str = ""
    prediction_rule: str = ""

    def within(self, name: str) -> tuple[Layer, ...]:
        """The layer of that name, all its runs, or everything inside the module of that name.

        Raises:
            ConvlensError: nothing of that name, with the nearest ones.
        """
        inside = tuple(name + mark for mark in ".#/")
        found = tuple(one for one in self.layers if one.name == name or one.name.startswith(inside))
        if not found:
            check_layer(self.model, name, [one.name for one in self.layers])
        return found


def anatomy(model: Model, *, size: Pair | None = None) -> Anatomy:
    """List every layer that runs for an image of `size` (default: the model's own).

    Raises:
        TraceError: the network does not run on an image of that size.
    """
    found = trace(model, size=size)
    named = dict(unwrap_network(model.network).named_parameters())
    ran = {id(operation): at for at, operation in enumerate(found.recording.operations)}
    unread, done = dict.fromkeys(named), 0
    layers = []
    for name, kind, operations, node in _parts(found):
        # With what was read on the way: a table that is looked up, a token that is expanded.
        upto = max((ran[id(operation)] + 1 for operation in operations), default=done)
        read = _parameters_read(found, found.recording.operations[done:upto])
        done = max(done, upto)
        fresh = [parameter for parameter in read if parameter in unread]
        for parameter in fresh:
            del unread[parameter]
        count = sum(named[parameter].numel() for parameter in fresh)
        layers.append(_layer(found, name, kind, operations, node, parameters=count))
    final = found.final_layer
    return Anatomy(
        model=model.name,
        image=(model.channels, *found.image_size),
        layers=tuple(layers),
        parameters=sum(parameter.numel() for parameter in named.values()),
        unused=tuple(unread),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        final_post=found.name(final.post) if final else None,
        final_pre=tuple(found.name(node) for node in final.pre) if final else (),
        final_reason=final.reason if final else "no node with a map lies on every path",
        logits=found.name(found.logits),
        valid_for=found.valid_for,
        final_activation=found.final_activation,
        prediction_rule=describe_prediction_rule(
            found.final_activation, found.num_outputs, class_name(model.labels, 0)
        ),
    )


_Part = tuple[str, str, Sequence[Operation], int]


def _parts(found: Trace) -> Iterator[_Part]:
    """Name, kind, operations and output of each part of the run.

    A part is a run of a module without modules of its own, or a step in the code of one that has
    some. Steps that only rearrange memory are left out.
    """
    for event in found.recording.events:
        leaf = next(event.call.module.children(), None) is None
        if isinstance(event, ModuleRun) and leaf and event.gave:
            operations = [op for op in found.recording.operations if op.call is event.call]
            kind = type(event.call.module).__name__
            node_name = NodeName(event.call.path, event.call.number).brief(found.recording.runs)
            yield str(node_name), kind, operations, event.gave[0]
        elif isinstance(event, FunctionCall) and not leaf and event.gave:
            kind = event.node_name.operation or ""
            moved = all(operation.name in _REARRANGING for operation in event.operations)
            if (moved and kind != "flatten") or found.reach(event.gave[0]) is None:
                continue
            node_name = event.node_name.brief(found.recording.runs)
            yield str(node_name), kind, event.operations, event.gave[0]


_REARRANGING = frozenset({
    "view", "_unsafe_view", "permute", "transpose", "t", "expand", "slice", "select", "unsqueeze",
    "squeeze", "unbind", "split", "split_with_sizes", "clone", "alias", "detach", "_to_copy",
    "as_strided", "new_zeros", "fill", "copy",
})  # fmt: skip


def _parameters_read(found: Trace, operations: Sequence[Operation]) -> list[str]:
    names = found.recording.parameters
    nodes = dict.fromkeys(node for operation in operations for node in operation.inputs)
    return [names[node] for node in nodes if node in names]


def _layer(
    found: Trace,
    name: str,
    kind: str,
    operations: Sequence[Operation],
    node: int,
    *,
    parameters: int,
) -> Layer:
    field = found.field(node)
    reach = found.reach(node)
    final = found.final_layer
    ends = {"post": (final.post,), "pre": final.pre} if final else {}
    sides = [side for side, nodes in ends.items() if node in nodes]
    return Layer(
        name=name,
        kind=kind,
        output=found.shape(node),
        parameters=parameters,
        by_formula=_by_formula(found, operations),
        multiply_adds=sum(_multiply_adds(found, operation) for operation in operations),
        dense_weights=_dense_weights(found, operations),
        field_size=_both(field.size) if field else None,
        field_stride=_both(field.stride) if field else None,
        field_offset=field.offset if field else None,
        beyond=reach is not None and reach[2],
        followed=node not in found.unknown,
        pre=found.structure.is_pre(node),
        post=found.structure.is_post(node),
        final=" and ".join(sides) or None,
        **_windows(found, operations),
    )


def _both(pair: tuple[int | None, int | None]) -> Pair | None:
    return (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None


_POOLS = frozenset({"max_pool2d_with_indices", "avg_pool2d"})


class _Windows(TypedDict, total=False):
    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair
    groups: int


def _windows(found: Trace, operations: Sequence[Operation]) -> _Windows:
    """Kernel, stride, padding, dilation and groups of the part's convolution or pooling."""
    added = [0, 0, 0, 0]
    for operation in operations:
        given = operation.arguments
        if operation.name == "constant_pad_nd" and len(given["pad"]) >= 4:
            left, right, top, bottom = given["pad"][:4]
            added = [top, bottom, left, right]
        elif operation.name == "convolution" and len(given["stride"]) == 2:
            kernel = found.shape(given["weight"].node)[2:]
            dilation, groups = given["dilation"], given["groups"]
        elif operation.name in _POOLS:
            kernel, groups = _pair(given["kernel_size"]), None
            dilation = given.get("dilation") or 1
        else:
            continue
        if operation.name in _POOLS | {"convolution"}:
            y, x = _pair(given.get("padding") or 0)
            windows: _Windows = {
                "kernel": _pair(kernel),
                "stride": _pair(given.get("stride") or kernel),
                "padding": (added[0] + y, added[1] + y, added[2] + x, added[3] + x),
                "dilation": _pair(dilation),
            }
            if groups is not None:
                windows["groups"] = groups
            return windows
    return {}


def _pair(value: int | Sequence[int]) -> Pair:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def _by_formula(found: Trace, operations: Sequence[Operation]) -> int | None:
    for operation in operations:
        given = operation.arguments
        if operation.name == "convolution" and len(given["stride"]) == 2:
            weight = found.shape(given["weight"].node)
            first, second = weight[0], weight[1] * given["groups"]
            channels = (first, second) if given["transposed"] else (second, first)
            bias, groups = given.get("bias") is not None, given["groups"]
            return arithmetic.count_parameters(
                _pair(weight[2:]), channels[0], channels[1], bias=bias, groups=groups
            )
        if operation.name in ("addmm", "mm"):
            weight = found.shape(given["mat2"].node)
            return arithmetic.count_parameters(
                1, weight[0], weight[1], bias=operation.name == "addmm"
            )
    return None


def _multiply_adds(found: Trace, operation: Operation) -> int:
    given, output = operation.arguments, found.shape(operation.outputs[0])
    if operation.name == "convolution":
        weight = found.shape(given["weight"].node)
        # A weight is used once for each position of the output, or, transposed, of the input.
        source = found.shape(given["input"].node) if given["transposed"] else output
        return math.prod(weight) * math.prod(source[2:])
    if operation.name in ("addmm", "mm", "bmm", "baddbmm"):
        left = {"addmm": "mat1", "baddbmm": "batch1"}.get(operation.name, "self")
        return math.prod(output) * found.shape(given[left].node)[-1]
    if operation.name == "linear":
        return math.prod(output) * found.shape(given["input"].node)[-1]
    if operation.name.startswith("_scaled_dot_product"):
        query, key = (found.shape(given[name].node) for name in ("query", "key"))
        return 2 * math.prod(query) * key[-2]
    return 0


def _dense_weights(found: Trace, operations: Sequence[Operation]) -> int | None:
    inputs = [node for operation in operations for node in operation.inputs]
    given = next((node for node in inputs if found.reach(node) is not None), None)
    for operation in operations:
        if operation.name == "convolution" and given is not None:
            # From what the layer was given, before any padding of its own.
            gave = found.shape(operation.outputs[0])
            return arithmetic.count_dense_weights(found.shape(given)[1:], gave[1:])
    return None
