"""The fast gradient sign method (FGSM): x' = clip(x + epsilon sign(grad_x E(x, t))).

E is the cross-entropy of class t (Bishop & Bishop, Deep Learning, section 10.3; Goodfellow et al.,
Explaining and Harnessing Adversarial Examples, 2014) or a margin; for a network that ends in a
sigmoid it is the binary cross-entropy (see `criterion`). One gradient serves every epsilon. sign(0)
is 0: such pixels do not change. Towards a target class the sign is reversed.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from convlens.analyses.attacks.criterion import (
    AttackCriterion,
    ClassIndices,
    loss_gradient,
    to_attackable,
)
from convlens.analyses.attacks.diagnostics import (
    compute_logits_again,
    find_diagnostics,
    is_in_training_mode,
)
from convlens.analyses.attacks.epsilon import Epsilon, parse_epsilons
from convlens.analyses.attacks.fgsm_result import Fgsm
from convlens.analyses.attacks.steps import fgsm_step
from convlens.analyses.predictions.predictions import compute_logits
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.gradients import enable_gradients
from convlens.models.labels import class_names
from convlens.models.model import ImagesLike, Model, check_model
from convlens.models.output_head import predicted_classes
from convlens.results.network_result import keep_warnings
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network

# Images of the model's size that are made and scored in one call, which guards the network once.
# The network runs them in parts (`convlens.tracing.image_parts`).
_BATCH_SIZE = 64
# Images to score from which on a copy of the network with folded batch normalizations saves time.
# On two cores, making it takes as long as MobileNetV2 on 7 images, and it saves a tenth of each.
_LEAST_FOLDED = 64


@keep_warnings
@enable_gradients()
def fgsm(
    model: Model,
    images: ImagesLike,
    epsilons: Epsilon | Sequence[Epsilon] = ("1/255", "2/255", "4/255", "8/255"),
    *,
    classes: ClassIndices | None = None,
    labels: Sequence[int | None] | None = None,
    target: ClassIndices | None = None,
    loss: str = "cross-entropy",
    score: bool = True,
    control: bool = True,
    seed: int = 0,
) -> Fgsm:
    """Make adversarial images for all epsilons from one forward and one backward pass.

    At most one of `classes`, `labels` and `target` is given.

    Args:
        model: the model to attack; left untouched.
        images: `(N, C, H, W)` inside the bounds, or photos as `Model.prepare` takes them.
            Half precision is converted to float32, in which a pixel can change by epsilon and no
            more.
        epsilons: the largest change of a pixel, one or several. A fraction as text ("8/255") is of
            the span of the bounds; a plain number is in the units of the image. Default: 1/255,
            2/255, 4/255 and 8/255.
        classes: the class t to move away from, by name or index, one for all images or int64
            `(N,)`. Default: the network's prediction.
        labels: for each image the index of its right class, which is moved away from, or None to
            use the network's prediction; default: no labels.
        target: the class to move towards: E of it decreases. A network with one output has two
            classes, class 0 and -1 or "not NAME". Default: none.
        loss: E: "cross-entropy", or "margin" (the highest other logit minus that of t) for networks
            so confident that the gradient of their cross-entropy is 0. Default: "cross-entropy".
        score: run the network on every x' and measure the changes; default: True.
        control: if `score` is set, run the network also on random signs of the same size, and once
            more on the images, to see whether it predicts the same twice; default: True.
        seed: seed of the control's random signs; default 0.

    Returns:
        The signs, and for each epsilon the network's predictions.

    Raises:
        ConvlensError: if there is no epsilon; if an epsilon, a class or a loss cannot be used; or
            if the model does not take the images.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.3; Goodfellow, Shlens
        and Szegedy, "Explaining and Harnessing Adversarial Examples", 2014.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> attack = convlens.fgsm(model, torch.rand(2, 3, 8, 8), ["2/255", "8/255"])
        >>> attack.adversarial_logits.shape, attack.adversarial(-1).shape
        (torch.Size([2, 2, 4]), torch.Size([2, 3, 8, 8]))
    """
    check_model(model)
    images = model.to_images(images)
    sizes = parse_epsilons(epsilons, model.bounds)
    in_training_mode = is_in_training_mode(model.network)
    images = to_attackable(images)
    trace = trace_network(model, images)
    criterion = AttackCriterion(classes, labels, target, loss)
    # By the network itself, so that the signs are the same with and without scores.
    gradient = loss_gradient(model, trace, images, criterion)
    signs, logits = gradient.signs, gradient.logits
    scores: list[Tensor] = []
    largest: list[Tensor] = []
    noise_scores: list[Tensor] = []
    to_score = len(images) * len(sizes) * (1 + control) if score else 0
    with fold_batch_norms() if to_score >= _LEAST_FOLDED else nullcontext():
        if score:
            scores, largest = _score_steps(model, trace, images, signs, sizes)
        if score and control:
            noise_scores, _ = _score_steps(model, trace, images, _draw_signs(signs, seed), sizes)
    logits_again = compute_logits_again(model, trace, images) if score and control else None
    pixels = images[0].numel()
    zero_gradients = ((pixels - signs.abs().sum(dim=(1, 2, 3))) / pixels).cpu()
    adversarial_logits = torch.stack(scores).cpu() if score else None
    predictions = predicted_classes(logits, trace.output_head)
    adversarial_names = tuple(
        class_names(model.labels, predicted_classes(epsilon_logits, trace.output_head).tolist())
        for epsilon_logits in scores
    )
    return Fgsm(
        images=images.cpu(),
        signs=signs.to(torch.int8).cpu(),
        epsilons=tuple(sizes),
        fractions=tuple(size / model.span for size in sizes),
        classes=gradient.classes.cpu(),
        names=class_names(model.labels, gradient.classes.tolist()),
        class_origins=gradient.origins,
        loss=loss,
        losses=gradient.losses.float().cpu(),
        zero_gradients=zero_gradients,
        bounds=model.bounds,
        logits=logits.float().cpu(),
        adversarial_logits=adversarial_logits,
        noise_logits=torch.stack(noise_scores).cpu() if noise_scores else None,
        largest_changes=torch.stack(largest).cpu() if score else None,
        diagnostics=find_diagnostics(
            model,
            trace,
            images,
            logits,
            zero_gradients,
            logits_again=logits_again,
            in_training_mode=in_training_mode,
            loss=loss,
        ),
        output_head=trace.output_head,
        prediction_names=class_names(model.labels, predictions.tolist()),
        adversarial_names=adversarial_names,
    )


def _draw_signs(signs: Tensor, seed: int) -> Tensor:
    """Random signs where the gradient is not 0: the same pixels move, by the same amount."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, signs.shape, generator=generator, dtype=torch.int8)
    return bits.mul_(2).sub_(1).to(signs) * signs.abs()


def _score_steps(
    model: Model, trace: Trace, images: Tensor, signs: Tensor, sizes: Sequence[float]
) -> tuple[list[Tensor], list[Tensor]]:
    """The logits after steps of several sizes, and the largest changes, `(N,)` for each size.

    Several sizes are scored in one call where there are few images that are not larger than usual.
    """
    logits: list[Tensor] = []
    largest: list[Tensor] = []
    usual = model.size[0] * model.size[1]
    pixels = images.shape[0] * images.shape[2] * images.shape[3]
    at_once = max(1, _BATCH_SIZE * usual // pixels) if trace.takes_batches else 1
    for first in range(0, len(sizes), at_once):
        steps = [
            fgsm_step(images, signs, size, model.bounds) for size in sizes[first : first + at_once]
        ]
        batch = torch.cat(steps) if len(steps) > 1 else steps[0]
        logits += compute_logits(model, trace, batch).split(len(images))
        largest += [step.sub_(images).abs_().amax(dim=(1, 2, 3)) for step in steps]
    return logits, largest
