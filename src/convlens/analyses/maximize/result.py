"""What images that maximize something reach, and what that is worth.

A pretty picture proves nothing. Beside each stands what it makes the network do, run once more
without any move: the activation next to the greatest of a data set, the agreement of images from
other starts, for a class its probability and rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from convlens.analyses.maximize.ascent import Climbed, Job
from convlens.analyses.patches.activation_statistics import BIN_EDGES
from convlens.analyses.patches.result import Patches
from convlens.capture import observe
from convlens.data.images import to_pixels
from convlens.drawing import add_title, enlarge, make_sheet
from convlens.models.model import Model
from convlens.models.output_head import probabilities
from convlens.results import Result

_SIDE = 160  # pixels that a picture of a small canvas is enlarged to, about
_ABREAST = 8  # targets, at most
_AT_ONCE = 16  # images


@dataclass(frozen=True, eq=False)
class Maximum(Result):
    """The images of one target.

    Attributes:
        target: what they are to excite.
        layer: its layer; empty for a class.
        node_name: where `reached` is read: after the non-linearity, where there is one.
        driven: the node that was driven, before it.
        images: float32 `(S, C, H, W)`, one for each seed.
        curve: float32 `(S, steps)`, the objective in each step, with the transforms of that step,
            and with its sign turned for a target with a minus; NaN for steps that were not made.
        reached: float32 `(S,)`, without transforms: the greatest activation of the channel (of a
            direction the greatest sum; for a minus the least), the unit's own, the class's logit
            (of a difference the difference).
        mean: float32 `(S,)`, the mean over the map at the driven node, away from
            the edges; the same as `reached` for
            units and classes.
        probability: float32 `(S,)`, of a class, by softmax or sigmoid; NaN for anything else.
        rank: int64 `(S,)`, of a class, 1 for the highest; 0 for anything else, and where there
            is one class only.
        agreement: mean cosine between the seeds of what they change in the layer, against plain
            gray; NaN for one seed.
        others: mean cosine between these images and those of other targets in the layer; NaN
            where there are none.
        best: greatest activation in a data set, or NaN without one.
        percentile: share of that data set's images in which the channel's greatest activation is
            below `reached` of the first seed, from fixed bins (19 % wide), or NaN.
        seen: images in that data set.
        moved: whether a gradient ever reached each image; where none did, it shows nothing.
        window: for a unit, top, left, height and width of the canvas in the whole image.
    """

    target: str
    layer: str
    node_name: str
    driven: str
    images: Tensor
    curve: Tensor
    reached: Tensor
    mean: Tensor
    probability: Tensor
    rank: Tensor
    agreement: float
    others: float
    best: float
    percentile: float
    seen: int
    moved: tuple[bool, ...]
    window: tuple[int, int, int, int] | None

    def summary(self) -> str:
        """What the first image reaches, in words."""
        if not self.moved[0]:
            return "no gradient ever reached this image, which shows nothing"
        if not self.layer:
            rank = int(self.rank[0])
            words = f"logit {self.reached[0]:.1f}"
            if not bool(self.probability[0].isnan()):
                words += f", probability {self.probability[0]:.3f}"
            if rank:
                words += f", rank {rank}"
        elif self.target.startswith("-"):
            words = f"down to {self.reached[0]:.3g}, on average {self.mean[0]:.3g} at {self.driven}"
        else:
            words = f"reaches {self.reached[0]:.3g}"
            if self.seen and self.best > 0:
                times = self.reached[0] / self.best
                words += f", {times:.1f} times the greatest of {self.seen:,} photos"
            elif self.seen:
                words += f"; silent in all {self.seen:,} photos"
        if len(self.images) > 1:
            words += f"; {len(self.images)} starts agree to a cosine of {self.agreement:.2f}"
            if self.others == self.others:
                words += f" (other targets {self.others:.2f})"
        return words


@dataclass(frozen=True, eq=False)
class MaximizedImages(Result):
    """Images that maximize targets.

    Attributes:
        model: its name.
        maxima: one for each target.
        steps: that were asked for.
        seed: of the first image of each.
        parameterization: "fourier" or "pixels".
        objective: of classes.
        bounds: of the pixels.
        stopped: why it ended early, in words; empty if it did not.
        interrupted: whether it was an interrupt that ended it.
    """

    model: str
    maxima: tuple[Maximum, ...]
    steps: int
    seed: int
    parameterization: str
    objective: str
    bounds: tuple[float, float]
    stopped: str
    interrupted: bool

    def beaten(self) -> int:
        """How many targets' first images reach more than anything in the data set beside them."""
        return sum(bool(one.seen) and float(one.reached[0]) >= one.best for one in self.maxima)

    def tiles(self) -> list[list[Tensor]]:
        """For each target its images as uint8 `(H, W, 3)`, small ones enlarged with hard edges."""
        rows = []
        for one in self.maxima:
            pixels = to_pixels(_visible(one.images), self.bounds).expand(-1, -1, -1, 3)
            times = max(1, _SIDE // max(pixels.shape[1:3]))
            rows.append([enlarge(tile, times) for tile in pixels])
        return rows

    def pictures(self) -> dict[str, Tensor]:
        """All in one with what they reach, a row for each target, and each by itself.

        With one seed the targets stand side by side.
        """
        rows = self.tiles()
        most = max(map(len, rows))
        tiles: list[Tensor | None] = []
        captions = []
        for one, row in zip(self.maxima, rows, strict=True):
            seeds = [f"seed {self.seed + number}" for number in range(len(row))]
            first = [one.target, seeds[0] if most > 1 else "", one.summary()]
            tiles += [*row, *[None] * (most - len(row))]
            captions += ["\n".join(filter(None, first)), *seeds[1:], *[""] * (most - len(row))]
        drawn = add_title(
            make_sheet(
                tiles, most if most > 1 else min(_ABREAST, len(tiles)), captions=captions, gap=12,
                least=_SIDE,
            ),
            f"{self.model}: images that maximize, {self.steps} steps",
        )  # fmt: skip
        named = {
            f"{one.target} {self.seed + number}": tile
            for one, row in zip(self.maxima, rows, strict=True)
            for number, tile in enumerate(row)
        }
        return {"maximized": drawn, **named}


def assess(
    model: Model,
    jobs: Sequence[Job],
    climbed: Sequence[Climbed],
    known: Patches | None,
) -> tuple[Maximum, ...]:
    """What the images of some jobs reach, target by target.

    Args:
        model: guarded by the caller.
        jobs: those that were begun, the seeds of a target in order.
        climbed: what came of each.
        known: what excites the channels in a data set, or None.
    """
    found = _look(model, jobs, climbed)
    by_target: dict[int, list[int]] = {}
    for index, job in enumerate(jobs):
        by_target.setdefault(job.number, []).append(index)
    return tuple(_maximum(jobs, climbed, found, of, known) for of in by_target.values())


@dataclass(frozen=True)
class _Found:
    """What one image reaches."""

    reached: float
    mean: float
    probability: float
    rank: int
    change: Tensor  # `(C,)` or `(classes,)`: what the layer does, less what it does for plain gray


def _look(model: Model, jobs: Sequence[Job], climbed: Sequence[Climbed]) -> list[_Found]:
    """What each image makes the network do; those of one stage run together, beside plain gray."""
    groups: dict[tuple[str, str, tuple[int, int]], list[int]] = {}
    for index, job in enumerate(jobs):
        groups.setdefault((job.goal.driven, job.goal.node_name, job.stage.size), []).append(index)
    found: dict[int, _Found] = {}
    for of in groups.values():
        goal, stage = jobs[of[0]].goal, jobs[of[0]].stage
        node = stage.trace.find_node(goal.node_name) if goal.layer else stage.node
        for at in range(0, len(of), _AT_ONCE):
            part = of[at : at + _AT_ONCE]
            images = torch.stack([climbed[index].image for index in part])
            gray = torch.full_like(images[:1], sum(model.bounds) / 2)
            fed = torch.cat([images, gray]).to(model.device)
            with torch.no_grad():
                seen = observe(
                    model, stage.trace, fed.contiguous(memory_format=torch.channels_last),
                    [stage.node, node],
                )  # fmt: skip
            driven, shown = (
                stage.trace.channels_first(value, seen[value]).float().cpu()
                for value in (stage.node, node)
            )
            for number, index in enumerate(part):
                found[index] = _found(jobs[index], driven[number], shown[number], driven[-1])
    return [found[index] for index in range(len(jobs))]


def _found(job: Job, driven: Tensor, shown: Tensor, gray: Tensor) -> _Found:
    """Of the values `(C, h, w)` or `(classes,)` at both nodes, and of plain gray at the first."""
    goal, stage = job.goal, job.stage
    weights = goal.weights
    if not goal.layer:
        scores = float(driven @ weights)
        index, single = int(weights.argmax()), int((weights != 0).sum()) == 1
        rank = int((driven > driven[index]).sum()) + 1 if single and len(driven) > 1 else 0
        shares = probabilities(driven, stage.trace.output_head, dim=0)
        probability = float(shares[index]) if single else float("nan")
        return _Found(scores, scores, probability, rank, driven - gray)
    if stage.position is not None:
        row, column = stage.position
        reached = float(shown[:, row, column] @ weights)
        change = (driven - gray)[:, row, column]
        return _Found(reached, reached, float("nan"), 0, change)
    inner, shown_inner = (
        torch.einsum("chw,c->hw", one, weights)[stage.counted] for one in (driven, shown)
    )
    reached = float(shown_inner.max() if goal.sign > 0 else shown_inner.min())
    change = (driven - gray).mean(dim=(1, 2))
    return _Found(reached, float(inner.mean()), float("nan"), 0, change)


def _maximum(
    jobs: Sequence[Job],
    climbed: Sequence[Climbed],
    found: Sequence[_Found],
    of: Sequence[int],
    known: Patches | None,
) -> Maximum:
    goal, mine = jobs[of[0]].goal, [found[index] for index in of]
    others = [
        found[index].change
        for index, job in enumerate(jobs)
        if index not in of and job.goal.driven == goal.driven
    ]
    own = [one.change for one in mine]
    best, percentile, seen = _beside(goal.node_name, goal.channel, goal.sign, mine[0], known)
    return Maximum(
        target=goal.text,
        layer=goal.layer,
        node_name=goal.node_name,
        driven=goal.driven,
        images=torch.stack([climbed[index].image for index in of]),
        curve=pad_sequence(
            [climbed[index].curve for index in of], batch_first=True, padding_value=float("nan")
        ),
        reached=torch.tensor([one.reached for one in mine]),
        mean=torch.tensor([one.mean for one in mine]),
        probability=torch.tensor([one.probability for one in mine]),
        rank=torch.tensor([one.rank for one in mine]),
        agreement=_cosines(own, own, apart=True),
        others=_cosines(own, others, apart=False),
        best=best,
        percentile=percentile,
        seen=seen,
        moved=tuple(climbed[index].moved for index in of),
        window=jobs[of[0]].stage.window,
    )


def _cosines(ones: Sequence[Tensor], others: Sequence[Tensor], *, apart: bool) -> float:
    """Mean cosine between vectors of two lists; with `apart`, of one list, each pair once."""
    pairs = [
        float(F.cosine_similarity(a, b, dim=0))
        for i, a in enumerate(ones)
        for j, b in enumerate(others)
        if not apart or i < j
    ]
    return sum(pairs) / len(pairs) if pairs else float("nan")


def _beside(
    node_name: str, channel: int | None, sign: int, first: _Found, known: Patches | None
) -> tuple[float, float, int]:
    """Greatest activation in the data set, share of images below what was reached, and how many."""
    nothing = (float("nan"), float("nan"), 0)
    if known is None or channel is None or sign < 0:
        return nothing
    for layer in known.layers:
        if layer.node_name == node_name:
            counts = layer.histogram[channel].double()
            below = int(torch.bucketize(torch.tensor(first.reached), BIN_EDGES))
            share = float(counts[:below].sum() / counts.sum().clamp(min=1))
            best = float(layer.values[channel, 0])
            return best, 1.0 if first.reached >= best else share, known.seen
    return nothing


def _visible(images: Tensor) -> Tensor:
    """Images with 1 or 3 channels as they are, of others the mean over the channels."""
    return images if images.shape[1] in (1, 3) else images.mean(dim=1, keepdim=True)
