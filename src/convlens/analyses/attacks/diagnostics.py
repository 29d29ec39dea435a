"""Diagnostics: conditions, each with a name, under which a measure of robustness is misleading.

The idea is that of AutoAttack's checks (Croce & Hein, Reliable Evaluation of Adversarial Robustness
with an Ensemble of Diverse Parameter-Free Attacks, 2020): a diagnostic says what was found and what
to do about it.
"""

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convlens.analyses.predictions.predictions import compute_logits
from convlens.models.model import Model
from convlens.models.output_head import predicted_classes
from convlens.passes.mcnemar import mcnemar_p_value
from convlens.results import Result
from convlens.runtime.extrema import extrema
from convlens.runtime.guard import preserve_network
from convlens.tracing.trace import Trace
from convlens.wording import counted, percent

ZERO_GRADIENTS = "zero gradients"
NO_LOGITS = "outputs that are no logits"
ONE_OUTPUT = "one output"
RANDOMNESS = "randomness in the network"
TRAINING_MODE = "training mode"
NARROW_IMAGES = "images that fill little of the bounds"
BATCH_DEPENDENCE = "results depend on the batch"
MASKED_GRADIENTS = "masked gradients"
STRONGER_UNDER_FGSM = "stronger under FGSM than under PGD"
ATTACKS_DISAGREE = "FGSM and PGD disagree"

_MOSTLY_ZERO = 0.5  # share of an image's gradient that is exactly 0, from which it is reported
_NARROW = 0.02  # share of the bounds; images in other units stay within it
_SIGNIFICANCE = 0.05  # of the test whether PGD changes more predictions than FGSM
_SAME_LOGITS = 1e-3  # in standard deviations of the logits; rounding may change as much


@dataclass(frozen=True, eq=False)
class Diagnostic(Result):
    """A reason not to trust a measure of robustness.

    Attributes:
        name: the name of the condition.
        message: what was found, with its numbers.
        remedy: what to do.
    """

    name: str
    message: str
    remedy: str


def find_diagnostics(
    model: Model,
    trace: Trace,
    images: Tensor,
    logits: Tensor,
    zero_gradients: Tensor,
    *,
    logits_again: Tensor | None = None,
    in_training_mode: bool = False,
    loss: str = "cross-entropy",
) -> tuple[Diagnostic, ...]:
    """Find the conditions under which an attack on these images is misleading.

    Args:
        model: the attacked model.
        trace: its trace.
        images: `(N, C, H, W)`.
        logits: `(N, classes)`, from which gradients were computed.
        zero_gradients: `(N,)`, the share of each image's gradient that is exactly 0.
        logits_again: `(N, classes)` of a second evaluation; default: there was none.
        in_training_mode: whether the network was in training mode when it was passed in;
            default: False.
        loss: E, "cross-entropy" or "margin"; default: "cross-entropy".
    """
    mostly_zero = int((zero_gradients > _MOSTLY_ZERO).sum())
    diagnostics = [
        diagnose_zero_gradients(mostly_zero, len(images), loss),
        _diagnose_outputs(trace),
        _diagnose_one_output(trace),
        None
        if logits_again is None
        else _diagnose_randomness(logits.float(), logits_again, trace.output_head),
        _diagnose_training_mode() if in_training_mode else None,
        _diagnose_narrow_images(model, images),
        _diagnose_batch_dependence(trace),
    ]
    return tuple(diagnostic for diagnostic in diagnostics if diagnostic is not None)


def compute_logits_again(model: Model, trace: Trace, images: Tensor) -> Tensor:
    """Logits of a second evaluation, `(N, classes)`, with other random numbers than the first."""
    with preserve_network(model.network):
        torch.manual_seed(0x5EED)
        random.seed(0x5EED)
        np.random.seed(0x5EED)
        return compute_logits(model, trace, images)


def is_in_training_mode(network: nn.Module) -> bool:
    """Whether a module whose forward reads `training` (dropout, batch norm) is in training mode."""
    return any(
        module.training
        and "training" in getattr(getattr(type(module).forward, "__code__", None), "co_names", ())
        for module in network.modules()
    )


def diagnose_zero_gradients(mostly_zero: int, images: int, loss: str) -> Diagnostic | None:
    """The diagnostic for images whose gradient is mostly 0; None if there are none.

    Args:
        mostly_zero: the number of images with a gradient that is mostly 0.
        images: the number of images.
        loss: E, "cross-entropy" or "margin".
    """
    if not mostly_zero:
        return None
    advice = (
        'take the margin (loss="margin", --loss margin), whose gradient stays where '
        "probabilities are exactly 0 and 1"
        if loss == "cross-entropy"
        else "look for rounding, clamping or dead ReLUs before the place where gradients stop"
    )
    return Diagnostic(
        ZERO_GRADIENTS,
        f"over half of the gradient is exactly 0 in {mostly_zero} of {counted(images, 'image')}: "
        f"pixels there do not move, and the network looks stronger than it is",
        f"{advice}; compare with PGD and with random signs",
    )


def diagnose_pgd(
    pgd_only: int,
    fgsm_only: int,
    standing: int,
    epsilon: str,
    *,
    labeled: bool,
    fgsm_like_noise: bool,
) -> Diagnostic:
    """The diagnostic for predictions that hold under FGSM and change under PGD of the same size.

    Args:
        pgd_only: the number of predictions that hold under FGSM and that PGD changes.
        fgsm_only: the number of predictions that hold under PGD and that FGSM changes.
        standing: the number of predictions that hold under FGSM.
        epsilon: epsilon of both attacks, in words.
        labeled: a prediction holds if it is right, and not only if it is unchanged.
        fgsm_like_noise: FGSM changes no more predictions than random signs do, so its gradients
            carry no information.
    """
    of = f"{pgd_only} of {counted(standing, 'prediction')}"
    message = (
        f"PGD makes {of} wrong that {'stays' if standing == 1 else 'stay'} right under FGSM at "
        f"{epsilon}"
        if labeled
        else f"PGD changes {of} that FGSM at {epsilon} does not change"
    )
    if mcnemar_p_value(fgsm_only, pgd_only, "greater") >= _SIGNIFICANCE:
        return Diagnostic(
            ATTACKS_DISAGREE,
            f"{message}, which is too few to tell how much weaker FGSM is",
            "attack more images; until then take the lower accuracy of both attacks",
        )
    if fgsm_like_noise:
        return Diagnostic(
            MASKED_GRADIENTS,
            f"{message}, and FGSM changes no more than random signs do: the gradient at the image "
            f"does not describe the loss in its neighborhood",
            "do not call this network robust; judge it by PGD, with more steps and several seeds",
        )
    return Diagnostic(
        STRONGER_UNDER_FGSM,
        f"{message}, so FGSM alone overstates robustness here",
        "judge it by PGD, not by FGSM",
    )


def _diagnose_training_mode() -> Diagnostic:
    return Diagnostic(
        TRAINING_MODE,
        "the network was in training mode; it was attacked in evaluation mode, so that batch norm "
        "and dropout behave as after training",
        "call network.eval() wherever its predictions are compared with these",
    )


def _diagnose_outputs(trace: Trace) -> Diagnostic | None:
    """Outputs that are probabilities or come from them, and no logits can be found before them."""
    if not trace.reading.warning:
        return None
    return Diagnostic(
        NO_LOGITS,
        trace.reading.warning,
        "return the logits, the input of the softmax or sigmoid; where one is the last operation, "
        "it is found and left out automatically",
    )


def _diagnose_one_output(trace: Trace) -> Diagnostic | None:
    """One output, which may be a logit or any other number: the network does not say which."""
    if trace.final_activation or trace.num_outputs != 1:
        return None
    return Diagnostic(
        ONE_OUTPUT,
        "one output without sigmoid is read as a logit: the answer flips where it crosses 0",
        "ignore these results if the network returns a quantity (a regression) and not a yes or "
        "no; if it returns a probability, let torch.sigmoid be its last operation",
    )


def _diagnose_randomness(
    logits: Tensor, logits_again: Tensor, output_head: str
) -> Diagnostic | None:
    difference = float((logits - logits_again.to(logits)).abs().max())
    scale = logits.std() if logits.numel() > 1 else logits.abs().max()
    if difference <= _SAME_LOGITS * max(float(scale), 1e-6):
        return None
    flipped = int(
        (
            predicted_classes(logits, output_head)
            != predicted_classes(logits_again.to(logits), output_head)
        ).sum()
    )
    return Diagnostic(
        RANDOMNESS,
        f"evaluated twice on the same images the logits differ by up to {difference:.2g}, and "
        f"{flipped} of {counted(len(logits), 'prediction')} with them: one gradient is of one draw "
        f"only",
        "switch the noise off, or attack the average over many draws",
    )


def _diagnose_narrow_images(model: Model, images: Tensor) -> Diagnostic | None:
    low, high = extrema(images)
    if high - low > _NARROW * model.span or high == low:
        return None
    return Diagnostic(
        NARROW_IMAGES,
        f"pixels of {low:.3g} to {high:.3g} fill {percent((high - low) / model.span, 1)} of the "
        f"bounds {model.bounds[0]:g} to {model.bounds[1]:g}, of which an epsilon is a fraction",
        "set the bounds to those of the pixels, or give pixels in the units of the bounds",
    )


def _diagnose_batch_dependence(trace: Trace) -> Diagnostic | None:
    if not trace.depends_on_batch:
        return None
    return Diagnostic(
        BATCH_DEPENDENCE,
        "the logits of an image depend on the other images of its batch (batch normalization "
        "without running statistics does this), so each image is attacked through the others, too",
        "attack the images one by one",
    )
