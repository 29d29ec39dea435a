"""The kernel page: patch × kernel = products, sum, bias and activation of one unit on a photo."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from torch import Tensor

from convlens.analyses.feature_maps.detector_result import FeatureDetector
from convlens.drawing import diverging_colors
from convlens.errors import ConvlensError
from convlens.explorer.pages.choice_of_photo import choose_photo
from convlens.explorer.pages.photo_state import parse_position
from convlens.explorer.rendering import FAST, render, session_of
from convlens.explorer.session import MOST_SEARCHED
from convlens.html.pictures import PictureBudget

_INPUTS = 8  # input channels that are written out, at most
_MAP = 288  # CSS pixels of the map
_BYTES = 1_000_000
_MIDDLE = 0.179  # luminance at which black and white text have the same contrast


@dataclass(frozen=True)
class NumberCell:
    """A number of a grid with its color.

    Attributes:
        value: the number.
        color: the color of its cell, as CSS.
        dark: whether the color is dark, so that the number is written in white.
    """

    value: float
    color: str
    dark: bool


@dataclass(frozen=True)
class InputChannel:
    """What one input channel contributes.

    Attributes:
        name: its name.
        patch: rows of numbers under the kernel.
        kernel: rows of the kernel's weights.
        products: rows of the products.
        sum: their sum.
    """

    name: str
    patch: list[list[NumberCell]]
    kernel: list[list[NumberCell]]
    products: list[list[NumberCell]]
    sum: float


async def kernel(request: Request) -> Response:
    """What one unit of a convolution computes on a photo."""
    session, query = session_of(request), request.query_params
    network = await session.network()
    name, channel = request.path_params["name"], request.path_params["channel"]
    photo = choose_photo(session, query.get("photo", ""))
    if photo is None:
        raise ConvlensError("there is no photo yet; drop one on the start page")
    at = parse_position(query.get("at", ""))
    unit_name = f"{name}:{channel}" + (f"@{at[0]},{at[1]}" if at is not None else "")
    unit, reproduction = await session.detector(photo, unit_name)
    budget = PictureBudget(_BYTES, compression=FAST)
    scale = max(float(unit.feature_map.abs().max()), 1e-30)
    inputs = _list_inputs(unit)
    return render(
        request, "pages/kernel.html.jinja", network=network, name=name, channel=channel,
        photo=photo, unit=unit, reproduction=reproduction,
        photos=session.photos.first(MOST_SEARCHED), inputs=inputs,
        rest=unit.sum - sum(shown.sum for shown in inputs),
        map_picture=budget.thumbnail(diverging_colors(unit.feature_map, scale), _MAP),
        rows=unit.feature_map.shape[0], columns=unit.feature_map.shape[1],
        address=session.addresses.kernel(name, channel, photo=photo.key, at="Y_X"),
    )  # fmt: skip


def _list_inputs(unit: FeatureDetector) -> list[InputChannel]:
    """The input channels whose products have the greatest magnitudes, in their order."""
    weights = unit.products.abs().flatten(1).sum(1)
    order = weights.sort(descending=True, stable=True).indices[:_INPUTS].tolist()
    scales = [max(float(part.abs().max()), 1e-30) for part in (unit.patch, unit.kernel)]
    products = max(float(unit.products.abs().max()), 1e-30)
    return [
        InputChannel(
            name=unit.name_input(channel),
            patch=_cells(unit.patch[channel], scales[0]),
            kernel=_cells(unit.kernel[channel], scales[1]),
            products=_cells(unit.products[channel], products),
            sum=float(unit.products[channel].double().sum()),
        )
        for channel in sorted(order)
    ]


def _luminance(*color: int) -> float:
    """Relative luminance of an sRGB color, 0 to 1 (WCAG 2)."""
    linear = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (level / 255 for level in color)
    )  # fmt: skip
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _cells(values: Tensor, scale: float) -> list[list[NumberCell]]:
    """Rows of numbers with their colors, blue below zero and red above."""
    colors = diverging_colors(values, scale)
    return [
        [
            NumberCell(number, f"rgb({r} {g} {b})", _luminance(r, g, b) < _MIDDLE)
            for number, (r, g, b) in zip(numbers, row, strict=True)
        ]
        for numbers, row in zip(values.tolist(), colors.tolist(), strict=True)
    ]
