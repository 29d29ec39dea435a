"""`missing_settings`: what a model was not given, although its results depend on it."""

import torch

from convlens.analyses.weights_check.weights_check import check_weights
from convlens.models.model import Model, check_model
from convlens.runtime.convolution_call import find_convolution_call

_GRAY = 0.37  # of the span; no usual normalization leaves this value as it is
_TOLERANCE = 0.01  # also for networks with half precision


def missing_settings(model: Model, *, weights: bool = True) -> tuple[str, ...]:
    """What a model was not given: a normalization, class names, trained weights.

    Args:
        model: the model; left untouched. The network is run up to its first convolution.
        weights: whether to look at the weights too, as `check_weights` does; default: True.

    Returns:
        A sentence for each of them, which says what was assumed and how to give it; none if nothing
        is missing. A network that normalizes its images itself needs no normalization.

    Example:
        >>> import torch, convlens
        >>> model = convlens.wrap(torch.nn.Conv2d(3, 2, 1), size=8, labels=["cat", "dog"])
        >>> [sentence.partition(":")[0] for sentence in convlens.missing_settings(model)]
        ['no normalization is set']
    """
    check_model(model)
    sentences = []
    if not _normalizes(model):
        low, high = model.bounds
        sentences.append(
            f"no normalization is set: the network gets pixels of {low:g} to {high:g} as they are; "
            f"if it was trained with a mean and a standard deviation, give them by "
            f"convlens.wrap(network, mean=..., std=...)"
        )
    if model.labels is None:
        sentences.append(
            "no class names are set: classes are shown by their index; give --class-names FILE, in "
            "Python convlens.load(..., class_names=FILE) or convlens.wrap(..., labels=[...])"
        )
    if weights and (check := check_weights(model)).untrained:
        sentences.append(check.summary())
    return tuple(sentences)


def _normalizes(model: Model) -> bool:
    """Whether pixels change before the first convolution, by the model or by its network."""
    gray = model.bounds[0] + _GRAY * model.span
    image = torch.full((1, model.channels, *model.size), gray, dtype=torch.float32)
    normalized = model.normalize(image.to(model.device))
    if not torch.allclose(normalized.float().cpu(), image, rtol=_TOLERANCE):
        return True
    try:
        call = find_convolution_call(model.network, normalized)
    except Exception:  # a network that does not run is reported where it has to
        return False
    return call is not None and abs(float(call.inputs.max()) - gray) > _TOLERANCE * abs(gray)
