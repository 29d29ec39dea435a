"""Targets: the numbers of a network's output that a Grad-CAM explains.

For a vector of class scores that is the logit of a class, or of one class less that of another.
Where the output is a map with a score of each class at each pixel (segmentation), it is the mean
logit of a class over the pixels whose answer it is. Seg-Grad-CAM (Vinogradova et al. 2020) takes
their sum, which is that times their number, so that its maps grow with the object. Anything else
is given as a function of the output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.predictions.predictions import check_logits, check_no_nan
from convlens.errors import ConvlensError
from convlens.models.labels import class_name, find_class_pair
from convlens.models.model import Model
from convlens.models.output_head import SIGMOID, predicted_classes, probabilities

ClassSelection = str | int | Sequence[str | int] | Tensor
TargetFunction = Callable[[Tensor], Tensor]

NONE = -1  # in place of a class


@dataclass(frozen=True)
class ExplanationTarget:
    """What is explained of one batch.

    Attributes:
        outputs: `(N, ...)`, with its graph.
        directions: `(K, N, ...)`, the weights of the K sums over `outputs` that are explained.
        classes: int64 `(N, K)`; -1 for a target of one's own.
        against: int64 `(N, K)`, the class that is subtracted, or -1.
        names: of the targets, by image.
        scores: float32 `(N, K)`, the sums.
        probabilities: float32 `(N, K)`; NaN for a target of one's own.
    """

    outputs: Tensor
    directions: Tensor
    classes: Tensor
    subtracted: Tensor
    names: tuple[tuple[str, ...], ...]
    scores: Tensor
    probabilities: Tensor


def resolve_target(
    model: Model,
    output: Tensor,
    *,
    output_head: str,
    classes: ClassSelection | None,
    top: int,
    pixel: tuple[int, int] | None = None,
    target: TargetFunction | None = None,
) -> ExplanationTarget:
    """What is to be explained of the output `(N, classes)` or `(N, classes, H, W)` of a batch.

    Args:
        model: whose output it is.
        output: with its graph, before any softmax or sigmoid.
        output_head: by which of them logits become probabilities.
        classes: as for `gradcam`.
        top: likewise.
        pixel: likewise.
        target: likewise.

    Raises:
        ConvlensError: whatever does not fit the output, or each other.
    """
    if target is not None:
        if classes is not None or pixel is not None:
            raise ConvlensError("a target of one's own and a class or a pixel; give one of them")
        return _own(model, check_no_nan(model, output), target)
    if output.ndim == 4 and output.shape[2:].numel() > 1 and output.is_floating_point():
        output = check_no_nan(model, output)
        if pixel is None:
            return _areas(model, output, output_head, classes, top)
        height, width = output.shape[2:]
        y, x = pixel
        if not (0 <= y < height and 0 <= x < width):
            raise ConvlensError(
                f"pixel {y},{x} of an output of {height} x {width}; give 0,0 to "
                f"{height - 1},{width - 1}"
            )
        output = output[:, :, y, x]
    elif pixel is not None:
        raise ConvlensError(
            f"a pixel is asked for, and {model.name} gives {tuple(output.shape[1:])} for each "
            f"image: one answer, not one for each pixel"
        )
    return _scores(model, check_logits(model, output), output_head, classes, top)


def _scores(
    model: Model, logits: Tensor, output_head: str, classes: ClassSelection | None, top: int
) -> ExplanationTarget:
    """Class scores `(N, classes)`.

    Of two classes, where only these are possible, the sigmoid of their difference is the
    probability of the first under either link.
    """
    plain = logits.detach()
    if classes is None:
        _check_top(top, logits.shape[1])
        chosen = plain.topk(top, dim=1).indices
        subtracted = torch.full_like(chosen, NONE)
    else:
        chosen, subtracted = _chosen(model, logits, classes)
    directions = torch.zeros(chosen.shape[1], *logits.shape).to(plain)
    directions.scatter_(2, chosen.T.unsqueeze(2), 1)
    minus = torch.zeros_like(directions)
    minus.scatter_(2, subtracted.clamp(min=0).T.unsqueeze(2), 1)
    two = subtracted != NONE
    directions -= minus * two.T.unsqueeze(2)
    scores = plain.float()
    own = scores.gather(1, chosen) - scores.gather(1, subtracted.clamp(min=0)) * two
    share = probabilities(scores, output_head).gather(1, chosen)
    return _explanation_target(
        model, logits, directions, chosen, subtracted, own, share.where(~two, own.sigmoid())
    )


def _areas(
    model: Model, logits: Tensor, output_head: str, classes: ClassSelection | None, top: int
) -> ExplanationTarget:
    """Scores of each class at each pixel `(N, classes, H, W)`.

    Under a sigmoid a pixel may answer several classes, or none: each whose logit is above 0.
    """
    plain = logits.detach().float()
    count, known = plain.shape[:2]
    said = None if output_head == SIGMOID else predicted_classes(plain, output_head)
    if classes is None:
        _check_top(top, known)
        sizes = torch.stack([
            (plain[:, one] > 0 if said is None else said == one).sum(dim=(1, 2))
            for one in range(known)
        ], dim=1)  # fmt: skip
        # Of equal areas, so where a class is the answer nowhere too, the first.
        chosen = sizes.sort(dim=1, descending=True, stable=True).indices[:, :top]
        subtracted = torch.full_like(chosen, NONE)
    else:
        chosen, subtracted = _chosen(model, logits, classes)
    probability = probabilities(plain, output_head)
    rows = torch.arange(count, device=logits.device)
    sums, shares = [], []
    for one, other in zip(chosen.T, subtracted.T, strict=True):
        mask = plain[rows, one] > 0 if said is None else said == one.view(-1, 1, 1)
        area = mask.sum(dim=(1, 2)).clamp(min=1)
        two = (other != NONE).view(-1, 1, 1)
        difference = logits[rows, one] - logits[rows, other.clamp(min=0)] * two
        sums.append((difference * mask).sum(dim=(1, 2)) / area)
        share = probability[rows, one].where(~two, difference.detach().float().sigmoid())
        shares.append((share * mask).sum(dim=(1, 2)) / area)
    outputs = torch.stack(sums, dim=1)
    own = outputs.detach().float()
    return _explanation_target(
        model, outputs, _each(outputs), chosen, subtracted, own, torch.stack(shares, dim=1)
    )  # fmt: skip


def _own(model: Model, output: Tensor, target: TargetFunction) -> ExplanationTarget:
    sums = target(output)
    if not isinstance(sums, Tensor) or not sums.is_floating_point():
        what = f"type {sums.dtype}" if isinstance(sums, Tensor) else type(sums).__name__
        raise ConvlensError(
            f"the target gives {what}; a tensor of floating-point numbers is needed"
        )
    if sums.ndim not in (1, 2) or len(sums) != len(output) or 0 in sums.shape:
        raise ConvlensError(
            f"the target gives {tuple(sums.shape)} for {len(output)} images; give "
            f"({len(output)},), or ({len(output)}, K) for several at once"
        )
    if output.requires_grad and not sums.requires_grad:
        raise ConvlensError(
            "the target gives numbers without a gradient; compute them by torch from the output "
            "that it is given, without detach or item"
        )
    sums = sums.view(len(output), -1)
    own = sums.detach().float()
    if not bool(own.isfinite().all()):
        raise ConvlensError("the target gives NaN or infinity")
    nobody = torch.full(sums.shape, NONE)
    count = sums.shape[1]
    names = tuple(f"target {rank}" for rank in range(1, count + 1)) if count > 1 else ("target",)
    return ExplanationTarget(
        sums, _each(sums), nobody, nobody.clone(), (names,) * len(sums), own,
        torch.full_like(own, torch.nan),
    )  # fmt: skip


def _each(sums: Tensor) -> Tensor:
    """Directions `(K, N, K)` that part the K columns of `sums` `(N, K)`."""
    count, several = sums.shape
    return torch.eye(several).to(sums.detach())[:, None].expand(-1, count, -1)


def _explanation_target(
    model: Model,
    outputs: Tensor,
    directions: Tensor,
    chosen: Tensor,
    subtracted: Tensor,
    scores: Tensor,
    probabilities: Tensor,
) -> ExplanationTarget:
    names = tuple(
        tuple(difference_name(model, one, other) for one, other in zip(*row, strict=True))
        for row in zip(chosen.tolist(), subtracted.tolist(), strict=True)
    )
    return ExplanationTarget(outputs, directions, chosen, subtracted, names, scores, probabilities)


def difference_name(model: Model, index: int, subtracted: int) -> str:
    """The name of a class, or `A - B`."""
    name = class_name(model.labels, index)
    return name if subtracted == NONE else f"{name} - {class_name(model.labels, subtracted)}"


def _check_top(top: int, known: int) -> None:
    if not 1 <= top <= known:
        raise ConvlensError(f"top {top} of {known} classes; give 1 to {known}")


def _chosen(model: Model, logits: Tensor, classes: ClassSelection) -> tuple[Tensor, Tensor]:
    """Classes and what is subtracted, int64 `(N, K)` each."""
    count, known = logits.shape[:2]
    if isinstance(classes, Tensor):
        if (
            classes.ndim not in (2, 3)
            or len(classes) != count
            or classes.shape[2:] not in ((), (2,))
        ):
            raise ConvlensError(
                f"classes of shape {tuple(classes.shape)} for {count} images; give ({count}, K), "
                f"or ({count}, K, 2) for differences"
            )
        both = classes.long().to(logits.device)
        one = both if both.ndim == 2 else both[..., 0]
        other = torch.full_like(both, NONE) if both.ndim == 2 else both[..., 1]
        if bool((one < 0).any() or (one >= known).any() or (other >= known).any()):
            raise ConvlensError(f"a class outside 0 to {known - 1}")
        return one, other.clamp(min=NONE)
    wanted = [classes] if isinstance(classes, (str, int)) else list(classes)
    if not wanted:
        raise ConvlensError("no class to explain; give at least one, or none for the highest")
    pairs = [find_class_pair(model.labels, one, known) for one in wanted]
    row = torch.tensor([[one, NONE if two is None else two] for one, two in pairs])
    one, other = row.to(logits.device).T
    return one.expand(count, -1), other.expand(count, -1)
