"""The fast gradient sign method: x' = x + epsilon sign(grad_x E(x, t)), clipped to the bounds.

E is the cross-entropy of class t (Bishop & Bishop, Deep Learning, section 10.3; Goodfellow et al.
2014). One gradient serves every epsilon. sign(0) is 0: such pixels are not changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.errors import ConvlensError
from convlens.guard import untouched
from convlens.images import to_pixels
from convlens.labels import class_index, class_name
from convlens.model import Model
from convlens.probe import observe, recording
from convlens.results import Result
from convlens.tracing import trace
from convlens.views.answers import as_scores, class_scores

Epsilon = float | str


@dataclass(frozen=True, eq=False)
class Fgsm(Result):
    """Adversarial images for several epsilons, and what the network says to them.

    Attributes:
        images: float32 `(N, C, H, W)`, as given.
        signs: int8 `(N, C, H, W)`, sign of the gradient.
        epsilons: largest change of a pixel, in the image's units.
        fractions: the same, of the span of the bounds.
        against: int64 `(N,)`, the class t whose cross-entropy grows.
        names: of those classes.
        against_is: "prediction", or "given".
        loss: float32 `(N,)`, E of the images.
        zero_gradients: float32 `(N,)`, share of the pixels whose gradient is exactly 0.
        bounds: of the images.
        logits: float32 `(N, classes)` of the images.
        adversarial_logits: float32 `(E, N, classes)`, or None where they were not scored.
        noise_logits: the same for random signs of the same size, the control.
        largest_changes: float32 `(E, N)`, max |x' - x| as measured, in the image's units.
    """

    images: Tensor
    signs: Tensor
    epsilons: tuple[float, ...]
    fractions: tuple[float, ...]
    against: Tensor
    names: tuple[str, ...]
    against_is: str
    loss: Tensor
    zero_gradients: Tensor
    bounds: tuple[float, float]
    logits: Tensor
    adversarial_logits: Tensor | None
    noise_logits: Tensor | None
    largest_changes: Tensor

    def adversarial(self, index: int) -> Tensor:
        """The images x' at `epsilons[index]`, float32 `(N, C, H, W)`."""
        return step(self.images, self.signs, self.epsilons[index], self.bounds)

    @property
    def flipped(self) -> Tensor | None:
        """Bool `(E, N)`: the answer to x' is another than that to x. None where not scored."""
        if self.adversarial_logits is None:
            return None
        return self.adversarial_logits.argmax(2) != self.logits.argmax(1)

    @property
    def noise_flipped(self) -> Tensor | None:
        """The same for random signs."""
        if self.noise_logits is None:
            return None
        return self.noise_logits.argmax(2) != self.logits.argmax(1)

    def pictures(self) -> dict[str, Tensor]:
        """Each adversarial image, and the signs (mid-grey is unchanged)."""
        found = {}
        for number, fraction in enumerate(self.fractions):
            for image, pixels in enumerate(to_pixels(self.adversarial(number), self.bounds)):
                found[f"{image}-epsilon-{fraction * 255:.3g}of255"] = pixels.expand(-1, -1, 3)
        for image, signs in enumerate(self.signs):
            grey = (signs.float() * 127 + 128).to(torch.uint8).permute(1, 2, 0)
            found[f"{image}-signs"] = grey.expand(-1, -1, 3)
        return found


@recording()
def fgsm(
    model: Model,
    images: Tensor,
    epsilons: Sequence[Epsilon] = ("1/255", "2/255", "4/255", "8/255"),
    *,
    classes: Tensor | str | int | None = None,
    score: bool = True,
    seed: int = 0,
) -> Fgsm:
    """Adversarial images for all epsilons from one forward and one backward pass.

    Args:
        model: the model, left untouched.
        images: `(N, C, H, W)` inside the bounds.
        epsilons: largest change of a pixel. A fraction as text ("8/255") is of the span of the
            bounds, a number is in the image's units.
        classes: the class t to move away from, one for all or int64 `(N,)`; default: the one that
            the network answers.
        score: run the network on every x' and on the control as well.
        seed: of the control's random signs.

    Raises:
        ConvlensError: an epsilon or a class that cannot be used, or images that the model does
            not take.
    """
    sizes = [epsilon_size(epsilon, model.bounds) for epsilon in epsilons]
    found = trace(model, images)
    leaf = images.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    # Guarded to the end: a network may compute parts of itself again in the backward pass.
    with untouched(model.network):
        raw = as_scores(model, observe(model, found, leaf, [found.logits])[found.logits])
        against = _classes(model, raw.detach(), classes)
        # The sum, not the mean: an image's gradient must not depend on how many are beside it.
        losses = F.cross_entropy(raw, against, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    # One pass that keeps nothing; NaN comes through it as well.
    if not all(value.isfinite() for value in torch.aminmax(gradient)):
        raise ConvlensError(f"the gradient of {model.name} to the image is not finite")
    signs = gradient.sign()
    source = images.detach()
    values, largest, scores = source[0].numel(), [], []
    for size in sizes:  # one at a time: memory that is used again is not cleared again
        changed = step(source, signs, size, model.bounds)
        if score:
            scores.append(class_scores(model, found, changed))
        largest.append(changed.sub_(source).abs_().amax(dim=(1, 2, 3)))
    scored, noise = None, None
    if score:
        generator = torch.Generator().manual_seed(seed)
        # Random signs where the gradient has one: the same pixels move, by the same amount.
        drawn = torch.randint(0, 2, source.shape, generator=generator) * 2 - 1
        random = drawn.to(signs) * signs.abs()
        scored = torch.stack(scores).cpu()
        noise = torch.stack(
            [class_scores(model, found, step(source, random, size, model.bounds)) for size in sizes]
        ).cpu()
    return Fgsm(
        images=source.cpu(),
        signs=signs.to(torch.int8).cpu(),
        epsilons=tuple(sizes),
        fractions=tuple(size / model.span for size in sizes),
        against=against.cpu(),
        names=tuple(class_name(model.labels, index) for index in against.tolist()),
        against_is="prediction" if classes is None else "given",
        loss=losses.detach().float().cpu(),
        zero_gradients=((values - signs.abs().sum(dim=(1, 2, 3))) / values).cpu(),
        bounds=model.bounds,
        logits=raw.detach().float().cpu(),
        adversarial_logits=scored,
        noise_logits=noise,
        largest_changes=torch.stack(largest).cpu(),
    )


def step(images: Tensor, signs: Tensor, size: float, bounds: tuple[float, float]) -> Tensor:
    """X + size * signs, clipped to the bounds."""
    return torch.add(images, signs, alpha=size).clamp_(bounds[0], bounds[1])


def epsilon_size(epsilon: Epsilon, bounds: tuple[float, float]) -> float:
    """An epsilon in the image's units: "8/255" is of the span, a number stands as it is.

    Raises:
        ConvlensError: not a number, negative, or larger than the span.
    """
    span = bounds[1] - bounds[0]
    try:
        if isinstance(epsilon, str) and "/" in epsilon:
            above, below = epsilon.split("/")
            size = span * float(above) / float(below)
        else:
            size = float(epsilon)
    except (ValueError, ZeroDivisionError):
        raise ConvlensError(
            f"epsilon {epsilon!r} is not a number; write 8/255, or a number in image units"
        ) from None
    if not 0 <= size <= span:
        raise ConvlensError(
            f"epsilon {epsilon} is {size:g} in image units, outside 0 to {span:g}; "
            f"write 8/255 for eight grey levels"
        )
    return size


def _classes(model: Model, logits: Tensor, classes: Tensor | str | int | None) -> Tensor:
    """int64 `(N,)`."""
    count, known = logits.shape
    if classes is None:
        return logits.argmax(dim=1)
    if isinstance(classes, Tensor):
        if classes.shape != (count,):
            raise ConvlensError(f"classes of shape {tuple(classes.shape)} for {count} images")
        if bool((classes < 0).any() or (classes >= known).any()):
            raise ConvlensError(f"a class outside 0 to {known - 1}")
        return classes.long().to(logits.device)
    index = class_index(model.labels, classes, known)
    return torch.full((count,), index, device=logits.device)
