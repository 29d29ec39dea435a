"""The chapter's convolution of images with filters, and the pooling of feature maps."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from convlens.arithmetic import output_size, same_padding
from convlens.errors import ConvlensError, suggest

POOLS = ("max", "average")


def convolve(
    images: Tensor,
    filters: Tensor,
    *,
    padding: int | str = "valid",
    stride: int = 1,
) -> Tensor:
    """Compute the feature maps of images for given filters.

        C(j, k) = Σₗ Σₘ I(j + l, k + m) K(l, m)

    This is the chapter's convolution, which mathematics calls cross-correlation: the filter is not
    flipped. The padding is filled with zeros.

    Args:
        images: `(N, C, H, W)`.
        filters: `(F, C, Mh, Mw)`, or `(F, Mh, Mw)` for images of one channel.
        padding: pixels on each side; "valid" (default) for none; "same" for maps of ⌈H/S⌉ × ⌈W/S⌉,
            with the odd pixel below and on the right.
        stride: S, steps of the filter in pixels; default 1.

    Returns:
        The maps `(N, F, h, w)`.

    Raises:
        ConvlensError: different numbers of channels, a filter larger than the padded image, or an
            unknown padding.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, section 10.2.2.

    Example:
        >>> import torch, convlens
        >>> edge = torch.tensor([[[-1.0, 1.0]]])
        >>> convlens.convolve(torch.tensor([[[[0.0, 0.0, 1.0]]]]), edge)
        tensor([[[[0., 1.]]]])
    """
    if filters.ndim == 3:
        filters = filters[:, None]
    if images.ndim != 4 or filters.ndim != 4 or images.shape[1] != filters.shape[1]:
        raise ConvlensError(
            f"images {tuple(images.shape)} and filters {tuple(filters.shape)}; (N, C, H, W) and "
            f"(F, C, Mh, Mw) with the same C are needed"
        )
    sizes, kernels = images.shape[2:], filters.shape[2:]
    pads = resolve_padding(padding, sizes, kernels, stride)
    for size, kernel, pad in zip(sizes, kernels, pads, strict=True):
        output_size(size, kernel, stride, pad)
    (top, bottom), (left, right) = pads
    return F.conv2d(F.pad(images, (left, right, top, bottom)), filters.to(images), stride=stride)


def resolve_padding(
    padding: int | str, sizes: Sequence[int], kernels: Sequence[int], stride: int
) -> list[tuple[int, int]]:
    """The padding before and after each axis, from its name or a number of pixels.

    Args:
        padding: pixels on each side, "valid" for none, or "same" for an output of ⌈J/S⌉.
        sizes: input length J of each axis.
        kernels: filter length of each axis.
        stride: S.

    Raises:
        ConvlensError: an unknown padding.

    Example:
        >>> resolve_padding("same", (5, 5), (3, 2), 1)
        [(1, 1), (0, 1)]
    """
    if padding == "same":
        return [same_padding(*pair, stride) for pair in zip(sizes, kernels, strict=True)]
    if padding != "valid" and not isinstance(padding, int):
        raise ConvlensError(f"padding {padding!r}; give a number of pixels, valid or same")
    pixels = 0 if padding == "valid" else int(padding)
    return [(pixels, pixels) for _ in sizes]


def pool(maps: Tensor, kind: str = "max", window: int = 2, stride: int | None = None) -> Tensor:
    """Summarize windows of each map by their greatest value or their mean.

    Args:
        maps: `(..., h, w)`.
        kind: "max" or "average"; default: "max".
        window: side of the windows, in cells; default: 2.
        stride: steps from window to window; default: the window's side.

    Returns:
        The pooled maps `(..., h', w')`.

    Raises:
        ConvlensError: an unknown kind, or a window larger than the map.
    """
    if kind not in POOLS:
        raise ConvlensError(f"no pooling {kind!r}{suggest(kind, POOLS)}; give max or average")
    for size in maps.shape[-2:]:
        output_size(size, window, stride or window)
    pooling = F.max_pool2d if kind == "max" else F.avg_pool2d
    return pooling(maps, window, stride or window)
