"""Writes the page: pictures as data, numbers from the report's JSON, words by a template."""

import base64
import hashlib
import math
from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from convlens.analyses.anatomy.anatomy import Layer
from convlens.analyses.shift.equivariance import LayerEquivariance
from convlens.drawing import diverging_colors, overlay, sequential_colors
from convlens.models.model import Model
from convlens.page import budget
from convlens.page.attacks import every
from convlens.page.budget import spread
from convlens.page.curve import curve_drawing
from convlens.page.fields import fields_drawing
from convlens.page.findings import FIRST, short
from convlens.page.pictures import (
    classes_of,
    dream_of,
    fits_of,
    frames_of,
    maps_of,
    offsets_of,
    plots_of,
    sheets,
    strips_of,
    tiles_of,
)
from convlens.page.plots import plane_of
from convlens.page.reproduction import Recipes
from convlens.page.schema import PhotoReport, Report

# Layers that hand on what they are given: in the report's numbers, but not in the table.
_IDLE = frozenset({"Identity", "Dropout", "Dropout2d", "DropPath", "StochasticDepth"})


def render(model: Model, made: Report) -> tuple[str, tuple[str, ...]]:
    """The page as HTML, and sentences about pictures that found no room on it."""
    shown, unpaid = sheets(made)
    script = _text("page.js")
    page = _environment().get_template("page.html.jinja")
    layers, strips = _layers(made), strips_of(made)
    return page.render(
        made=made,
        n=_numbers(made.to_json()),
        recipes=Recipes(model, made),
        first=FIRST,
        sheets=shown,
        cam=next((one.gradcam for one in made.photos if one.gradcam is not None), None),
        left_out=(*made.left_out, *unpaid, *_idle(made, layers)),
        scales=_scales(made),
        tiles=tiles_of(made),
        fits=fits_of(made),
        channels=strips,
        addresses={
            f"{made.patches.layers[number].layer}:{one.channel}"
            for number, layer in strips
            for one in layer
        }
        if made.patches
        else set(),
        plots_of=plots_of,
        class_pictures=classes_of(made),
        grating_field=budget.GRATING_FIELD,
        plane=plane_of(made),
        maps=maps_of(made),
        dream=dream_of(made),
        curve=curve_drawing(made.robustness) if made.robustness else None,
        frames=frames_of(made),
        offsets=offsets_of(made),
        every=every(model),
        moved=_moved(made),
        drawing=fields_drawing(made.anatomy) if made.anatomy else None,
        layers=layers,
        doctored=_doctored(made),
        when=_when(made.made),
        style=Markup(_text("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    ), unpaid


def _scales(made: Report) -> dict[str, str]:
    """Colors of the bars, as the stops of a CSS gradient from least to greatest."""
    found = {}
    if made.scale is not None:
        gray = torch.full((1, 3, 3), 128, dtype=torch.uint8)
        found["maps"] = _stops(overlay(gray, torch.tensor([[-1.0, 0.0, 1.0]]), 1.0)[0])
    if made.shift is not None and made.shift.offsets is not None:
        found["offsets"] = _stops(sequential_colors(torch.linspace(0, 1, 11), 0, 1))
    if made.filters is not None:
        ends = torch.linspace(-1, 1, 11)
        color = made.filters.first and made.filters.weights.shape[1] == 3
        gray = ((ends + 1) * 127.5).round().to(torch.uint8).unsqueeze(1).expand(-1, 3)
        found["filters"] = _stops(gray if color else diverging_colors(ends, 1.0))
    found["signed"] = _stops(diverging_colors(torch.linspace(-1, 1, 11), 1.0))
    found["unsigned"] = _stops(sequential_colors(torch.linspace(0, 1, 11), 0.0, 1.0))
    return found


def _stops(colors: Tensor) -> str:
    return ", ".join(f"rgb({r} {g} {b})" for r, g, b in colors.tolist())


def _layers(made: Report) -> list[tuple[int, Layer]]:
    """The layers that the table shows, with their numbers in the report."""
    if made.anatomy is None:
        return []
    busy = [(at, one) for at, one in enumerate(made.anatomy.layers) if one.kind not in _IDLE]
    return spread(busy, budget.LAYERS.items)


def _moved(made: Report) -> list[tuple[int, LayerEquivariance]]:
    """Layers of the table of shifts: those that thin out, where it is lost, first and last."""
    if made.shift is None or made.shift.equivariance is None:
        return []
    found = made.shift.equivariance
    ends = {0, len(found.layers) - 1, *(at for at in found.lost if at is not None)}
    telling = [(at, one) for at, one in enumerate(found.layers) if max(one.step) > 1 or at in ends]
    return (
        spread(telling, budget.SHIFTED - 1) + telling[-1:]
        if len(telling) > budget.SHIFTED
        else telling
    )


def _idle(made: Report, shown: list[tuple[int, Layer]]) -> tuple[str, ...]:
    if made.anatomy is None or len(shown) == len(made.anatomy.layers):
        return ()
    idle = sum(one.kind in _IDLE for one in made.anatomy.layers)
    more = len(made.anatomy.layers) - idle - len(shown)
    return (
        f"{idle} of {len(made.anatomy.layers)} layers hand on what they are given (Identity, "
        f"Dropout) and are not in the table" + (f", nor are {more} others" if more else ""),
    )


def _doctored(made: Report) -> list[PhotoReport]:
    """The photos that the doctor examined."""
    if made.diagnosis is None:
        return []
    could = [one for one in made.photos if one.expected] if made.diagnosis.labeled else made.photos
    return spread(could, made.diagnosis.photos)


def _numbers(data: dict[str, Any]) -> Callable[[str, str], Markup]:
    """Numbers by their place in the report's JSON, so that the page can show no others."""

    def number(place: str, form: str) -> Markup:
        value: Any = data
        for key in place.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        text = _FORMS[form](value)
        return Markup('<data value="{}" data-at="{}">{}</data>').format(value, place, text)

    return number


def _signed(value: float) -> str:
    return f"{value:+#.2g}".rstrip(".").replace("-", "−") if value else "0"


def _norm(value: float) -> str:
    """Short enough to stand under a filter."""
    if 0 < value < 0.01:
        return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


_FORMS: dict[str, Callable[[Any], str]] = {
    "count": lambda value: f"{value:,}",
    "short": short,
    "percent": lambda value: f"{value * 100:.1f}\N{NO-BREAK SPACE}%",
    "area": lambda value: f"{value:.2f}",
    "signed": _signed,
    "number": lambda value: f"{value:.3g}".replace("-", "−"),
    "norm": _norm,
    "nats": lambda value: f"{value:+.2f}".replace("-", "−"),
    "p": lambda value: f"{value:.2g}" if value >= 0.001 else "< 0.001",
    "seconds": lambda value: f"{value:.1f} s" if math.isfinite(value) else "",
}


def _when(made: str) -> str:
    at = datetime.fromisoformat(made)
    return f"{at.day} {at:%B %Y, %H:%M}"


def _text(name: str) -> str:
    return (files("convlens.page") / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("convlens.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
