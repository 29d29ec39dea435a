"""Robustness: how many answers stay right as epsilon grows, under FGSM and beside two controls.

Random signs of the same size show what noise alone does, and projected gradient descent what FGSM
misses. Everything is counted image by image in whole numbers, so that parts of a data set add up in
any order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from convlens.analyses.attacks import draws, pgd
from convlens.analyses.attacks.criterion import AttackCriterion, exact, slope
from convlens.analyses.attacks.diagnostics import (
    Diagnostic,
    answer_twice,
    find_diagnostics,
    flattered,
    in_training,
    zero,
)
from convlens.analyses.attacks.fgsm import step
from convlens.analyses.attacks.intervals import wilson
from convlens.analyses.predictions.predictions import class_scores
from convlens.capture import recording
from convlens.drawing import render_figure
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.models.output_head import NEGATIVE, predicted_classes
from convlens.passes.reducer import State
from convlens.results import Result
from convlens.tracing.trace import Trace, trace

FGSM, NOISE, PGD = "FGSM", "random signs", "PGD"
_FIXED = 2**32  # the largest change is kept as a whole number of this fraction of the span
_COLOURS = {NOISE: "#5f5f59", FGSM: "#8d4700", PGD: "#1d1d1b"}
_MARKS = {NOISE: "s", FGSM: "o", PGD: "^"}


@dataclass(frozen=True, eq=False)
class Curve(Result):
    """How many answers stay right as epsilon grows.

    Attributes:
        name: "FGSM", "random signs" or "PGD".
        right: how many images are answered right, for epsilon 0 and then each epsilon.
        accuracies: the same as shares.
        low: lower ends of their 95 % intervals (Wilson).
        high: upper ends.
    """

    name: str
    right: tuple[int, ...]
    accuracies: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Robustness(Result):
    """The accuracy-epsilon curve of a network over images, with its controls.

    Attributes:
        model: its name.
        images: how many were attacked, n.
        unlabeled: how many were left out, as nobody knows what is right.
        skipped: those that could not be read, with the reason.
        reference: what counts as right: "label", or "prediction", the network's own answer.
        loss: name of E.
        epsilons: 0 and then those asked for, in the image's units, growing.
        fractions: the same, of the span of the bounds.
        curves: FGSM; random signs of the same size on the same pixels; PGD, unless it was left
            out. An answer that PGD breaks at one epsilon counts as broken at every larger one,
            since the same image lies within it.
        pgd_only: for each epsilon how many answers stand under FGSM and fall to PGD.
        fgsm_only: the other way round; with enough steps there are next to none.
        steps: of PGD; 0 where it was left out.
        seed: of random signs and of PGD's starts.
        zero_gradients: share of all pixels whose gradient is exactly 0.
        largest_changes: for each epsilon max |x' - x| of FGSM as measured, in the image's units
            (to 2^-32 of the span).
        diagnostics: what speaks against trusting the curve.
    """

    model: str
    images: int
    unlabeled: int
    skipped: tuple[str, ...]
    reference: str
    loss: str
    epsilons: tuple[float, ...]
    fractions: tuple[float, ...]
    curves: tuple[Curve, ...]
    pgd_only: tuple[int, ...]
    fgsm_only: tuple[int, ...]
    steps: int
    seed: int
    zero_gradients: float
    largest_changes: tuple[float, ...]
    diagnostics: tuple[Diagnostic, ...]

    def __getitem__(self, name: str) -> Curve:
        """The curve of that name; KeyError where there is none."""
        for one in self.curves:
            if one.name == name:
                return one
        raise KeyError(name)

    def figure(self) -> Figure:
        """The curves over epsilon with their intervals."""
        figure = Figure(figsize=(5.6, 3.6), layout="constrained")
        axes = figure.subplots()
        levels = [fraction * 255 for fraction in self.fractions]
        reach = max(levels) or 1.0
        for number, one in enumerate(self.curves):
            # Side by side, so that intervals do not hide each other.
            at = [level + (number - 1) * 0.006 * reach for level in levels]
            around = (
                [max(0.0, a - low) for a, low in zip(one.accuracies, one.low, strict=True)],
                [max(0.0, high - a) for a, high in zip(one.accuracies, one.high, strict=True)],
            )
            axes.errorbar(
                at, one.accuracies, yerr=around, label=one.name, color=_COLOURS[one.name],
                marker=_MARKS[one.name], markersize=4, capsize=2, linewidth=1.2,
            )  # fmt: skip
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("epsilon, of 255")
        axes.set_ylabel("answers right" if self.reference == "label" else "answers kept")
        axes.set_title(f"{self.images} images, 95 % intervals", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)  # on none of the curves
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The curves."""
        return {"curve": render_figure(self.figure(), dpi=160)}


@dataclass(frozen=True)
class Attacks:
    """What is done with each batch: FGSM, random signs and PGD at every epsilon, counted.

    Attributes:
        model: that is attacked, left untouched.
        epsilons: in the image's units, growing.
        labels: for each image of the data set the classes that are right, or None; None: the
            network's own answers count.
        loss: E.
        steps: of PGD; 0 leaves it out.
        seed: of everything drawn.
    """

    model: Model
    epsilons: tuple[float, ...]
    labels: PhotoLabels | None
    loss: str
    steps: int
    seed: int

    def initial_state(self) -> State:
        """Nothing seen yet."""
        each = torch.zeros(len(self.epsilons), dtype=torch.int64)
        one = torch.zeros((), dtype=torch.int64)
        several = ("fgsm", "noise", "pgd", "pgd_only", "fgsm_only", "largest")
        single = ("images", "unlabeled", "right", "zero", "values", "blind")
        return {name: each.clone() for name in several} | {name: one.clone() for name in single}

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """Both data sets together."""
        merged = {name: one[name] + other[name] for name in one if name != "largest"}
        return merged | {"largest": torch.maximum(one["largest"], other["largest"])}

    @recording()
    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Attack a batch `(N, C, H, W)` of the images numbered `ids`, in place."""
        right = None
        if self.labels is not None:
            right = [self.labels[number] for number in ids.tolist()]
            known = torch.tensor([bool(one) for one in right])
            state["unlabeled"] += int((~known).sum())
            if not bool(known.any()):
                return
            images, ids = images[known], ids[known]
            right = [one for one in right if one]
        images = exact(images.to(self.model.device))
        found = trace(self.model, images)
        criterion = AttackCriterion(
            labels=[one[0] for one in right] if right else None, loss=self.loss
        )
        made = slope(self.model, found, images, criterion)
        judge = _Judge.of(made.classes, right, found.output_head)
        standing = judge.right(made.logits)
        state["images"] += len(images)
        state["right"] += int(standing.sum())
        zeros = (made.signs == 0).flatten(1).sum(dim=1)
        state["zero"] += int(zeros.sum())
        state["values"] += made.signs.numel()
        state["blind"] += int((2 * zeros > made.signs[0].numel()).sum())
        noise = draws.signs(images, ids, self.seed) * made.signs.abs()
        for number, size in enumerate(self.epsilons):
            changed = step(images, made.signs, size, self.model.bounds)
            largest = float((changed - images).abs().max()) / self.model.span
            kept = torch.tensor(round(largest * _FIXED))
            state["largest"][number] = torch.maximum(state["largest"][number], kept)
            held = judge.right(class_scores(self.model, found, changed))
            state["fgsm"][number] += int(held.sum())
            random = step(images, noise, size, self.model.bounds)
            scores = class_scores(self.model, found, random)
            state["noise"][number] += int(judge.right(scores).sum())
            if self.steps:
                standing = self._descend(images, ids, judge, standing, size)
                state["pgd"][number] += int(standing.sum())
                state["pgd_only"][number] += int((held & ~standing).sum())
                state["fgsm_only"][number] += int((standing & ~held).sum())

    def _descend(
        self, images: Tensor, ids: Tensor, judge: "_Judge", standing: Tensor, size: float
    ) -> Tensor:
        """Bool `(N,)`: which of the answers that stand PGD of this size leaves standing.

        An image is left alone as soon as its answer is wrong.
        """
        rows = standing.nonzero().flatten()
        if len(rows) == 0:
            return standing
        each = pgd.step_size(size, self.steps) if size else 0.0
        source = images[rows]
        start = draws.uniform(source, ids[rows.cpu()], self.seed + 1)
        changed = pgd.begin(source, start, size, self.model.bounds)
        found = trace(self.model, images)
        for _ in range(self.steps):
            criterion = AttackCriterion(classes=judge.classes[rows], loss=self.loss)
            made = slope(self.model, found, changed, criterion)
            left = judge.right(made.logits, rows)
            rows, source = rows[left], source[left]
            if len(rows) == 0:
                break
            changed = pgd.projected(
                source, changed[left], made.signs[left], size, each, self.model.bounds
            )
        if len(rows):
            rows = rows[judge.right(class_scores(self.model, found, changed), rows)]
        still = torch.zeros_like(standing)
        still[rows] = True
        return still


@dataclass(frozen=True)
class _Judge:
    """Says which answers are right: of several right classes any will do."""

    classes: Tensor
    members: Tensor
    output_head: str

    @classmethod
    def of(
        cls, classes: Tensor, right: Sequence[Sequence[int]] | None, output_head: str
    ) -> "_Judge":
        """Class t of each image `(N,)`, and all that are right where that is known."""
        sets = right or [[one] for one in classes.tolist()]
        most = max(map(len, sets))
        rows = [[*one, *[NEGATIVE - 1] * (most - len(one))] for one in sets]
        return cls(classes, torch.tensor(rows, device=classes.device), output_head)

    def right(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Bool `(N,)` for logits of all images, or of those in some rows."""
        members = self.members if rows is None else self.members[rows]
        return (predicted_classes(logits, self.output_head)[:, None] == members).any(dim=1)


def told(
    work: Attacks, state: Mapping[str, Tensor], skipped: Sequence[str], noted: Sequence[Diagnostic]
) -> Robustness:
    """The result of a pass, from what was counted.

    Args:
        work: that counted.
        state: of it.
        skipped: reasons of the images that could not be read.
        noted: diagnostics of the first images.
    """
    images = int(state["images"])
    sizes = work.epsilons
    names = {FGSM: "fgsm", NOISE: "noise"} | ({PGD: "pgd"} if work.steps else {})
    curves = tuple(
        _curve(name, [int(state["right"]), *state[key].tolist()], images)
        for name, key in names.items()
    )
    pgd_only = tuple(state["pgd_only"].tolist())
    warned = list(noted)
    blind = zero(int(state["blind"]), images, work.loss)
    if blind is not None:
        warned.append(blind)
    at = max(range(len(sizes)), key=lambda number: pgd_only[number])
    if pgd_only[at]:
        size = f"{sizes[at] / work.model.span * 255:.3g}/255"
        left = int(state["fgsm"][at])
        like_noise = left >= int(state["noise"][at])
        warned.append(flattered(pgd_only[at], left, size, like_noise=like_noise))
    return Robustness(
        model=work.model.name,
        images=images,
        unlabeled=int(state["unlabeled"]),
        skipped=tuple(skipped),
        reference="prediction" if work.labels is None else "label",
        loss=work.loss,
        epsilons=(0.0, *sizes),
        fractions=(0.0, *(size / work.model.span for size in sizes)),
        curves=curves,
        pgd_only=pgd_only,
        fgsm_only=tuple(state["fgsm_only"].tolist()),
        steps=work.steps,
        seed=work.seed,
        zero_gradients=int(state["zero"]) / max(1, int(state["values"])),
        largest_changes=tuple(
            value / _FIXED * work.model.span for value in state["largest"].tolist()
        ),
        diagnostics=tuple(warned),
    )


@recording()
def noted(model: Model, found: Trace, images: Tensor, loss: str) -> tuple[Diagnostic, ...]:
    """Diagnostics that a few images suffice for; zero gradients are counted over all of them."""
    images = exact(images)
    training = in_training(model.network)
    logits = class_scores(model, found, images)
    again = answer_twice(model, found, images)
    none = torch.zeros(len(images))
    return find_diagnostics(
        model, found, images, logits, none, again=again, training=training, loss=loss
    )


def _curve(name: str, right: Sequence[int], images: int) -> Curve:
    ends = [wilson(count, images) for count in right]
    return Curve(
        name=name,
        right=tuple(right),
        accuracies=tuple(count / max(1, images) for count in right),
        low=tuple(low for low, _ in ends),
        high=tuple(high for _, high in ends),
    )
