"""What was done to a tensor of weights: the simplest change that explains all of its values.

Each function compares the tensor of the second network, `after`, with that of the first, `before`,
both float64 of one shape, and returns words, or None where its change does not explain `after`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from convlens.wording import counted, enumerated

_MOST_ELEMENTS = 4  # that are named
_FEW_FILTERS = 0.25  # share of the filters that may differ, for the others to count as kept
_LEVELS = 127  # largest level of an 8-bit integer
_ON_LEVEL = 1e-3  # distance from a whole level, in levels, that float arithmetic leaves
_SAME_FACTOR = 1e-5  # relative deviation that float arithmetic leaves of a factor
_UNEXPLAINED_CHANGE = 0.01  # of the largest change, that a factor may leave


def explain_change(before: Tensor, after: Tensor) -> tuple[str, str]:
    """The kind of a change, and the change in words.

    Args:
        before: the tensor of the first network.
        after: the tensor of the second network, of the same shape.

    Returns:
        "equal", or a kind as `TensorChange` lists them; and words.
    """
    before, after = before.detach().cpu(), after.detach().cpu()
    if before.dtype == after.dtype and same_values(before, after):
        return "equal", "equal in every bit"
    if before.dtype != after.dtype and (words := _precision(before, after)):
        return "precision", words
    before, after = before.double(), after.double()
    if not bool(after.isfinite().all() and before.isfinite().all()):
        return "values", _describe_broken(before, after)
    explanations: Sequence[tuple[str, Callable[[Tensor, Tensor], str | None]]] = (
        ("order of filters", _order_of_filters),
        ("order of inputs", _order_of_inputs),
        ("elements", _elements),
        ("filters", _filters),
        ("scaled", _scaled),
        ("rounded", _rounded),
    )
    for kind, explain in explanations:
        words = explain(before, after)
        if words is not None:
            return kind, words
    return "values", _values(before, after)


def same_values(tensor: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape are equal; NaN equals NaN."""
    return bool(((tensor == other) | (tensor.isnan() & other.isnan())).all())


def _precision(before: Tensor, after: Tensor) -> str | None:
    """Whether both are equal in the coarser of their two types."""
    if not before.is_floating_point() or not after.is_floating_point():
        return None
    coarser = max((before.dtype, after.dtype), key=lambda dtype: torch.finfo(dtype).eps)
    if not same_values(before.to(coarser), after.to(coarser)):
        return None
    return f"equal when rounded to {str(coarser).removeprefix('torch.')}"


def _order_of_filters(before: Tensor, after: Tensor) -> str | None:
    if not before.ndim:
        return None
    order = _find_order(before, after, 0)
    return None if order is None else _describe_order(order, "filters" if before.ndim > 1 else "")


def _order_of_inputs(before: Tensor, after: Tensor) -> str | None:
    if before.ndim < 2:
        return None
    order = _find_order(before, after, 1)
    return None if order is None else _describe_order(order, "inputs of each filter")


def _find_order(before: Tensor, after: Tensor, dim: int) -> list[int] | None:
    """For each slice of `after` the equal slice of `before`; None if they are not the same ones."""
    slices = [
        [part.contiguous().numpy().tobytes() for part in tensor.unbind(dim)]
        for tensor in (before, after)
    ]
    if sorted(slices[0]) != sorted(slices[1]):
        return None
    # Equal slices stay in place where they can.
    places: dict[bytes, list[int]] = {}
    for number, part in enumerate(slices[0]):
        places.setdefault(part, []).append(number)
    order = []
    for number, part in enumerate(slices[1]):
        free = places[part]
        order.append(free.pop(free.index(number)) if number in free else free.pop(0))
    return order


def _describe_order(order: Sequence[int], noun: str) -> str:
    """A permutation in words: a shift of all, a reversal, an exchange, or the number of moves."""
    count = len(order)
    noun = noun or "values"
    moved = [(number, former) for number, former in enumerate(order) if former != number]
    rotations = {(former - number) % count for number, former in enumerate(order)}
    if len(rotations) == 1 and count > 2:
        shift = order[0] if order[0] <= count // 2 else order[0] - count
        return f"the same {noun}, shifted by {abs(shift)}: 0 is the former {order[0]}"
    if count > 2 and list(order) == list(range(count))[::-1]:
        return f"the same {noun} in reverse order: {', '.join(map(str, order[:4]))}"
    if len(moved) == 2:
        return f"{noun} {moved[0][0]} and {moved[1][0]} are exchanged"
    pairs = enumerated([f"{number} is the former {former}" for number, former in moved], 2)
    return f"the same {noun} in another order, {len(moved):,} of {count:,} moved: {pairs}"


def _elements(before: Tensor, after: Tensor) -> str | None:
    differing = (before != after).nonzero()
    if len(differing) > _MOST_ELEMENTS or len(differing) == before.numel() > 1:
        return None
    places = [tuple(place) for place in differing.tolist()]
    words = [
        f"[{', '.join(map(str, place))}] {float(before[place]):.4g} → {float(after[place]):.4g}"
        for place in places
    ]
    verb = "differs" if len(places) == 1 else "differ"
    return f"{len(places)} of {counted(before.numel(), 'value')} {verb}: {'; '.join(words)}"


def _filters(before: Tensor, after: Tensor) -> str | None:
    if before.ndim < 2:
        return None
    differing = (before != after).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if len(differing) > _FEW_FILTERS * len(before):
        return None
    verb = "differs" if len(differing) == 1 else "differ"
    numbers = enumerated([str(number) for number in differing], 4)
    return f"{len(differing)} of {counted(len(before), 'filter')} {verb}: {numbers}"


def _scaled(before: Tensor, after: Tensor) -> str | None:
    factor = _factor(before, after)
    if factor is not None:
        return f"all values are {factor:.6g} times the former ones"
    if before.ndim < 2:
        return None
    factors = [_factor(*filters) for filters in zip(before, after, strict=True)]
    known = [factor for factor in factors if factor is not None]
    if len(known) < len(factors):
        return None
    return f"each filter has a factor of its own, {min(known):.6g} to {max(known):.6g}"


def _factor(before: Tensor, after: Tensor) -> float | None:
    """The factor by which all values are multiplied; None if there is none.

    It has to explain the values, and also their change: after a small change of any kind the values
    are nearly 1 times the former ones.
    """
    square = float(before.square().sum())
    if before.numel() < 3 or square == 0:
        return None
    factor = float((before * after).sum()) / square
    residual = (after - factor * before).abs().max()
    explains_values = residual <= _SAME_FACTOR * after.abs().max()
    explains_change = residual <= _UNEXPLAINED_CHANGE * (after - before).abs().max()
    return factor if factor != 0 and explains_values and explains_change else None


def _rounded(before: Tensor, after: Tensor) -> str | None:
    """Whether `after` is `before` on 255 evenly spaced levels, of the tensor or of each filter."""
    groupings = [(after.flatten()[None], "the tensor")]
    if after.ndim > 1:
        groupings.append((after.flatten(1), "each filter"))
    for groups, of in groupings:
        step = groups.abs().amax(dim=1, keepdim=True) / _LEVELS
        if groups.shape[1] < 3 or bool((step == 0).all()):
            continue
        step = step.clamp(min=torch.finfo(torch.float64).tiny)
        levels = groups / step
        near = before.reshape(groups.shape) / step
        if bool(((levels - levels.round()).abs() < _ON_LEVEL).all()) and bool(
            ((near - levels).abs() <= 1).all()
        ):
            return f"rounded to 8 bits, 255 levels of {of}"
    return None


def _values(before: Tensor, after: Tensor) -> str:
    norm = float(before.norm())
    change = float((after - before).norm())
    if before.numel() < 3 or norm == 0:
        return f"the largest change is {float((after - before).abs().max()):.3g}"
    pair = torch.stack([before.flatten(), after.flatten()])
    correlation = float(pair.corrcoef()[0, 1])
    differing, total = int((before != after).sum()), before.numel()
    amount = "all values" if differing == total else f"{differing:,} of {total:,} values"
    return (
        f"{amount} differ, by {change / norm:.2g} of the tensor's norm (correlation "
        f"{correlation:.4g})"
    )


def _describe_broken(before: Tensor, after: Tensor) -> str:
    """How many values are not finite, where a tensor holds such values."""
    counts = [int((~tensor.isfinite()).sum()) for tensor in (before, after)]
    words = f"{counts[1]:,} of {after.numel():,} values are not finite"
    return f"{words}, of the first network {counts[0]:,}" if counts[0] else words
