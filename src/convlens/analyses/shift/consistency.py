"""Consistency: how often the answer stays when the image is shifted, in two protocols.

Crop: two windows of a photo that is a little larger, at offsets drawn for each photo (Zhang, Making
Convolutional Networks Shift-Invariant Again, 2019). What comes in at one side goes out at the
other, as when a camera moves. Circular: the center crop rolled round its edges, so that nothing is
lost, but there is a seam. PhotoLabels that agree may both be wrong: accuracy stands beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.analyses.predictions.predictions import compute_logits
from convlens.drawing import (
    add_color_bar,
    add_title,
    color_bar,
    enlarge,
    make_sheet,
    sequential_colors,
)
from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels, class_name
from convlens.models.model import Model
from convlens.models.output_head import predicted_classes, prediction_probabilities
from convlens.passes.proportion import wilson_interval
from convlens.passes.random_numbers import random_integers
from convlens.passes.reducer import State
from convlens.results import Result
from convlens.tracing.trace import trace

PROTOCOLS = ("crop", "circular")
_MARGIN = 7  # an image gets a seventh of its side around it where its preprocessing leaves none
_BATCH = 16
_BAR = 120  # pixels
_SIDE = 264  # pixels of the picture over all offsets, about


@dataclass(frozen=True, eq=False)
class Rate(Result):
    """A share of images, with its 95 % interval (Wilson).

    Attributes:
        count: how many.
        total: of how many.
        share: count / total, NaN of none.
        low: lower end of the interval.
        high: upper end.
    """

    count: int
    total: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, count: int, total: int) -> "Rate":
        """With its interval."""
        return cls(
            count, total, count / total if total else float("nan"), *wilson_interval(count, total)
        )


@dataclass(frozen=True, eq=False)
class Consistency(Result):
    """How often two shifted views of an image are answered alike.

    Attributes:
        protocol: "crop" or "circular".
        most: offsets are drawn from 0 to so many pixels (crop), or from minus as many
            (circular), in rows and columns.
        agree: pairs answered alike, of all images.
        agree_right: the same of the images whose center crop is answered right; None without
            labels.
        accuracy: first of the two views answered right; None without labels.
    """

    protocol: str
    most: int
    agree: Rate
    agree_right: Rate | None
    accuracy: Rate | None


@dataclass(frozen=True, eq=False)
class Offsets(Result):
    """The probability of one class at every offset of one photo.

    Attributes:
        protocol: "crop" or "circular".
        class_index: the class; -1 is "not class 0" of a network with one output.
        name: of it.
        rows: offsets in pixels from top to bottom.
        columns: from left to right.
        probabilities: float32 `(R, C)`.
        predictions: int64 `(R, C)`, the class that is answered.
        least: the least probability.
        greatest: the greatest.
        kept: share of the offsets at which the class is answered.
    """

    protocol: str
    class_index: int
    name: str
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    probabilities: Tensor
    predictions: Tensor
    least: float
    greatest: float
    kept: float

    def pictures(self) -> dict[str, Tensor]:
        """A cell for each offset, dark at probability 0 and light at 1, beside its bar."""
        cells = enlarge(
            sequential_colors(self.probabilities, 0, 1),
            max(1, _SIDE // max(self.probabilities.shape)),
        )
        drawn = add_color_bar(
            make_sheet(
                [cells], 1, heads=[f"{self.columns[0]}\n{self.columns[-1]}"],
                sides=[f"{self.rows[0]}\n{self.rows[-1]}"],
            ),
            color_bar(_BAR, colors="sequential", upright=True),
            ("0", "0.5", "1"),
            f"probability of {self.name}",
        )  # fmt: skip
        how = {"crop": "windows of the photo", "circular": "the image rolled round its edges"}
        return {
            f"offsets-{self.protocol}": add_title(
                drawn, f"{self.name} at every offset: {how[self.protocol]}",
                f"probability {self.least:.3g} to {self.greatest:.3g}; it is the answer at "
                f"{self.kept:.0%} of the offsets",
                "across and down: offset in pixels",
            )
        }  # fmt: skip


def margin_of(model: Model) -> int:
    """Pixels that a wide image has more than the model's, along each axis.

    The resized photo's where more of it than the image is left; else a seventh of the image.
    """
    short = min(model.size)
    left = 0 if model.preprocessing.resize is None else model.preprocessing.resize - max(model.size)
    return left if left > 0 else max(1, round(short / _MARGIN))


def widened(model: Model) -> Model:
    """The same model with a preprocessing that leaves `margin_of` pixels around the image.

    Where photos are squashed to the image nothing lies around it, and `around` repeats its edges.
    """
    preprocessing = model.preprocessing
    if preprocessing.resize is None:
        return model
    margin = margin_of(model)
    size = (model.size[0] + margin, model.size[1] + margin)
    resize = max(preprocessing.resize, *size)
    return replace(model, preprocessing=replace(preprocessing, size=size, resize=resize))


def around(model: Model, images: Tensor) -> Tensor:
    """Images `(N, C, H, W)` with room around them, if they have none and nothing lies there.

    Of a model that squashes photos, images get `margin_of` pixels by repeating those of the edges;
    all others come back as they are.
    """
    if model.preprocessing.resize is not None or tuple(images.shape[2:]) != model.size:
        return images
    margin = margin_of(model)
    before, after = margin // 2, margin - margin // 2
    return F.pad(images, (before, after, before, after), mode="replicate")


@dataclass(frozen=True)
class Pairs:
    """What is done with each batch of wide images: two views of each, in both protocols, counted.

    Attributes:
        model: left untouched.
        size: height and width of the images that are cut from the wide ones.
        labels: for each image of the data set the classes that are right, or None.
        most: the greatest offset of a circular shift.
        seed: of the offsets, drawn for each image by its number.
    """

    model: Model
    size: tuple[int, int]
    labels: PhotoLabels | None
    most: int
    seed: int

    def initial_state(self) -> State:
        """Nothing seen yet."""
        names = ["images", "labeled", "right"]
        for protocol in PROTOCOLS:
            names += [f"{protocol}/{name}" for name in ("images", "agree", "agree_right", "right")]
        return {name: torch.zeros((), dtype=torch.int64) for name in names}

    def merge(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> State:
        """Both data sets together."""
        return {name: one[name] + other[name] for name in one}

    def process_batch(self, state: State, wide: Tensor, ids: Tensor) -> None:
        """Count a batch of wide images `(N, C, H + margin, W + margin)`, in place."""
        wide = around(self.model, wide.to(self.model.device))
        images = self.centers(wide)
        right = [None if self.labels is None else self.labels[one] for one in ids.tolist()]
        known = torch.tensor([bool(one) for one in right])
        center = self._answers(images)
        sound = _right(center, right)
        state["images"] += len(images)
        state["labeled"] += int(known.sum())
        state["right"] += int(sound.sum())
        for protocol, views in (
            ("crop", self.crops(wide, ids)), ("circular", self.rolls(images, ids)),
        ):  # fmt: skip
            if views is None:
                continue
            one, other = (self._answers(view) for view in views)
            alike = one == other
            state[f"{protocol}/images"] += len(images)
            state[f"{protocol}/agree"] += int(alike.sum())
            state[f"{protocol}/agree_right"] += int((alike & sound).sum())
            state[f"{protocol}/right"] += int(_right(one, right).sum())

    def centers(self, wide: Tensor) -> Tensor:
        """The middle of each wide image."""
        margin = [side - own for side, own in zip(wide.shape[2:], self.size, strict=True)]
        return cut(wide, margin[0] // 2, margin[1] // 2, self.size)

    def crops(self, wide: Tensor, ids: Tensor) -> tuple[Tensor, Tensor] | None:
        """Two windows of each wide image at offsets of their own; None where there is no room."""
        down, across = (side - own for side, own in zip(wide.shape[2:], self.size, strict=True))
        if min(down, across) < 1:
            return None
        drawn = random_integers(ids, 4, 2**31, self.seed) % torch.tensor(
            [down + 1, across + 1, down + 1, across + 1]
        )
        first, second = (
            torch.cat([
                cut(image[None], int(at[0]), int(at[1]), self.size)
                for image, at in zip(wide, offsets, strict=True)
            ])
            for offsets in (drawn[:, :2], drawn[:, 2:])
        )  # fmt: skip
        return first, second

    def rolls(self, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Each image rolled twice, by offsets of its own."""
        drawn = random_integers(ids, 4, 2 * self.most + 1, self.seed + 1) - self.most
        first, second = (
            torch.stack([
                torch.roll(image, (int(at[0]), int(at[1])), dims=(1, 2))
                for image, at in zip(images, offsets, strict=True)
            ])
            for offsets in (drawn[:, :2], drawn[:, 2:])
        )  # fmt: skip
        return first, second

    def _answers(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        found = trace(self.model, images)
        parts = [compute_logits(self.model, found, part) for part in images.split(_BATCH)]
        return predicted_classes(torch.cat(parts), found.output_head).cpu()

    def result(self, state: Mapping[str, Tensor], protocol: str) -> Consistency | None:
        """What was counted for one protocol; None where it could not be tried."""
        counts = {
            name.partition("/")[2]: int(value)
            for name, value in state.items()
            if name.startswith(f"{protocol}/")
        }
        if not counts["images"]:
            return None
        labeled, right = int(state["labeled"]), int(state["right"])
        return Consistency(
            protocol=protocol,
            most=self.most,
            agree=Rate.of(counts["agree"], counts["images"]),
            agree_right=Rate.of(counts["agree_right"], right) if labeled else None,
            accuracy=Rate.of(counts["right"], labeled) if labeled else None,
        )


def cut(wide: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    """A window of `(N, C, H, W)`."""
    return wide[:, :, top : top + size[0], left : left + size[1]]


def _right(answers: Tensor, right: Sequence[Sequence[int] | None]) -> Tensor:
    pairs = zip(answers.tolist(), right, strict=True)
    return torch.tensor([answer in (classes or ()) for answer, classes in pairs])


def offsets(
    model: Model,
    wide: Tensor,
    *,
    class_index: int | None = None,
    protocol: str = "crop",
    step: int = 1,
) -> Offsets:
    """The probability of a class at every offset of one photo.

    Args:
        model: left untouched.
        wide: `(1, C, H + margin, W + margin)` for crops, as `widened(model).prepare(photo)`
            gives it; or an image `(1, C, H, W)` for circular shifts.
        class_index: default: the answer to the middle.
        protocol: "crop": windows from the upper left to the lower right; "circular": the middle
            rolled by up to half a margin each way.
        step: pixels from one offset to the next.

    Raises:
        ConvlensError: more than one photo, another protocol, no room for crops.
    """
    if protocol not in PROTOCOLS or step < 1 or len(wide) != 1:
        raise ConvlensError(
            f"protocol {protocol!r}, step {step}, {len(wide)} photos; give one photo, "
            f"{' or '.join(PROTOCOLS)}, and a step of at least 1"
        )
    size = model.size
    if protocol == "crop":
        wide = around(model, wide)
    down, across = (side - own for side, own in zip(wide.shape[2:], size, strict=True))
    middle = cut(wide, down // 2, across // 2, size)
    if protocol == "crop":
        if min(down, across) < 1:
            raise ConvlensError(
                f"an image of {tuple(wide.shape[2:])} pixels leaves no room for crops of {size}"
            )
        rows, columns = range(0, down + 1, step), range(0, across + 1, step)
    else:
        half = margin_of(model) // 2
        rows = columns = range(-half, half + 1, step)
    found = trace(model, middle)
    cells = [(y, x) for y in rows for x in columns]
    scores = []
    for start in range(0, len(cells), _BATCH):
        views = [
            cut(wide, y, x, size) if protocol == "crop" else torch.roll(middle, (y, x), (2, 3))
            for y, x in cells[start : start + _BATCH]
        ]
        batch = torch.cat(views).contiguous(memory_format=torch.channels_last)
        scores.append(compute_logits(model, found, batch.to(model.device)).cpu())
    logits = torch.cat(scores)
    if class_index is None:
        plain = compute_logits(model, found, middle.to(model.device))
        class_index = int(predicted_classes(plain, found.output_head))
    shape = (len(rows), len(columns))
    wanted = torch.full((len(logits), 1), class_index)
    probabilities = prediction_probabilities(logits, wanted, found.output_head)[:, 0]
    said = predicted_classes(logits, found.output_head)
    return Offsets(
        protocol=protocol,
        class_index=class_index,
        name=class_name(model.labels, class_index),
        rows=tuple(rows),
        columns=tuple(columns),
        probabilities=probabilities.view(shape),
        predictions=said.view(shape),
        least=float(probabilities.min()),
        greatest=float(probabilities.max()),
        kept=float((said == class_index).float().mean()),
    )
