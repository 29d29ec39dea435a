"""Receptive fields, against the pixels that reach each element of a value.

One row or column of the image is NaN at a time. Every operation of the grammar returns NaN for NaN,
so that the elements with NaN are those that depend on that row or column.
"""

import torch
from torch import Tensor

from fuzz.case import Case, Mismatch


def check(case: Case) -> None:
    """Check shape, batch dimension, rows, columns and receptive field of each map."""
    trace = case.trace
    reached = dependence(case)
    changed: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None
    for node, name in case.maps.items():
        shape, dims, field = trace.shape(node), trace.spatial_dims(node), trace.field(node)
        value = case.values[name]
        if (len(value), *value.shape[1:]) != (len(case.images), *shape[1:]):
            raise Mismatch(f"shape of {trace.name(node)} ({name}): {shape}, right {value.shape}")
        if field is None or field.sees_whole_image:
            continue
        for axis, length in enumerate(case.images.shape[2:]):
            claimed = [
                (max(int(low), 0), min(int(high), length - 1))
                for low, high in zip(field.low[axis], field.high[axis], strict=True)
            ]
            right = hulls(reached[axis][name], dims[axis])
            if len(claimed) != len(right):
                raise Mismatch(f"{trace.name(node)} ({name}) has {len(claimed)} positions along "
                               f"axis {axis}, right {len(right)}")  # fmt: skip
            if all(covers(claim, hull) for claim, hull in zip(claimed, right, strict=True)):
                continue
            if "zero taps" in case.program.marks:
                changed = changed or dependence(case, by_change=True)
                weaker = hulls(changed[axis][name], dims[axis])
                if all(covers(claim, hull) for claim, hull in zip(claimed, weaker, strict=True)):
                    continue
            raise Mismatch(
                f"receptive field of {trace.name(node)} ({name}) {shape}, rows and columns "
                f"{dims}, along axis {axis}: {claimed}, right {right}"
            )


def too_wide(case: Case) -> list[str]:
    """Maps whose fields are wider than the pixels that reach them, in words.

    That is no wrong claim, but a field of less use. Fields that reach into the padding are left
    out: whether their first tap inside the image is their first pixel depends on the dilation.
    """
    if "data-dependent positions" in case.program.marks:
        return []
    reached, wide = dependence(case), []
    for node, name in case.maps.items():
        field, dims = case.trace.field(node), case.trace.spatial_dims(node)
        if field is None:
            continue
        for axis, length in enumerate(case.images.shape[2:]):
            right = [hull for hull in hulls(reached[axis][name], dims[axis]) if hull is not None]
            whole = (min(hull[0] for hull in right), max(hull[1] for hull in right))
            if field.sees_whole_image:
                if whole not in right:
                    wide.append(f"{case.trace.name(node)} is marked global, sees {right}")
                continue
            claims = zip(field.low[axis].tolist(), field.high[axis].tolist(), strict=True)
            inside = [claim for claim in claims if claim[0] > 0 and claim[1] < length - 1]
            if not set(inside) <= set(right):
                wide.append(f"{case.trace.name(node)} axis {axis}: {inside}, right {right}")
    return wide


def lost_maps(case: Case) -> list[str]:
    """Values of modules that are maps with local fields, for which convlens knows no positions."""
    reached, lost = dependence(case), []
    for module, name in case.program.module_outputs.items():
        value = case.values[name]
        if value.ndim != 4 or len(value) != len(case.images) or module not in case.trace:
            continue
        node = case.trace.find_node(module)
        if case.trace.spatial_dims(node) is not None or max(value.shape[2:]) == 1:
            continue
        local = [
            all(hull is not None and hull[1] - hull[0] + 1 < length
                for hull in hulls(reached[axis][name], 2 + axis))
            for axis, length in enumerate(case.images.shape[2:])
        ]  # fmt: skip
        if all(local):
            lost.append(f"{module} {tuple(value.shape)} has no rows and columns")
    return lost


def dependence(
    case: Case, *, by_change: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """For each value, whether each of its elements depends on each row, and on each column.

    Args:
        case: the network.
        by_change: put random pixels into the row instead of NaN, and see which elements change. A
            lower bound: a ReLU may hide a change.

    Returns:
        For rows and for columns: bool `(rows of the image, *shape of the value for one image)`.
    """
    # NaN as an index or an offset would read outside the memory of the tensor.
    by_change = by_change or "data-dependent positions" in case.program.marks
    image = case.images[:1]
    height, width = image.shape[2:]
    generator = torch.Generator().manual_seed(0)
    filler = torch.rand(image.shape, generator=generator) if by_change else image * float("nan")
    probes = image.repeat(height + width, 1, 1, 1)
    for row in range(height):
        probes[row, :, row] = filler[0, :, row]
    for column in range(width):
        probes[height + column, :, :, column] = filler[0, :, :, column]
    together = len(probes) if "batch dependent" not in case.program.marks else 1
    # The plain convolution of torch: faster ones spread NaN over tiles of the map.
    plain_kernels = (
        torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False),
    )  # fmt: skip
    with torch.no_grad(), plain_kernels[0], plain_kernels[1]:
        parts = [case.program.run(case.network, part) for part in probes.split(together)]
        plain = case.program.run(case.network, image) if by_change else {}
    rows, columns = {}, {}
    for name, first in parts[0].items():
        if not isinstance(first, Tensor) or len(first) != together:
            continue  # images are folded into other dimensions here
        value = torch.cat([part[name] for part in parts]) if len(parts) > 1 else first
        if by_change:
            depends = (value - plain[name]).abs() > 1e-5 * plain[name].abs().amax()
        else:
            depends = value.isnan()
        rows[name], columns[name] = depends.split((height, width))
    return rows, columns


def hulls(depends: Tensor, dim: int) -> list[tuple[int, int] | None]:
    """First and last row (or column) that each position along a dimension depends on."""
    others = [other for other in range(1, depends.ndim) if other != dim]
    any_other = depends.any(dim=others) if others else depends
    return [
        (int(seen.min()), int(seen.max())) if len(seen := column.nonzero()) else None
        for column in any_other.T
    ]


def covers(claim: tuple[int, int], hull: tuple[int, int] | None) -> bool:
    """Whether the first interval contains the second."""
    return hull is None or (claim[0] <= hull[0] and hull[1] <= claim[1])
