"""Findings about the network itself: weights that are not finite or untrained, dead channels."""

from convlens.analyses.model_check.result import BROKEN, CANNOT_TELL, FINE, CheckFinding
from convlens.analyses.patches.result import Patches
from convlens.analyses.weights_check.weights_check import check_weights
from convlens.models.model import Model
from convlens.runtime.guard import unwrap_network
from convlens.wording import counted, enumerated

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


def check_dead_channels(patches: Patches, limit: float | None) -> CheckFinding:
    """Whether any layer has more dead channels than the limit allows.

    Args:
        patches: the channels of all convolutions on the photos.
        limit: greatest share of a layer's channels that may be dead; None for no limit.
    """
    layers = [layer for layer in patches.layers if layer.post and layer.channels]
    if not layers:
        return CheckFinding(
            "dead channels", CANNOT_TELL, "no layer is read after a non-linearity", None, limit
        )
    if patches.images_read < _LEAST_PHOTOS:
        return CheckFinding(
            "dead channels", CANNOT_TELL,
            f"{counted(patches.images_read, 'photo')} do not tell; give at least {_LEAST_PHOTOS}",
            None, limit,
        )  # fmt: skip
    shares = {layer.layer: len(layer.dead) / layer.channels for layer in layers}
    worst = max(shares, key=lambda name: shares[name])
    dead = sum(len(layer.dead) for layer in layers)
    total = sum(layer.channels for layer in layers)
    words = (
        f"{dead} of {total:,} channels are above 0 at no position of "
        f"{counted(patches.images_read, 'photo')}; most in {worst} ({shares[worst]:.0%})"
    )
    status = BROKEN if limit is not None and shares[worst] > limit else FINE
    return CheckFinding("dead channels", status, words, shares[worst], limit)
