"""Crops: what a unit sees of an image, and the proof that this is what excites it.

The proof: everything outside the unit's receptive field is replaced by the average, and the
activation must stay. Where it can be, a window is run and not the whole image.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from convlens.analyses.patches.windows import Box, Window, box, least_side, position, window
from convlens.capture import observe
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results import Result
from convlens.runtime.precision import full_precision
from convlens.tracing.trace import Trace, trace

BOUND = 1e-5  # of the layer's root mean square: differences up to here are rounding

_AT_ONCE = 32  # windows in a batch
_PROBED = 8  # images that the layer's root mean square is taken from


@dataclass(frozen=True)
class UnitActivation:
    """A channel at a position, and the activation that it had in an image.

    Attributes:
        image: number of the image among those given.
        channel: of the layer.
        row: of the layer's map.
        column: likewise.
        value: the activation.
    """

    image: int
    channel: int
    row: int
    column: int
    value: float


@dataclass(frozen=True, eq=False)
class CropCheck(Result):
    """Whether units have the same activation when they see nothing but their receptive fields.

    Attributes:
        checked: how many units were run again.
        worst: greatest difference of activation, in root mean squares of the layer; None where
            nothing was checked.
        whole: how many see the whole image, for which there is nothing to prove.
        beyond: whether the layer also depends on the whole image by a global operation, so that
            only its local field can be shown.
    """

    checked: int
    worst: float | None
    whole: int
    beyond: bool

    @property
    def holds(self) -> bool | None:
        """Whether all differences are rounding; None where nothing was checked."""
        return None if self.worst is None else self.worst <= BOUND

    def brief(self) -> str:
        """The proof in few words, for tables."""
        if self.beyond:
            return "local field only"
        same = "" if self.worst is None else f"{self.checked} the same"
        if self.holds is False:
            same = f"{self.checked} run again, one DIFFERS by {self.worst:.1g} RMS"
        whole = f"{self.whole} see the whole image" if self.whole else ""
        return ", ".join(filter(None, [same, whole]))

    def sentence(self) -> str:
        """The proof in words."""
        if self.beyond:
            return "local field of values that also depend on the whole image: not proved"
        parts = []
        if self.worst is not None:
            verdict = "the same activation" if self.holds else "ANOTHER ACTIVATION"
            within = f"within {self.worst:.1g} of the layer's RMS" if self.worst else "in every bit"
            parts.append(f"{self.checked} crops run again alone give {verdict} ({within})")
        if self.whole:
            parts.append(f"{self.whole} see the whole image, which proves nothing")
        return "; ".join(parts)


def cut(image: Tensor, seen: Box) -> tuple[Tensor, Tensor]:
    """A box cut from an image, padding included.

    On an axis on which the box holds the whole image it is cut down to it.

    Args:
        image: `(C, H, W)`.
        seen: the box.

    Returns:
        `(C, h, w)`, zero in the padding; and bool `(h, w)`, true where it is the image.
    """
    top, bottom, left, right = seen
    height, width = image.shape[1:]
    if top <= 0 and bottom >= height - 1:
        top, bottom = 0, height - 1
    if left <= 0 and right >= width - 1:
        left, right = 0, width - 1
    crop = image.new_zeros(len(image), bottom - top + 1, right - left + 1)
    inside = torch.zeros(crop.shape[1:], dtype=torch.bool)
    rows = slice(max(top, 0), min(bottom, height - 1) + 1)
    columns = slice(max(left, 0), min(right, width - 1) + 1)
    target = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    crop[:, *target] = image[:, rows, columns]
    inside[target] = True
    return crop, inside


@full_precision()
def check_crops(
    model: Model, found: Trace, node: int, images: Tensor, units: Sequence[UnitActivation]
) -> CropCheck:
    """Run units again on what they see alone.

    Args:
        model: left untouched.
        found: its trace, for images of this size.
        node: the node, by number in the trace.
        images: `(N, C, H, W)` inside the bounds.
        units: of this node.

    Raises:
        ConvlensError: a node without maps.
    """
    field = found.field(node)
    if field is None:
        raise ConvlensError(f"{found.name(node)} gives no maps, so nothing can be cut")
    if field.beyond:
        return CropCheck(checked=0, worst=None, whole=0, beyond=True)
    height, width = found.image_size
    boxes = [box(field, unit.row, unit.column) for unit in units]
    partial = [
        not (one[0] <= 0 and one[1] >= height - 1 and one[2] <= 0 and one[3] >= width - 1)
        for one in boxes
    ]
    # What the network is fed: the average is zero, also where each image's own is subtracted.
    fed = model.normalize(images)
    raw = replace(model, mean=(0.0,), std=(1.0,), center="data", bounds=(-1e30, 1e30))
    least = least_side(raw, found, node)
    groups: dict[tuple[int, int], list[tuple[UnitActivation, Box, Window]]] = defaultdict(list)
    for unit, seen, counts in zip(units, boxes, partial, strict=True):
        if counts:
            held = window(field, seen, (height, width), least)
            groups[held[2:]].append((unit, seen, held))
    worst, checked = 0.0, 0
    for group in groups.values():
        for start in range(0, len(group), _AT_ONCE):
            part = group[start : start + _AT_ONCE]
            again = _again(raw, found, node, fed, part)
            values = torch.tensor([unit.value for unit, _, _ in part])
            worst = max(worst, float((again - values).abs().max()))
            checked += len(part)
    if not checked:
        return CropCheck(checked=0, worst=None, whole=len(units), beyond=False)
    scale = _root_mean_square(raw, found, node, fed[:_PROBED])
    return CropCheck(
        checked=checked,
        worst=worst / scale if scale else worst,
        whole=len(units) - checked,
        beyond=False,
    )


def merge_crop_checks(crop_checks: Sequence[CropCheck]) -> CropCheck:
    """Several proofs of one layer as one."""
    worst = [one.worst for one in crop_checks if one.worst is not None]
    return CropCheck(
        checked=sum(one.checked for one in crop_checks),
        worst=max(worst, default=None),
        whole=sum(one.whole for one in crop_checks),
        beyond=any(one.beyond for one in crop_checks),
    )


def _positions(
    found: Trace, there: Trace, node: int, part: Sequence[tuple[UnitActivation, Box, Window]]
) -> list[tuple[int, int]] | None:
    """Row and column of each unit in its window; None where one of them cannot be told."""
    if there.image_size == found.image_size:
        return [(unit.row, unit.column) for unit, _, _ in part]
    at = [position(there, node, seen, held) for _, seen, held in part]
    known = [one for one in at if one is not None]
    return known if len(known) == len(at) else None


def _again(
    raw: Model,
    found: Trace,
    node: int,
    fed: Tensor,
    part: Sequence[tuple[UnitActivation, Box, Window]],
) -> Tensor:
    """Activations of units, each on its window with the average outside of its field."""
    size = part[0][2][2:]
    name = found.name(node)
    there = trace(raw, size=size, partly=True)
    at = _positions(found, there, there.find_node(name), part)
    if at is None:
        whole = (0, 0, *found.image_size)
        return _again(raw, found, node, fed, [(unit, seen, whole) for unit, seen, _ in part])
    windows = []
    for unit, (top, bottom, left, right), (y, x, height, width) in part:
        window = torch.zeros_like(fed[unit.image, :, :height, :width])
        rows = slice(max(top, y), min(bottom + 1, y + height))
        columns = slice(max(left, x), min(right + 1, x + width))
        window[:, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = fed[
            unit.image, :, rows, columns
        ]
        windows.append(window)
    images = torch.stack(windows).contiguous(memory_format=torch.channels_last)
    maps = _maps(raw, there, there.find_node(name), images)
    where = torch.tensor([(unit.channel, *one) for (unit, _, _), one in zip(part, at, strict=True)])
    return maps[torch.arange(len(part)), where[:, 0], where[:, 1], where[:, 2]].float().cpu()


def _maps(raw: Model, found: Trace, node: int, fed: Tensor) -> Tensor:
    maps = observe(raw, found, fed, [node])[node]
    return found.channels_first(node, maps)


def _root_mean_square(raw: Model, found: Trace, node: int, fed: Tensor) -> float:
    return float(_maps(raw, found, node, fed).double().square().mean().sqrt())
