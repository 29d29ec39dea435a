"""Detectors: for each convolution the value at which its channels say what they detect.

That is its post side: the output of the non-linearity that consumes it, after normalization and,
in a residual block, after the sum. Where none does (a linear bottleneck, a convolution before a
concatenation) it is the convolution's own output, normalized if it is.
"""

from dataclasses import dataclass

from convlens.tracing.nodes import Place
from convlens.tracing.recorder import Operation, Recording
from convlens.tracing.structure import NON_LINEARITIES, Structure

_NORMALISING = frozenset({
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "cudnn_batch_norm", "batch_norm", "_batch_norm_no_update", "native_group_norm",
    "native_layer_norm", "instance_norm", "_fused_rms_norm", "rms_norm",
})  # fmt: skip
_ARITHMETIC = frozenset({"add", "sub", "mul", "div"})
_MOVING = frozenset({"permute", "transpose", "clone", "native_dropout", "contiguous", "alias"})
_GATES = frozenset({"sigmoid", "hardsigmoid"})  # times their own input they are a non-linearity


@dataclass(frozen=True)
class Detector:
    """The channels of one run of a convolution.

    Attributes:
        layer: name of the convolution, with the run's number where it runs several times.
        value: the value, by number in the trace, that its channels are read from.
        post: whether a non-linearity gave it.
    """

    layer: str
    value: int
    post: bool


def detectors(
    recording: Recording, structure: Structure, reached: set[int]
) -> tuple[Detector, ...]:
    """Every run of a two-dimensional convolution of what follows from the image, in order.

    Args:
        recording: of the network.
        structure: of the recording.
        reached: the values that depend on the image.
    """
    found = []
    for operation in recording.operations:
        if operation.name != "convolution" or operation.call is None:
            continue
        value = operation.outputs[0]
        if len(operation.arguments["stride"]) != 2 or value not in reached:
            continue
        place = Place(operation.call.path, operation.call.number).brief(recording.runs)
        end, post = _end(value, structure, reached)
        found.append(Detector(str(place), end, post))
    return tuple(found)


def _end(value: int, structure: Structure, reached: set[int]) -> tuple[int, bool]:
    own = value  # the last value that is the convolution's alone
    alone = True
    while True:
        readers = structure.readers.get(value, [])
        for reader in readers:
            if reader.name in NON_LINEARITIES:
                return _gated(value, reader, readers), True
        step = next(filter(None, (_step(value, reader, reached) for reader in readers)), None)
        if step is None:
            return own, False
        value, keeps = step
        alone = alone and keeps
        if alone:
            own = value


def _step(value: int, reader: Operation, reached: set[int]) -> tuple[int, bool] | None:
    """What normalizes, scales, moves or adds to the value; and whether it stays its alone."""
    others = [one for one in reader.inputs if one != value and one in reached]
    if reader.name in _NORMALISING | _MOVING and reader.inputs[0] == value:
        return reader.outputs[0], True
    if reader.name in _ARITHMETIC and not others:
        return reader.outputs[0], True
    if reader.name == "add":
        return reader.outputs[0], False
    return None


def _gated(value: int, reader: Operation, readers: list[Operation]) -> int:
    """The non-linearity's output; of x · sigmoid(x), written out, the product."""
    gate = reader.outputs[0]
    if reader.name in _GATES:
        for other in readers:
            if other.name == "mul" and {value, gate} <= set(other.inputs):
                return other.outputs[0]
    return gate
