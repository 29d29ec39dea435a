"""Outputs that are probabilities, whatever operations compute them.

Where neither a softmax nor a range shows it (`final_activation.py`), the network runs on the image
and on a dark ramp: outputs of at least 0 that add up to 1 over the classes are probabilities, as
those of a sparsemax or of an average with learned weights.
"""

from collections.abc import Container

from torch import Tensor

from convlens.models.model import Model
from convlens.tracing.outputs.last_operations import WEIGHTED, last_operations
from convlens.tracing.outputs.operation_kinds import IDENTITIES
from convlens.tracing.outputs.structure import Structure
from convlens.tracing.outputs.value_ranges import RESHAPING, ValueRanges
from convlens.tracing.recording.recording import Operation, Recording
from convlens.tracing.recording.trial_runs import dark_ramp, run_trial

_TOLERANCE = 1e-3  # of the sum; probabilities in half precision differ from 1 by as much
# After the last layer with weights, they make no probabilities of scores.
_ORDINARY = IDENTITIES | RESHAPING | {
    "add", "sub", "mean", "permute", "transpose", "t", "expand", "select", "slice", "stack", "cat",
    "split", "unbind", "_adaptive_avg_pool2d", "avg_pool2d", "upsample_bilinear2d",
    "upsample_nearest2d", "amax", "max_pool2d_with_indices", "flatten", "unsafe_split",
}  # fmt: skip


def returns_probabilities(model: Model, structure: Structure, images: Tensor) -> bool:
    """Whether the outputs are at least 0 and add up to 1 over the classes.

    Only a network that is not known to return logits or probabilities is run.

    Args:
        model: the model; left untouched.
        structure: of its recording.
        images: `(1, C, H, W)` inside the bounds, as they were recorded.
    """
    recording = structure.recording
    reading = structure.final_activation
    if reading.name or not _may_return_probabilities(recording, structure):
        return False
    for batch in (images, dark_ramp(model, images)):
        outputs = run_trial(model, recording, batch)
        if outputs is None or outputs.ndim < 2 or outputs.shape[1] < 2:
            return False
        if not outputs.is_floating_point() or not bool((outputs >= 0).all()):
            return False
        if not bool(((outputs.sum(1) - 1).abs() <= _TOLERANCE).all()):
            return False
    return True


def _may_return_probabilities(recording: Recording, structure: Structure) -> bool:
    producers, on_image = structure.producers, structure.on_image
    ranges = ValueRanges(recording, producers, on_image)

    def is_layer_of_scores(operation: Operation, shapes: tuple[tuple[int, ...], ...]) -> bool:
        if operation.name not in WEIGHTED:
            return False
        inputs = [node for node in operation.inputs if node in on_image]
        # A layer on probabilities may average them.
        return len(inputs) == 1 and not ranges.of(inputs[0]).within(0, 1)

    return any(
        not _is_ordinary(operation, on_image)
        for operation in last_operations(recording, producers, on_image, until=is_layer_of_scores)
    )


def _is_ordinary(operation: Operation, on_image: Container[int]) -> bool:
    if operation.name in ("mul", "div"):
        return len([node for node in operation.inputs if node in on_image]) == 1
    return operation.name in _ORDINARY
