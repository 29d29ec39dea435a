"""Convolutions whose outputs go to a batch normalization and to nothing else."""

from dataclasses import dataclass

from convlens.tracing.outputs.structure import Structure
from convlens.tracing.recording.recording import NodeRef, Operation, Recording

_BATCH_NORMS = frozenset({
    "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
    "miopen_batch_norm",
})  # fmt: skip


@dataclass(frozen=True)
class BatchNormPair:
    """A convolution and the batch normalization after it, each of a module that runs once.

    Attributes:
        convolution: dotted name of the module that runs the convolution.
        batch_norm: dotted name of the module that runs the batch normalization.
        node: index of the node between them, which the convolution returns.
    """

    convolution: str
    batch_norm: str
    node: int


def find_batch_norm_pairs(recording: Recording, structure: Structure) -> tuple[BatchNormPair, ...]:
    """Find the pairs that compute the same as a single convolution with other weights.

    The batch normalization uses running statistics, and is the only operation that reads the output
    of the convolution. Both read parameters of their own modules, and nothing else reads these.

    Args:
        recording: of the network in evaluation mode.
        structure: of the recording.
    """
    pairs = []
    for operation in recording.operations:
        if operation.name in _BATCH_NORMS and not operation.arguments.get("training", False):
            pair = _pair_of(operation, recording, structure)
            if pair is not None:
                pairs.append(pair)
    return tuple(pairs)


def _pair_of(
    batch_norm: Operation, recording: Recording, structure: Structure
) -> BatchNormPair | None:
    """The pair that ends in a batch normalization with running statistics, if there is one."""
    source = batch_norm.arguments["input"]
    convolution = structure.producers.get(source.node)
    if convolution is None or convolution.name != "convolution":
        return None
    if convolution.arguments.get("transposed") or structure.consumers[source.node] != [batch_norm]:
        return None
    if source.node in (recording.output, *recording.other_outputs):
        return None
    paths = []
    for operation in (convolution, batch_norm):
        call = operation.call
        if call is None or recording.runs[call.path] != 1:
            return None
        if not _reads_own_parameters(operation, call.path, recording, structure):
            return None
        paths.append(call.path)
    first, second = paths
    return BatchNormPair(first, second, source.node) if first != second else None


def _reads_own_parameters(
    operation: Operation, path: str, recording: Recording, structure: Structure
) -> bool:
    """Whether weight and bias are parameters of a module that no other operation reads."""
    for name in ("weight", "bias"):
        argument = operation.arguments.get(name)
        if argument is None:
            continue
        if not isinstance(argument, NodeRef):
            return False
        if recording.parameters.get(argument.node) != f"{path}.{name}".lstrip("."):
            return False
        if structure.consumers[argument.node] != [operation]:
            return False
    return True
