"""Writes the page: pictures as data, numbers from the report's JSON, words by a template."""

import base64
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from convlens.drawing import diverging, grid, overlay
from convlens.images import encode_jpeg, encode_png, to_pixels
from convlens.model import Model
from convlens.page import budget
from convlens.page.again import Recipes
from convlens.page.budget import Purse, spread
from convlens.page.fields import fields_drawing
from convlens.page.findings import short
from convlens.page.parts import PhotoReport, Report
from convlens.views.anatomy import Layer

_SIDE = 224  # pixels of the screen that the long side of a picture takes, at most
_HARD = 112  # pixels of an image's long side up to which it is enlarged, with hard edges
_TILE = 48  # likewise for a filter
_GAPS = (128, 128, 128)  # between patches: neither scheme's own colour

# Layers that hand on what they are given: in the report's numbers, but not in the table.
_IDLE = frozenset({"Identity", "Dropout", "Dropout2d", "DropPath", "StochasticDepth"})


def render(model: Model, made: Report) -> tuple[str, tuple[str, ...]]:
    """The page as HTML, and sentences about pictures that found no room on it."""
    sheets, unpaid = _sheets(made)
    script = _text("page.js")
    page = _environment().get_template("page.html.jinja")
    layers = _layers(made)
    return page.render(
        made=made,
        n=_numbers(made.to_json()),
        recipes=Recipes(model, made),
        sheets=sheets,
        cam=next((one.gradcam for one in made.photos if one.gradcam is not None), None),
        left_out=(*made.left_out, *unpaid, *_idle(made, layers)),
        scales=_scales(made),
        tiles=_tiles(made),
        fits=_fits(made),
        channels=_channels(made),
        drawing=fields_drawing(made.anatomy) if made.anatomy else None,
        layers=layers,
        doctored=_doctored(made),
        when=_when(made.made),
        style=Markup(_text("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    ), unpaid


@dataclass(frozen=True)
class Picture:
    """A picture as it stands on the page.

    Attributes:
        source: its file as a `data:` address.
        width: on the screen, in CSS pixels.
        height: likewise.
        hard: its pixels are squares with hard edges.
    """

    source: str
    width: int
    height: int
    hard: bool


@dataclass(frozen=True)
class Sheet:
    """The pictures of one photo; those that found no room are None."""

    number: int
    photo: PhotoReport
    plain: Picture | None
    maps: list[Picture | None]
    flip: Picture | None
    change: Picture | None
    factor: int


def _sheets(made: Report) -> tuple[list[Sheet], tuple[str, ...]]:
    """Pictures of the photos that are shown, photos and maps before the larger files."""
    purse = Purse(budget.PHOTOS.bytes)
    shown = [(at, one) for at, one in enumerate(made.photos) if one.shown and one.image is not None]
    plain = {}
    maps: dict[int, list[Picture | None]] = {}
    for at, one in shown:
        assert one.image is not None
        plain[at] = _picture(to_pixels(one.image, made.model.bounds)[0], purse)
        overlays = one.gradcam.overlays(made.scale)[0] if one.gradcam else ()
        maps[at] = [_picture(pixels, purse) for pixels in overlays]
    sheets = []
    for at, one in shown:
        flip, change, factor = None, None, 1
        if one.flips is not None and one.turn is not None:
            factor = max(1, 127 // max(one.turn.level, 1))
            flip = _picture(one.flips.pixels[0], purse, exact=True)
            magnified = one.flips.change[0] * factor + 128
            change = _picture(magnified.clamp(0, 255).to(torch.uint8), purse, exact=True)
        sheets.append(Sheet(at + 1, one, plain[at], maps[at], flip, change, factor))
    missing = sum(
        picture is None
        for one in sheets
        for picture in (one.plain, *one.maps, *((one.flip, one.change) if one.photo.turn else ()))
    )
    room = f"{budget.PHOTOS.bytes / 1e6:.3g} MB that the page gives to photos"
    return sheets, (f"{missing} pictures found no room in the {room}",) if missing else ()


def _picture(pixels: Tensor, purse: Purse, *, exact: bool = False) -> Picture | None:
    """A picture, if there is room for it: JPEG where it may be, PNG where pixels are the claim."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    hard = side <= _HARD
    scale = _SIDE // side if hard else min(1.0, _SIDE / side)
    png = exact or hard
    data = encode_png(pixels) if png else encode_jpeg(pixels)
    source = f"data:image/{'png' if png else 'jpeg'};base64,{base64.b64encode(data).decode()}"
    if not purse.pays(len(source)):
        return None
    return Picture(source, round(width * scale), round(height * scale), hard)


@dataclass(frozen=True)
class Tile:
    """One filter."""

    number: int
    picture: Picture
    silent: bool


def _tiles(made: Report) -> list[Tile]:
    if made.filters is None:
        return []
    purse = Purse(budget.FILTERS.bytes)
    tiles = list(enumerate(made.filters.tiles()))
    found = []
    for number, pixels in spread(tiles, budget.FILTERS.items):
        data = base64.b64encode(encode_png(pixels)).decode()
        height, width = pixels.shape[:2]
        times = max(1, _TILE // max(height, width))
        source = f"data:image/png;base64,{data}"
        if purse.pays(len(source)):
            picture = Picture(source, width * times, height * times, hard=True)
            found.append(Tile(number, picture, number in made.silent))
    return found


def _fits(made: Report) -> list[Tile]:
    """Filter, nearest Gabor function and what is left, for every filter; the likest first."""
    if made.likeness is None:
        return []
    purse = Purse(budget.FILTERS.bytes)
    found = []
    for number, pixels in made.likeness.triples()[: budget.FILTERS.items]:
        source = f"data:image/png;base64,{base64.b64encode(encode_png(pixels)).decode()}"
        if purse.pays(len(source)):
            picture = Picture(source, pixels.shape[1], pixels.shape[0], hard=True)
            found.append(Tile(number, picture, number in made.silent))
    return found


@dataclass(frozen=True)
class Strip:
    """The patches of one channel: a strip of tiles each, strongest first."""

    channel: int
    at: str
    whole: Picture
    top: Picture
    bands: Picture | None
    photos: tuple[str, ...]


def _channels(made: Report) -> list[tuple[int, list[Strip]]]:
    """For each layer its number and the strips that there is room for."""
    if made.patches is None:
        return []
    purse = Purse(budget.CHANNELS.bytes)
    found = []
    for number, layer in enumerate(made.patches.layers):
        strips = []
        for index, one in enumerate(layer.shown):
            whole, top = _strip(one.whole[None], purse), _strip(one.tiles, purse)
            if whole is None or top is None:
                continue
            bands = _strip(one.bands, purse) if len(one.bands) else None
            at = f"patches.layers.{number}.shown.{index}"
            names = tuple(photo.rpartition("/")[2] for photo in one.photos)
            strips.append(Strip(one.channel, at, whole, top, bands, names))
        found.append((number, strips))
    return found


def _strip(tiles: Tensor, purse: Purse) -> Picture | None:
    """Tiles side by side as one picture."""
    if tiles.ndim != 4 or not len(tiles):
        return None
    pixels = grid(list(tiles), len(tiles), background=_GAPS)
    source = f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(pixels, 88)).decode()}"
    if not purse.pays(len(source)):
        return None
    return Picture(source, pixels.shape[1], pixels.shape[0], hard=False)


def _scales(made: Report) -> dict[str, str]:
    """Colours of the bars, as the stops of a CSS gradient from least to greatest."""
    found = {}
    if made.scale is not None:
        grey = torch.full((1, 3, 3), 128, dtype=torch.uint8)
        found["maps"] = _stops(overlay(grey, torch.tensor([[-1.0, 0.0, 1.0]]), 1.0)[0])
    if made.filters is not None:
        ends = torch.linspace(-1, 1, 11)
        colour = made.filters.first and made.filters.weights.shape[1] == 3
        grey = ((ends + 1) * 127.5).round().to(torch.uint8).unsqueeze(1).expand(-1, 3)
        found["filters"] = _stops(grey if colour else diverging(ends, 1.0))
    return found


def _stops(colours: Tensor) -> str:
    return ", ".join(f"rgb({r} {g} {b})" for r, g, b in colours.tolist())


def _layers(made: Report) -> list[tuple[int, Layer]]:
    """The layers that the table shows, with their numbers in the report."""
    if made.anatomy is None:
        return []
    busy = [(at, one) for at, one in enumerate(made.anatomy.layers) if one.kind not in _IDLE]
    return spread(busy, budget.LAYERS.items)


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
    could = [one for one in made.photos if one.expected] if made.diagnosis.labelled else made.photos
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
