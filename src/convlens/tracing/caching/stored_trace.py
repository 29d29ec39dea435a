"""Traces as plain data and tensors, and back, for the disk cache.

Operations are stored by the names under which PyTorch registers them, and tensors among their
arguments are node numbers already. A trace with an argument of another kind is not stored.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from convlens.tracing.batch import BatchDims
from convlens.tracing.recording.node_names import NodeName
from convlens.tracing.recording.recording import (
    FunctionCall,
    ModuleRun,
    NodeRef,
    Operation,
    RecordedCall,
    Recording,
)
from convlens.tracing.recording.tensor_nodes import StorageLayout
from convlens.tracing.trace import Trace

_TORCH_TYPES = (torch.dtype, torch.layout, torch.memory_format)


def encode_trace(trace: Trace) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A trace as plain data and tensors.

    Raises:
        TypeError: an argument of an operation is of a kind that cannot be stored.
    """
    recording = trace.recording
    calls: dict[RecordedCall, int] = {}
    positions = {id(operation): number for number, operation in enumerate(recording.operations)}

    def encode_call(call: RecordedCall | None) -> int | None:
        return None if call is None else calls.setdefault(call, len(calls))

    operations = [
        [
            operation.name, _encode_function(operation.function), _encode(operation.arguments),
            operation.inputs, operation.outputs, encode_call(operation.call),
        ]
        for operation in recording.operations
    ]  # fmt: skip
    events = [
        [encode_call(event.call), event.input_node, event.output_nodes]
        if isinstance(event, ModuleRun)
        else [
            encode_call(event.call), dataclasses.astuple(event.node_name),
            [positions[id(operation)] for operation in event.operations], event.output_nodes,
        ]
        for event in recording.events
    ]  # fmt: skip
    data = {
        "shapes": recording.shapes,
        "operations": operations,
        "events": events,
        "calls": [dataclasses.astuple(call) for call in calls],
        "runs": dict(recording.runs),
        "names": [
            [node, [dataclasses.astuple(name) for name in names]]
            for node, names in recording.node_names.items()
        ],
        "parameters": list(recording.parameters.items()),
        "constants": list(recording.constants),
        "plain": {name: getattr(recording, name) for name in _PLAIN_FIELDS},
        "other_outputs": recording.other_outputs,
        "complex_nodes": recording.complex_nodes,
        "batch": [
            list(trace.batch.dims.items()), trace.batch.shapes,
            list(trace.batch.pair_shapes.items()), trace.batch.may_mix_images,
        ],
        "checks": [trace.depends_on_batch, trace.returns_probabilities],
    }  # fmt: skip
    tensors = {f"constants.{node}": value for node, value in recording.constants.items()}
    return data, tensors


_PLAIN_FIELDS = ("output", "faked", "stopped", "no_scores", "images", "output_index")


def decode_trace(data: Mapping[str, Any], tensors: Mapping[str, Tensor], model_name: str) -> Trace:
    """The trace that `encode_trace` was given, for a model of some name."""
    calls = [RecordedCall(*call) for call in data["calls"]]

    def decode_call(number: int | None) -> RecordedCall | None:
        return None if number is None else calls[number]

    operations = tuple(
        Operation(
            name, _decode_function(function), _decode(arguments), tuple(inputs), tuple(outputs),
            decode_call(call),
        )
        for name, function, arguments, inputs, outputs, call in data["operations"]
    )  # fmt: skip
    events: list[ModuleRun | FunctionCall] = []
    for call, *event in data["events"]:
        if len(event) == 2:
            node, outputs = event
            events.append(ModuleRun(calls[call], node, tuple(outputs)))
        else:
            name, numbers, outputs = event
            executed = tuple(operations[number] for number in numbers)
            events.append(FunctionCall(calls[call], NodeName(*name), executed, tuple(outputs)))
    recording = Recording(
        shapes=_shapes(data["shapes"]),
        operations=operations,
        events=tuple(events),
        runs=dict(data["runs"]),
        node_names={
            node: tuple(NodeName(*name) for name in names) for node, names in data["names"]
        },
        parameters=dict(data["parameters"]),
        constants={node: tensors[f"constants.{node}"] for node in data["constants"]},
        other_outputs=tuple(data["other_outputs"]),
        complex_nodes=tuple(data["complex_nodes"]),
        **data["plain"],
    )
    dims, shapes, pair_shapes, may_mix_images = data["batch"]
    of_two = {node: tuple(shape) for node, shape in pair_shapes}
    batch = BatchDims(dict(dims), _shapes(shapes), of_two, may_mix_images)
    depends_on_batch, returns_probabilities = data["checks"]
    return Trace(model_name, recording, batch, depends_on_batch, returns_probabilities)


def _shapes(shapes: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for shape in shapes)


def _encode_function(function: Any) -> list[str] | None:
    if function is None:
        return None
    return [*function._schema.name.split("::"), function._overloadname]


def _decode_function(names: list[str] | None) -> Any:
    if names is None:
        return None
    namespace, name, overload = names
    return getattr(getattr(getattr(torch.ops, namespace), name), overload)


def _encode(value: Any) -> Any:  # noqa: PLR0911 # one return for each kind
    """An argument as JSON; what JSON cannot tell from others is an object with one key."""
    match value:
        case float() if not math.isfinite(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
        case NodeRef():
            return {"node": value.node}
        case StorageLayout():
            return {"storage": [value.shape, value.stride, value.offset]}
        case torch.device():
            return {"device": str(value)}
        case _ if isinstance(value, _TORCH_TYPES):
            return {"torch": str(value).removeprefix("torch.")}
        case torch.Size():
            return {"size": list(value)}
        case tuple():
            return {"tuple": [_encode(item) for item in value]}
        case list():
            return [_encode(item) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {"dict": {key: _encode(item) for key, item in value.items()}}
    raise TypeError(f"{type(value).__name__} among the arguments of an operation")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, item),) = value.items()
    return _DECODERS[kind](item)


_DECODERS: dict[str, Any] = {
    "float": float,
    "node": NodeRef,
    "storage": lambda item: StorageLayout(tuple(item[0]), tuple(item[1]), item[2]),
    "device": torch.device,
    "torch": lambda name: getattr(torch, name),
    "size": torch.Size,
    "tuple": lambda items: tuple(_decode(item) for item in items),
    "dict": lambda items: {key: _decode(item) for key, item in items.items()},
}
