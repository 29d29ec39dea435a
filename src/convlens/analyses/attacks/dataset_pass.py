"""`robustness`: accuracy against epsilon over a data set, in one pass and bounded memory."""

from collections.abc import Sequence

import torch
from torch import Tensor

from convlens.analyses.attacks.criterion import check_loss, to_attackable
from convlens.analyses.attacks.diagnostics import (
    Diagnostic,
    compute_logits_again,
    find_diagnostics,
    is_in_training_mode,
)
from convlens.analyses.attacks.epsilon import Epsilon, parse_epsilons
from convlens.analyses.attacks.pgd import STEPS
from convlens.analyses.attacks.robustness import Robustness
from convlens.analyses.attacks.robustness_reducer import RobustnessReducer
from convlens.analyses.predictions.photo_labels import check_photo_labels
from convlens.analyses.predictions.predictions import compute_logits
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.gradients import enable_gradients
from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model, check_model
from convlens.passes.options import PassOptions
from convlens.passes.run import run_pass
from convlens.passes.source import PhotosOrImages, open_source, read_first_images
from convlens.results.network_result import keep_warnings
from convlens.runtime.fingerprints import fingerprint
from convlens.tracing.tracer import trace as trace_network

_DIAGNOSED_IMAGES = 4  # enough to see what is wrong with a network


@keep_warnings
@enable_gradients()
@fold_batch_norms()
def robustness(
    model: Model,
    photos: PhotosOrImages,
    epsilons: Epsilon | Sequence[Epsilon] = ("1/255", "2/255", "4/255", "8/255"),
    *,
    labels: PhotoLabels | None = None,
    loss: str = "cross-entropy",
    pgd_steps: int = STEPS,
    seed: int = 0,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> Robustness:
    """Measure accuracy against epsilon under FGSM, random signs and PGD, with 95 % intervals.

    Each image takes one gradient and two forward passes per epsilon. PGD takes up to `pgd_steps`
    passes forward and back per image and epsilon, and none where the prediction is already wrong.

    Args:
        model: the model to attack; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds.
        epsilons: the largest change of a pixel, one or several. A fraction as text ("8/255") is of
            the span of the bounds; a plain number is in the units of the image. Default: 1/255,
            2/255, 4/255 and 8/255.
        labels: for each photo the indices of the classes that are right, or None to leave the
            photo out. The first class is attacked, and a prediction of any of them is correct. For
            a network with one output 0, or -1 for "not class 0". Default: the network's own
            predictions are taken as right, and the curves begin at 100 %.
        loss: E: "cross-entropy", or "margin" (the highest other logit minus that of t). Default:
            "cross-entropy".
        pgd_steps: the number of steps of PGD; 0 leaves PGD out. Default: 10.
        seed: seed of the random signs and of PGD's random starts, drawn for each image by its
            number; default 0.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        pass_options: how the pass runs; see `PassOptions`. Its stage is `curve`. Default:
            `PassOptions()`.

    Returns:
        The three curves, and diagnostics of what makes them misleading.

    Raises:
        ConvlensError: if an epsilon, the loss, the steps or the labels cannot be used, no photo
            can be read, or the folder is of another pass.

    References:
        FGSM: see `fgsm`. PGD: see `pgd`.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> curves = convlens.robustness(model, torch.rand(5, 3, 8, 8), ["8/255"], pgd_steps=2)
        >>> [curve.name for curve in curves.curves], curves["FGSM"].correct[0]
        (['FGSM', 'random signs', 'PGD'], 5)
    """
    check_model(model)
    sizes = tuple(sorted({size for size in parse_epsilons(epsilons, model.bounds) if size > 0}))
    if not sizes:
        raise ConvlensError("no epsilon above 0; give at least one, such as 8/255")
    check_loss(loss)
    if pgd_steps < 0:
        raise ConvlensError(f"{pgd_steps} steps of PGD; give at least 1, or 0 to leave PGD out")
    source = open_source(model, photos, strict=strict)
    if labels is not None:
        _check_labels(model, labels, len(source))
    reducer = RobustnessReducer(model, sizes, labels, loss, pgd_steps, seed)
    finished = run_pass(
        model, reducer, source, stage="curve", pass_options=pass_options,
        settings={
            "analysis": "robustness", "epsilons": list(sizes), "loss": loss, "pgd_steps": pgd_steps,
            "seed": seed, "labels": fingerprint(labels),
        },
    )  # fmt: skip
    images = read_first_images(source, _DIAGNOSED_IMAGES).to(model.device)
    diagnostics = _diagnose(model, images, loss)
    return reducer.result(finished.state, tuple(finished.skipped.values()), diagnostics)


def _check_labels(model: Model, labels: PhotoLabels, photos: int) -> None:
    check_photo_labels(model, labels, photos)
    if not any(labels):
        raise ConvlensError("none of the photos has a label; give labels for some, or none at all")


@enable_gradients()
def _diagnose(model: Model, images: Tensor, loss: str) -> tuple[Diagnostic, ...]:
    """The diagnostics for which a few images suffice; the pass counts zero gradients itself."""
    images = to_attackable(images)
    trace = trace_network(model, images)
    return find_diagnostics(
        model,
        trace,
        images,
        compute_logits(model, trace, images),
        torch.zeros(len(images), dtype=torch.float32),
        logits_again=compute_logits_again(model, trace, images),
        in_training_mode=is_in_training_mode(model.network),
        loss=loss,
    )
