"""Networks whose results for an image depend on the other images of the batch.

Batch normalization without running statistics is the usual reason: it normalizes with the
statistics of the batch, also in evaluation mode.
"""

from collections.abc import Container

import torch
from torch import Tensor

from convlens.models.model import Model
from convlens.tracing.receptive_field.rules import find_rule
from convlens.tracing.recording.recording import Operation, Recording
from convlens.tracing.recording.trial_runs import dark_ramp, run_trial

_TOLERANCE = 1e-3  # of the standard deviation of the outputs; other batch sizes round differently
# Operations over dimensions: over the first one, they may be over images.
_OVER_DIMENSIONS = frozenset({
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "norm",
    "linalg_vector_norm", "_softmax", "_log_softmax", "cumsum", "median", "sort", "topk", "argsort",
    "logsumexp", "prod", "roll", "flip",
})  # fmt: skip


def depends_on_batch(
    model: Model,
    recording: Recording,
    on_image: Container[int],
    images: Tensor,
    *,
    may_mix_images: bool = False,
) -> bool:
    """Whether the outputs for an image depend on the images beside it.

    Only a network that runs an operation which may mix images is run, on one image and on two.
    These are operations over the first dimension, those that combine the images after a network
    has moved or folded that dimension, and those of which nothing is known (`torch.fft`).

    Args:
        model: the model; left untouched.
        recording: of its network.
        on_image: indices of the nodes that depend on the image.
        images: `(1, C, H, W)` inside the bounds, as they were recorded.
        may_mix_images: as of the `BatchDims` of the network. Default: False.
    """
    operations = [
        operation
        for operation in recording.operations
        if any(node in on_image for node in operation.inputs)
    ]
    may_mix_images = may_mix_images or any(
        _may_mix_images(operation, recording) for operation in operations
    )
    if not may_mix_images and all(find_rule(operation) for operation in operations):
        return False
    dark = dark_ramp(model, images)
    alone, dark_alone, beside = (
        run_trial(model, recording, batch) for batch in (images, dark, torch.cat([images, dark]))
    )
    if alone is None or dark_alone is None or beside is None:
        return False
    if alone.shape[:1] != (1,) or beside.shape != (2, *alone.shape[1:]):
        return False
    differences = (torch.cat([alone, dark_alone]) - beside).abs()
    if not may_mix_images:
        # An unknown operation may amplify rounding where all rows are equal, as a QR decomposition.
        differences = differences[:1]
    return bool(differences.max() > _TOLERANCE * beside.std())


def _may_mix_images(operation: Operation, recording: Recording) -> bool:
    arguments = operation.arguments
    if "batch_norm" in operation.name:
        of_batch = arguments.get("training") or arguments.get("train")
        return bool(of_batch) or str(operation.function).endswith("no_stats")
    if operation.name not in _OVER_DIMENSIONS:
        return False
    dims = arguments.get("dim", arguments.get("dims"))
    if dims is None or dims == []:
        return operation.name not in ("topk", "sort", "argsort", "_softmax", "_log_softmax")
    count = len(recording.shapes[operation.inputs[0]])
    return any(dim % max(count, 1) == 0 for dim in ([dims] if isinstance(dims, int) else dims))
