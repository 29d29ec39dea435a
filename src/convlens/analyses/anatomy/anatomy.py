"""Anatomy of a network: every layer that runs, in order, with sizes, costs and receptive field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from convlens import arithmetic
from convlens.analyses.anatomy.layer import Layer, Pair
from convlens.analyses.anatomy.result import Anatomy
from convlens.analyses.anatomy.window_settings import find_window_settings, to_pair
from convlens.models.labels import class_name
from convlens.models.model import Model
from convlens.models.output_head import describe_prediction_rule
from convlens.results.network_result import keep_warnings
from convlens.runtime.guard import unwrap_network
from convlens.tracing.left_out import explain_missing_maps
from convlens.tracing.outputs.structure import FinalLayer
from convlens.tracing.recording.node_names import NodeName
from convlens.tracing.recording.recording import FunctionCall, ModuleRun, Operation
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace
from convlens.tracing.unfollowed import describe_layers_without_maps

if TYPE_CHECKING:
    pass


@keep_warnings
def anatomy(model: Model, *, size: Pair | None = None) -> Anatomy:
    """List every layer that runs, with its output shape, costs and receptive field.

    Costs are counted by the formulas of Bishop & Bishop, section 10.2.

    Args:
        model: the model.
        size: height and width of the image in pixels; default: the model's own size.

    Returns:
        The layers in the order of execution, and the totals of the network.

    Raises:
        TraceError: the network does not run on an image of that size.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> result = convlens.anatomy(convlens.wrap(network, size=8))
        >>> [(layer.name, layer.kind, layer.parameters) for layer in result.layers]
        [('0', 'Conv2d', 112), ('1', 'ReLU', 0)]
    """
    model_trace = trace(model, size=size)
    named = dict(unwrap_network(model.network).named_parameters())
    operations_run = model_trace.recording.operations
    position_of = {id(operation): at for at, operation in enumerate(operations_run)}
    unread, num_assigned = dict.fromkeys(named), 0
    layers: list[Layer] = []
    positions: dict[int, int] = {_IMAGE_NODE: -1}  # of the layer that returned each node
    for name, kind, operations, node in _parts(model_trace):
        # Includes what was read since the part before: a lookup table, a token that is expanded.
        ends = (position_of[id(operation)] + 1 for operation in operations)
        stop = max(ends, default=num_assigned)
        read = _parameters_read(model_trace, operations_run[num_assigned:stop])
        num_assigned = max(num_assigned, stop)
        newly_read = [parameter for parameter in read if parameter in unread]
        for parameter in newly_read:
            del unread[parameter]
        count = sum(named[parameter].numel() for parameter in newly_read)
        inputs = _input_layers(model_trace, operations, node, positions)
        layers.append(
            _layer(model_trace, name, kind, operations, node, parameters=count, inputs=inputs)
        )
        positions[node] = len(layers) - 1
    final = model_trace.final_layer
    no_scores = model_trace.recording.no_scores
    return Anatomy(
        model=model.name,
        image=(model.channels, *model_trace.image_size),
        layers=tuple(layers),
        parameters=sum(parameter.numel() for parameter in named.values()),
        unused=tuple(unread),
        multiply_adds=sum(map(model_trace.multiply_adds, model_trace.recording.operations)),
        final_post=model_trace.name(final.post) if final else None,
        final_pre=tuple(model_trace.name(node) for node in final.pre) if final else (),
        final_reason=_describe_final_layer(model_trace, final),
        logits="" if no_scores else model_trace.name(model_trace.logits),
        valid_for=model_trace.valid_for,
        final_activation=model_trace.final_activation,
        prediction_rule=""
        if no_scores
        else describe_prediction_rule(
            model_trace.final_activation, model_trace.num_outputs, class_name(model.labels, 0)
        ),
        not_counted=tuple(layer.name for layer in layers if layer.not_counted),
    )


def _describe_final_layer(model_trace: Trace, final: FinalLayer | None) -> str:
    """Why a layer is the final convolutional layer, or why there is none, in words."""
    if final is None:
        return (
            model_trace.recording.no_scores
            or explain_missing_maps(model_trace)
            or "no node with a map lies on every path"
        )
    return "; ".join([final.reason, *describe_layers_without_maps(model_trace, final.post)])


_IMAGE_NODE = 0
_Part = tuple[str, str, Sequence[Operation], int]


def _parts(model_trace: Trace) -> Iterator[_Part]:
    """Name, kind, operations and output of each part of the run.

    A part is a run of a module without submodules, or a function call in the code of a module that
    has some. Calls that only rearrange memory are left out.
    """
    for event in model_trace.recording.events:
        leaf = event.call.is_leaf
        if isinstance(event, ModuleRun) and leaf and event.output_nodes:
            operations = [op for op in model_trace.recording.operations if op.call == event.call]
            kind = event.call.kind
            node_name = NodeName(event.call.path, event.call.number).brief(
                model_trace.recording.runs
            )
            yield str(node_name), kind, operations, event.output_nodes[0]
        elif isinstance(event, FunctionCall) and not leaf and event.output_nodes:
            kind = event.node_name.operation or ""
            moved = all(operation.name in _REARRANGING for operation in event.operations)
            if (moved and kind != "flatten") or event.output_nodes[0] not in model_trace.on_image:
                continue
            node_name = event.node_name.brief(model_trace.recording.runs)
            yield str(node_name), kind, event.operations, event.output_nodes[0]


_REARRANGING = frozenset({
    "view", "_unsafe_view", "permute", "transpose", "t", "expand", "slice", "select", "unsqueeze",
    "squeeze", "unbind", "split", "split_with_sizes", "clone", "alias", "detach", "_to_copy",
    "as_strided", "new_zeros", "fill", "copy",
})  # fmt: skip


def _parameters_read(model_trace: Trace, operations: Sequence[Operation]) -> list[str]:
    names = model_trace.recording.parameters
    nodes = dict.fromkeys(node for operation in operations for node in operation.inputs)
    return [names[node] for node in nodes if node in names]


def _input_layers(
    model_trace: Trace, operations: Sequence[Operation], node: int, positions: Mapping[int, int]
) -> tuple[int, ...]:
    """Positions of the layers whose outputs a part reads, through operations outside of layers."""
    inside = {output for operation in operations for output in operation.outputs} | {node}
    pending = [read for operation in operations for read in operation.inputs]
    if not operations:  # a module that returns its input, as dropout does in evaluation mode
        pending = [node]
    layers: set[int] = set()
    visited: set[int] = set()
    while pending:
        read = pending.pop()
        if read in visited or read not in model_trace.on_image:
            continue
        visited.add(read)
        if read in positions and (read not in inside or not operations):
            layers.add(positions[read])
            continue
        producer = model_trace.structure.producers.get(read)
        pending += producer.inputs if producer is not None else ()
    return tuple(sorted(layers))


def _layer(
    model_trace: Trace,
    name: str,
    kind: str,
    operations: Sequence[Operation],
    node: int,
    *,
    parameters: int,
    inputs: tuple[int, ...],
) -> Layer:
    field = model_trace.field(node)
    pixels = model_trace.pixel_range(node)
    final = model_trace.final_layer
    ends = {"post": (final.post,), "pre": final.pre} if final else {}
    sides = [side for side, nodes in ends.items() if node in nodes]
    return Layer(
        name=name,
        kind=kind,
        output=model_trace.shape(node),
        parameters=parameters,
        by_formula=_by_formula(model_trace, operations),
        multiply_adds=sum(model_trace.multiply_adds(operation) for operation in operations),
        not_counted=tuple(
            dict.fromkeys(
                operation.name for operation in operations if operation in model_trace.uncounted
            )
        ),
        dense_weights=_dense_weights(model_trace, operations),
        field_size=_complete_pair(field.size) if field else None,
        field_stride=_complete_pair(field.stride) if field else None,
        field_offset=field.offset if field else None,
        sees_whole_image=pixels is not None and pixels[2],
        followed=node not in model_trace.unknown,
        pre=model_trace.structure.is_pre(node),
        post=model_trace.structure.is_post(node),
        final=" and ".join(sides) or None,
        inputs=inputs,
        **find_window_settings(model_trace, operations),
    )


def _complete_pair(pair: tuple[int | None, int | None]) -> Pair | None:
    return (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None


def _by_formula(model_trace: Trace, operations: Sequence[Operation]) -> int | None:
    products = [op for op in operations if op.name in ("convolution", "addmm", "mm")]
    for operation in products if len(products) == 1 else ():
        arguments = operation.arguments
        if operation.name == "convolution" and len(arguments["stride"]) == 2:
            weight = model_trace.shape(arguments["weight"].node)
            first, second = weight[0], weight[1] * arguments["groups"]
            channels = (first, second) if arguments["transposed"] else (second, first)
            bias, groups = arguments.get("bias") is not None, arguments["groups"]
            return arithmetic.count_parameters(
                to_pair(weight[2:]), channels[0], channels[1], bias=bias, groups=groups
            )
        if operation.name in ("addmm", "mm"):
            weight = model_trace.shape(arguments["mat2"].node)
            return arithmetic.count_parameters(
                1, weight[0], weight[1], bias=operation.name == "addmm"
            )
    return None


def _dense_weights(model_trace: Trace, operations: Sequence[Operation]) -> int | None:
    inputs = [node for operation in operations for node in operation.inputs]
    input_node = next((node for node in inputs if node in model_trace.on_image), None)
    for operation in operations:
        if operation.name == "convolution" and input_node is not None:
            # From the layer's input, before any padding that the layer adds itself.
            output = model_trace.shape(operation.outputs[0])
            return arithmetic.count_dense_weights(model_trace.shape(input_node)[1:], output[1:])
    return None
