"""The pictures of a page as data, as far as each section's bytes go."""

import base64
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.data.images import encode_jpeg, encode_png, to_pixels
from convlens.drawing import draw_boxes, enlarge, make_grid, sequential_colors
from convlens.page import budget
from convlens.page.budget import Purse, spread
from convlens.page.schema import PhotoReport, Report, Slide

_SIDE = 224  # pixels of the screen that the long side of a picture takes, at most
_HARD = 112  # pixels of an image's long side up to which it is enlarged, with hard edges
_TILE = 48  # likewise for a filter
_STRIP_SIDE, _CLASS_SIDE = 96, 160  # pixels of the screen that maximized images take
_STRIP = 96  # likewise for a feature map
_GAPS = (128, 128, 128)  # between patches: neither scheme's own color


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


def sheets(made: Report) -> tuple[list[Sheet], tuple[str, ...]]:
    """Pictures of the photos that are shown, photos and maps before the larger files."""
    purse = Purse(budget.PHOTOS.bytes)
    shown = [(at, one) for at, one in enumerate(made.photos) if one.shown and one.image is not None]
    plain = {}
    maps: dict[int, list[Picture | None]] = {}
    for at, one in shown:
        assert one.image is not None
        plain[at] = fitted(to_pixels(one.image, made.model.bounds)[0], purse)
        drawn = one.gradcam.overlays(made.scale)[0] if one.gradcam else ()
        overlays = [draw_boxes(pixels, one.boxes) for pixels in drawn]
        maps[at] = [fitted(pixels, purse) for pixels in overlays]
    sheets = []
    for at, one in shown:
        flip, change, factor = None, None, 1
        if one.flip is not None and one.turn is not None:
            factor = max(1, 127 // max(one.turn.level, 1))
            flip = fitted(one.flip.pixels[0], purse, exact=True)
            magnified = one.flip.change[0] * factor + 128
            change = fitted(magnified.clamp(0, 255).to(torch.uint8), purse, exact=True)
        sheets.append(Sheet(at + 1, one, plain[at], maps[at], flip, change, factor))
    missing = sum(
        picture is None
        for one in sheets
        for picture in (one.plain, *one.maps, *((one.flip, one.change) if one.photo.turn else ()))
    )
    room = f"{budget.PHOTOS.bytes / 1e6:.3g} MB that the page gives to photos"
    return sheets, (f"{missing} pictures found no room in the {room}",) if missing else ()


def fitted(
    pixels: Tensor, purse: Purse, *, exact: bool = False, side: int = _SIDE
) -> Picture | None:
    """A picture, if there is room for it: JPEG where it may be, PNG where pixels are the claim."""
    height, width = pixels.shape[:2]
    long = max(height, width)
    hard = long <= _HARD
    scale = max(1, side // long) if hard else min(1.0, side / long)
    png = exact or hard
    data = encode_png(pixels) if png else encode_jpeg(pixels)
    source = f"data:image/{'png' if png else 'jpeg'};base64,{base64.b64encode(data).decode()}"
    if not purse.pays(len(source)):
        return None
    return Picture(source, round(width * scale), round(height * scale), hard)


def dream_of(made: Report) -> list[Picture | None]:
    """The photo and the dream, as large as they are."""
    if made.dream is None:
        return []
    purse = Purse(budget.DREAM.bytes)
    return [
        fitted(pixels, purse, side=budget.DREAM_SIDE) for pixels in made.dream.pictures().values()
    ]


@dataclass(frozen=True)
class Plot:
    """Curves of one photo's evidence, as points of SVG polylines: map, random, center."""

    name: str
    lines: tuple[str, ...]


def plots_of(photo: PhotoReport, width: int, height: int) -> list[Plot]:
    """Deletion and insertion, the share of cells to the right and the probability upwards."""
    proof = photo.evidence
    if proof is None:
        return []
    plots = []
    for name, curves in (("deletion", proof.deletion[0]), ("insertion", proof.insertion[0])):
        lines = tuple(
            " ".join(
                f"{x * width:.1f},{(1 - y) * height:.1f}"
                for x, y in zip(proof.covered.tolist(), curve.tolist(), strict=True)
            )
            for curve in curves
        )
        plots.append(Plot(name, lines))
    return plots


@dataclass(frozen=True)
class Tile:
    """One filter."""

    number: int
    picture: Picture
    silent: bool


def tiles_of(made: Report) -> list[Tile]:
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


def fits_of(made: Report) -> list[Tile]:
    """Filter, nearest Gabor function and what is left, for every filter; the likest first."""
    if made.gabor_fit is None:
        return []
    purse = Purse(budget.FILTERS.bytes)
    found = []
    for number, pixels in made.gabor_fit.triples()[: budget.FILTERS.items]:
        source = f"data:image/png;base64,{base64.b64encode(encode_png(pixels)).decode()}"
        if purse.pays(len(source)):
            picture = Picture(source, pixels.shape[1], pixels.shape[0], hard=True)
            found.append(Tile(number, picture, number in made.silent))
    return found


@dataclass(frozen=True)
class Strip:
    """One channel: its patches, a strip of tiles each, strongest first, and its maximized image.

    `at` and `reached` are the places of its numbers in the report's JSON.
    """

    channel: int
    at: str
    whole: Picture
    top: Picture
    bands: Picture | None
    photos: tuple[str, ...]
    maximum: Picture | None
    reached: str


def strips_of(made: Report) -> list[tuple[int, list[Strip]]]:
    """For each layer its number and the strips that there is room for."""
    if made.patches is None:
        return []
    purse = Purse(budget.CHANNELS.bytes)
    found = []
    paid = Purse(budget.MAXIMA.bytes)
    for number, layer in enumerate(made.patches.layers):
        climbed = made.maximized[number] if made.maximized else None
        drawn = climbed.tiles() if climbed is not None else None
        strips = []
        for index, one in enumerate(layer.shown):
            whole, top = strip(one.whole[None], purse), strip(one.tiles, purse)
            if whole is None or top is None:
                continue
            bands = strip(one.bands, purse) if len(one.bands) else None
            at = f"patches.layers.{number}.shown.{index}"
            names = tuple(photo.rpartition("/")[2] for photo in one.photos)
            most = _synthetic(drawn[index][0], _STRIP_SIDE, paid) if drawn else None
            reached = f"maximized.{number}.maxima.{index}"
            strips.append(Strip(one.channel, at, whole, top, bands, names, most, reached))
        found.append((number, strips))
    return found


def strip(tiles: Tensor, purse: Purse) -> Picture | None:
    """Tiles side by side as one picture."""
    if tiles.ndim != 4 or not len(tiles):
        return None
    pixels = make_grid(list(tiles), len(tiles), background=_GAPS)
    source = f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(pixels, 88)).decode()}"
    if not purse.pays(len(source)):
        return None
    return Picture(source, pixels.shape[1], pixels.shape[0], hard=False)


def classes_of(made: Report) -> list[Picture | None]:
    """The maximized image of each class."""
    if made.classes is None:
        return []
    purse = Purse(budget.CLASS_MAXIMA.bytes)
    return [_synthetic(row[0], _CLASS_SIDE, purse) for row in made.classes.tiles()]


def _synthetic(pixels: Tensor, side: int, purse: Purse) -> Picture | None:
    """A maximized image, its long side so many pixels of the screen."""
    source = f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(pixels, 88)).decode()}"
    if not purse.pays(len(source)):
        return None
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return Picture(source, round(width * scale), round(height * scale), hard=False)


@dataclass(frozen=True)
class Maps:
    """The strongest maps of one layer, in one strip."""

    at: str
    strip: Picture


def maps_of(made: Report) -> list[Maps]:
    """For each layer its strip, those that there is room for."""
    purse = Purse(budget.MAPS.bytes)
    found = []
    for number, one in enumerate(made.maps):
        height, width = one.tiles.shape[1:3]
        times = max(1, _STRIP // max(height, width))
        tiles = [enlarge(tile, times) for tile in one.tiles]
        pixels = make_grid(tiles, len(tiles), background=_GAPS)
        # The screen shows all strips at one height: hard edges where that is a whole multiple.
        source = f"data:image/png;base64,{base64.b64encode(encode_png(pixels)).decode()}"
        if not purse.pays(len(source)):
            continue
        scale = _STRIP / max(height, width) if times == 1 else 1.0
        shown = Picture(
            source, round(pixels.shape[1] * min(1.0, scale)),
            round(pixels.shape[0] * min(1.0, scale)), hard=times > 1,
        )  # fmt: skip
        found.append(Maps(f"maps.{number}", shown))
    return found


@dataclass(frozen=True)
class Frames:
    """The pictures of one photo at every epsilon; those that found no room are None.

    `looks` are Grad-CAM before and after, or none.
    """

    slide: Slide
    at: str
    pictures: list[Picture | None]
    looks: list[Picture | None]


def frames_of(made: Report) -> list[Frames]:
    """The slides: the plain photo, then adversarial images to the pixel."""
    purse = Purse(budget.FRAGILITY.bytes)
    found = []
    for number, slide in enumerate(made.slides):
        pictures = []
        for index, level in enumerate(slide.epsilons):
            pixels = to_pixels(slide.attack.adversarial(index), made.model.bounds)[0]
            pictures.append(fitted(pixels, purse, exact=level > 0))
        maps = slide.internal_changes.pictures() if slide.internal_changes else {}
        looks = [fitted(pixels, purse, side=_SIDE // 2) for pixels in maps.values()]
        found.append(Frames(slide, f"slides.{number}", pictures, looks))
    return found


def offsets_of(made: Report) -> Picture | None:
    """The first photo's probability at every offset, a cell for each."""
    if made.shift is None or made.shift.offsets is None:
        return None
    cells = sequential_colors(made.shift.offsets.probabilities, 0, 1)
    return fitted(cells, Purse(budget.SHIFT.bytes), exact=True)
