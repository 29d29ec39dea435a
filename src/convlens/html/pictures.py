"""Pictures inside an HTML document: their files as `data:` addresses, within a budget of bytes."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convlens.data.images import encode_jpeg, encode_png
from convlens.drawing import make_grid

Drawn = TypeVar("Drawn")

SIDE = 224  # CSS pixels of the long side of a picture, at most
_ENLARGED = 112  # pixels of an image's long side up to which it is enlarged, with hard edges
_BETWEEN = (128, 128, 128)  # color between the tiles of a strip: neither that of light nor of dark
_QUALITY = 88  # of JPEG, for small pictures


@dataclass(frozen=True)
class Picture:
    """One picture of a document.

    Attributes:
        source: its file as a `data:` address.
        width: width on the screen, in CSS pixels.
        height: height on the screen, in CSS pixels.
        hard: its pixels are drawn as squares with hard edges.
    """

    source: str
    width: int
    height: int
    hard: bool


class PictureBudget:
    """Makes pictures as long as their bytes fit into a budget.

    A method returns None for a picture that does not fit, and counts it in `missing`.

    Args:
        limit: bytes of all pictures together in the document.
        compression: of PNG files, 0 to 9, from the fastest to the smallest. Default: 3, which
            takes half of the time of 6 for files that are 3 % larger.

    Attributes:
        limit: bytes of all pictures together.
        left: bytes that are left.
        missing: number of pictures that did not fit.
    """

    def __init__(self, limit: int, *, compression: int = 3) -> None:
        self._compression = compression
        self.limit = limit
        self.left = limit
        self.missing = 0

    def photo(self, pixels: Tensor, *, exact: bool = False, side: int = SIDE) -> Picture | None:
        """A picture whose long side takes at most `side` CSS pixels.

        Small images are enlarged a whole number of times with hard edges. PNG holds these and the
        exact ones; JPEG holds the others.

        Args:
            pixels: uint8 `(H, W, 3)` or `(H, W)`.
            exact: keep every pixel value. Default: False.
            side: side of the picture on the screen. Default: `SIDE`.
        """
        height, width = pixels.shape[:2]
        longest = max(height, width)
        hard = longest <= _ENLARGED
        scale = max(1, side // longest) if hard else min(1.0, side / longest)
        png = exact or hard
        source = self._png(pixels) if png else _source("jpeg", encode_jpeg(pixels))
        return self._pay(Picture(source, round(width * scale), round(height * scale), hard))

    def pixelated(self, pixels: Tensor, times: int = 1) -> Picture | None:
        """An exact picture, each pixel a square of `times` CSS pixels."""
        height, width = pixels.shape[:2]
        return self._pay(Picture(self._png(pixels), width * times, height * times, hard=True))

    def scaled(self, pixels: Tensor, scale: float, *, hard: bool) -> Picture | None:
        """An exact picture, `scale` CSS pixels for each of its pixels."""
        height, width = pixels.shape[:2]
        size = round(width * scale), round(height * scale)
        return self._pay(Picture(self._png(pixels), *size, hard=hard))

    def smooth(self, pixels: Tensor, side: int | None = None) -> Picture | None:
        """A smoothed picture whose long side takes `side` CSS pixels; default: its own pixels."""
        height, width = pixels.shape[:2]
        scale = 1.0 if side is None else side / max(height, width)
        source = _source("jpeg", encode_jpeg(pixels, _QUALITY))
        return self._pay(Picture(source, round(width * scale), round(height * scale), hard=False))

    def thumbnail(self, pixels: Tensor, side: int) -> Picture | None:
        """A small picture whose long side takes `side` CSS pixels, reduced for two of a screen's.

        Images that are smaller than `side` are enlarged with hard edges, by the whole number that
        comes nearest to it.

        Args:
            pixels: uint8 `(H, W, 3)` or `(H, W)`.
            side: side of the picture on the screen.
        """
        height, width = pixels.shape[:2]
        longest = max(height, width)
        if longest <= side:
            return self.pixelated(pixels, round(side / longest))
        scale = min(1.0, 2 * side / longest)
        size = round(width * scale), round(height * scale)
        reduced = Image.fromarray(pixels.numpy()).resize(size, Image.Resampling.LANCZOS)
        return self.smooth(torch.from_numpy(np.array(reduced)), side)

    def all_or_none(self, draw: Callable[[], Drawn]) -> Drawn | None:
        """What a function draws with this budget, or None where a picture of it does not fit.

        In that case none of its bytes are spent and none of its pictures are missing.
        """
        left, missing = self.left, self.missing
        drawn = draw()
        if self.missing == missing:
            return drawn
        self.left, self.missing = left, missing
        return None

    def strip(self, tiles: Tensor) -> Picture | None:
        """Tiles uint8 `(N, H, W, 3)` in a row as one smoothed picture; None without any."""
        if tiles.ndim != 4 or not len(tiles):
            return None
        return self.smooth(row_of(list(tiles)))

    def _png(self, pixels: Tensor) -> str:
        return _source("png", encode_png(pixels, compression=self._compression))

    def _pay(self, picture: Picture) -> Picture | None:
        if len(picture.source) > self.left:
            self.missing += 1
            return None
        self.left -= len(picture.source)
        return picture


def row_of(tiles: Sequence[Tensor]) -> Tensor:
    """Tiles of one size in a row, with gaps between them."""
    return make_grid(list(tiles), len(tiles), background=_BETWEEN)


def _source(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
