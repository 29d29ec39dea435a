"""Diagnostics: what makes a network look stronger or weaker under attack than it is, by name."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convlens.analyses.predictions.predictions import class_scores
from convlens.models.model import Model
from convlens.models.output_head import predicted_classes
from convlens.results import Result
from convlens.runtime.guard import untouched
from convlens.tracing.trace import Trace

ZERO_GRADIENTS = "zero gradients"
SOFTMAX = "softmax outputs given as logits"
ONE = "one output"
RANDOMNESS = "randomness in the network"
TRAINING = "training mode"
BOUNDS = "images that fill little of the bounds"
MASKED = "masked gradients"
FLATTERED = "stronger under FGSM than under PGD"

_BLIND = 0.5  # share of an image's gradient that is exactly 0 from which on that is worth a word
_FILLED = 0.02  # share of the bounds that images of other units stay within
_SAME = 1e-3  # of the logits' deviation; evaluations may differ by so much through rounding
_SUM = 1e-3  # that probabilities in half precision may be off one


@dataclass(frozen=True, eq=False)
class Diagnostic(Result):
    """Something that speaks against trusting a measure of robustness.

    Attributes:
        name: of the trouble.
        message: what was found, with its numbers.
        remedy: what to do.
    """

    name: str
    message: str
    remedy: str


def find_diagnostics(
    model: Model,
    found: Trace,
    images: Tensor,
    logits: Tensor,
    zero_gradients: Tensor,
    *,
    again: Tensor | None = None,
    training: bool = False,
    loss: str = "cross-entropy",
) -> tuple[Diagnostic, ...]:
    """What is wrong with an attack on these images, if anything; pixels out of bounds raise.

    Args:
        model: that is attacked.
        found: its trace.
        images: `(N, C, H, W)`.
        logits: `(N, classes)`, to which gradients were taken.
        zero_gradients: `(N,)`, share of each image's gradient that is exactly 0.
        again: logits of another evaluation, if there was one.
        training: the network was in training mode when it was handed over.
        loss: E, "cross-entropy" or "margin".
    """
    told = [
        zero(int((zero_gradients > _BLIND).sum()), len(images), loss),
        _softmax(found, logits.float()),
        _one(found),
        None if again is None else _randomness(logits.float(), again, found.output_head),
        training_mode() if training else None,
        _filled(model, images),
    ]
    return tuple(one for one in told if one is not None)


def answer_twice(model: Model, found: Trace, images: Tensor) -> Tensor:
    """Logits of another evaluation, with other random numbers than an earlier one had."""
    with untouched(model.network):
        torch.manual_seed(0x5EED)
        random.seed(0x5EED)
        np.random.seed(0x5EED)
        return class_scores(model, found, images)


def in_training(network: nn.Module) -> bool:
    """Whether a module that minds its mode (dropout, batch norm, code that asks) is in training."""
    return any(
        module.training
        and "training" in getattr(getattr(type(module).forward, "__code__", None), "co_names", ())
        for module in network.modules()
    )


def zero(blind: int, images: int, loss: str) -> Diagnostic | None:
    """What is to be said where `blind` of so many images have a gradient that is mostly 0."""
    if not blind:
        return None
    other = (
        'take the margin (loss="margin", --loss margin), whose gradient stays where '
        "probabilities are exactly 0 and 1"
        if loss == "cross-entropy"
        else "look for rounding, clamping or dead ReLUs before the place where gradients stop"
    )
    return Diagnostic(
        ZERO_GRADIENTS,
        f"over half of the gradient is exactly 0 in {blind} of {images} images: pixels there do "
        f"not move, and the network looks stronger than it is",
        f"{other}; compare with PGD and with random signs",
    )


def training_mode() -> Diagnostic:
    """What is to be said of a network that was handed over in training mode."""
    return Diagnostic(
        TRAINING,
        "the network was in training mode; it was attacked in evaluation mode, so that batch norm "
        "and dropout do as after training",
        "call network.eval() wherever its answers are compared with these",
    )


def flattered(broken: int, standing: int, size: str, *, like_noise: bool) -> Diagnostic:
    """What is to be said where PGD breaks answers that stand under FGSM of the same size.

    Args:
        broken: how many PGD breaks.
        standing: of how many.
        size: of both, in words.
        like_noise: FGSM breaks no more than random signs do, so that its gradients tell nothing.
    """
    sentence = f"PGD breaks {broken} of the {standing} answers that FGSM of {size} leaves standing"
    if like_noise:
        return Diagnostic(
            MASKED,
            f"{sentence}, and FGSM breaks no more than random signs do: the gradient at the image "
            f"tells nothing of what is near it",
            "do not call this network robust; judge it by PGD, with more steps and several seeds",
        )
    return Diagnostic(
        FLATTERED,
        f"{sentence}: FGSM alone flatters this network",
        "judge it by PGD, not by FGSM",
    )


def _softmax(found: Trace, logits: Tensor) -> Diagnostic | None:
    """Rows that are probabilities, though nothing that the trace knows as a softmax made them."""
    sums = logits.sum(dim=1)
    if logits.shape[1] == 1:
        return None
    if bool((logits < 0).any()) or bool(((sums - 1).abs() > _SUM).any()):
        return None
    return Diagnostic(
        SOFTMAX,
        f"the outputs at {found.name(found.logits)} are probabilities (not negative, of sum 1), "
        f"not logits: a softmax of them has next to no gradient",
        "return what the softmax is given; one at the end of the network that torch runs as such "
        "is found and left out by itself",
    )


def _one(found: Trace) -> Diagnostic | None:
    """One output that may be a logit or any other number: nothing in the network says which."""
    if found.final_activation or found.num_outputs != 1:
        return None
    return Diagnostic(
        ONE,
        "one output without sigmoid is read as a logit: the answer flips where it crosses 0",
        "leave this aside if the network gives a quantity (a regression) and no yes or no; if it "
        "gives a probability, let torch.sigmoid be its last operation",
    )


def _randomness(logits: Tensor, again: Tensor, output_head: str) -> Diagnostic | None:
    apart = float((logits - again.to(logits)).abs().max())
    size = logits.std() if logits.numel() > 1 else logits.abs().max()
    if apart <= _SAME * max(float(size), 1e-6):
        return None
    flipped = int(
        (
            predicted_classes(logits, output_head)
            != predicted_classes(again.to(logits), output_head)
        ).sum()
    )
    return Diagnostic(
        RANDOMNESS,
        f"evaluated twice on the same images the logits differ by up to {apart:.2g}, and "
        f"{flipped} of {len(logits)} answers with them: one gradient is of one draw only",
        "switch the noise off, or attack the average over many draws",
    )


def _filled(model: Model, images: Tensor) -> Diagnostic | None:
    low, high = (float(value) for value in torch.aminmax(images))
    if high - low > _FILLED * model.span or high == low:
        return None
    return Diagnostic(
        BOUNDS,
        f"pixels of {low:.3g} to {high:.3g} fill {(high - low) / model.span:.1%} of the bounds "
        f"{model.bounds[0]:g} to {model.bounds[1]:g}, of which an epsilon is a fraction",
        "set the bounds to those of the pixels, or give pixels in the units of the bounds",
    )
