"""Findings about the network itself: weights that are not finite or untrained, dead channels."""

from torch import Tensor

from convlens.analyses.model_check.result import BROKEN, CANNOT_TELL, FINE, CheckFinding
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.analyses.weights_check.weights_check import check_weights
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.passes.options import PassOptions, Progress
from convlens.passes.run import run_reducer
from convlens.passes.source import open_source
from convlens.runtime.guard import unwrap_network
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.tracer import trace
from convlens.wording import counted, enumerated, percent

_LEAST_PHOTOS = 32  # before a channel that is above 0 on none of them counts as dead


def check_finite_weights(model: Model) -> CheckFinding:
    """Whether all parameters and buffers are finite."""
    network = unwrap_network(model.network)
    tensors = [*network.named_parameters(), *network.named_buffers()]
    wrong = [
        name
        for name, tensor in tensors
        if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    ]
    if wrong:
        return CheckFinding(
            "finite weights", BROKEN, f"NaN or infinity in {enumerated(wrong, 3)}", len(wrong), 0
        )
    return CheckFinding("finite weights", FINE, f"{counted(len(tensors), 'tensor')} are finite")


def check_trained_weights(model: Model) -> CheckFinding:
    """Whether the weights look trained."""
    weights = check_weights(model)
    decided = weights.untrained or weights.normalizations or weights.changed
    status = BROKEN if weights.untrained else FINE if decided else CANNOT_TELL
    return CheckFinding("trained weights", status, weights.summary())


def check_dead_channels(
    model: Model,
    photos: PhotoDataset | Tensor,
    limit: float | None,
    progress: Progress,
) -> CheckFinding:
    """Whether any layer has more dead channels than the limit allows.

    Args:
        model: the model; left untouched.
        photos: photos that can be read, or images.
        limit: greatest share of a layer's channels that may be dead; None for no limit.
        progress: called with a stage, and the number of photos done and in total.
    """
    source = open_source(model, photos)
    if len(source) < _LEAST_PHOTOS:
        return CheckFinding(
            "dead channels", CANNOT_TELL,
            f"{counted(len(source), 'photo')} are too few to tell; give at least {_LEAST_PHOTOS}",
            None, limit,
        )  # fmt: skip
    try:
        model_trace = trace(model, photos if isinstance(photos, Tensor) else None)
        layers = [layer for layer in find_channel_sources(model_trace, None) if layer.post]
    except ConvlensError as error:  # no maps
        return CheckFinding("dead channels", CANNOT_TELL, str(error), None, limit)
    if not layers:
        return CheckFinding(
            "dead channels", CANNOT_TELL, "no layer is read after a non-linearity", None, limit
        )
    reducer = TopPatchesReducer(layers, top=1)
    finished = run_reducer(
        model, model_trace, reducer, source, stage="dead channels",
        pass_options=PassOptions(progress=progress),
    )  # fmt: skip
    dead = {
        layer.layer: reducer.table(finished.state, layer.node)["images_fired"] == 0
        for layer in layers
    }
    shares = {name: float(is_dead.float().mean()) for name, is_dead in dead.items()}
    worst = max(shares, key=lambda name: shares[name])
    words = (
        f"{sum(int(is_dead.sum()) for is_dead in dead.values())} of "
        f"{sum(len(is_dead) for is_dead in dead.values()):,} channels are above 0 at no position "
        f"of {counted(finished.images_read, 'photo')}; most in {worst} ({percent(shares[worst])})"
    )
    status = BROKEN if limit is not None and shares[worst] > limit else FINE
    return CheckFinding("dead channels", status, words, shares[worst], limit)
