"""The state of a photo page, which is its address."""

import re
from dataclasses import dataclass, fields
from typing import Any

from starlette.datastructures import QueryParams

from convlens.errors import ConvlensError, suggest
from convlens.explorer.addresses import Addresses
from convlens.tracing.selection import Side, check_side

FIELDS, GRADCAM, MAP, EPSILON = "fields", "gradcam", "map", "epsilon"
SHIFT, DREAM = "shift", "dream"
OVERLAYS = {
    FIELDS: "Receptive fields",
    GRADCAM: "Grad-CAM",
    MAP: "Feature map",
    EPSILON: "Epsilon",
    SHIFT: "Shift",
    DREAM: "Dream",
}
FORM_FIELDS = {"class_name", "down", "right"}  # which forms send instead of a class or a shift
_OFFSET = re.compile(r"(-?\d{1,5}),(-?\d{1,5})")
_POSITION = re.compile(r"(\d{1,9}),(\d{1,9})")


@dataclass(frozen=True)
class PhotoState:
    """What a photo page shows.

    Attributes:
        key: hash of the photo.
        addresses: the addresses of the model's pages.
        overlay: one of `OVERLAYS`.
        target: the class as the address names it, by index or name; empty for the prediction.
        layer: name of the layer; empty for the final convolutional layer.
        side: side of the layer that Grad-CAM explains.
        at: row and column of the pinned unit, as `Y,X`; empty for none.
        channel: number of the channel whose map is shown; empty for the strongest one.
        level: gray levels of FGSM that are shown; empty for none.
        shift: rows downward and columns to the right, as `Y,X`; empty for no shift.
    """

    key: str
    addresses: Addresses
    overlay: str = FIELDS
    target: str = ""
    layer: str = ""
    side: Side = "pre"
    at: str = ""
    channel: str = ""
    level: str = ""
    shift: str = ""

    @classmethod
    def read(cls, key: str, query: QueryParams, addresses: Addresses) -> "PhotoState":
        """The state that an address names.

        Raises:
            ConvlensError: an overlay, a side, a unit or a channel of another form.
        """
        overlay = query.get("overlay", FIELDS)
        if overlay not in OVERLAYS:
            raise ConvlensError(f"there is no overlay {overlay!r}{suggest(overlay, OVERLAYS)}")
        at, channel = query.get("at", ""), query.get("channel", "")
        parse_position(at)
        level, shift = query.get("level", ""), query.get("shift", "")
        if not shift and query.get("down", "") + query.get("right", ""):
            shift = f"{query.get('down') or 0},{query.get('right') or 0}"
        for name, number in (("channel", channel), ("level", level)):
            if number and (not number.isdecimal() or len(number) > 9):
                raise ConvlensError(f"{name} {number[:40]!r} is no number; give K, for example 17")
        if shift and not _OFFSET.fullmatch(shift):
            raise ConvlensError(f"shift {shift!r} is not Y,X in pixels, for example shift=0,-3")
        return cls(
            key=key,
            addresses=addresses,
            overlay=overlay,
            target=query.get("class", ""),
            layer=query.get("layer", ""),
            side=check_side(query.get("side", "pre")),
            at=at,
            channel=channel,
            level=level,
            shift=shift,
        )

    @property
    def position(self) -> tuple[int, int] | None:
        """Row and column of the pinned unit."""
        return parse_position(self.at)

    @property
    def offset(self) -> tuple[int, int]:
        """Rows downward and columns to the right by which the photo is shifted."""
        match = _OFFSET.fullmatch(self.shift)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    def address(self, **changes: Any) -> str:
        """The address of this state with some parts changed; defaults are left out of it."""
        values = {
            field.name: changes.get(field.name, getattr(self, field.name))
            for field in fields(self)
            if field.name not in ("key", "addresses")
        }
        defaults = {field.name: field.default for field in fields(self)}
        parameters = {
            "class" if name == "target" else name: value
            for name, value in values.items()
            if value != defaults[name]
        }
        return self.addresses.photo(self.key, **parameters)


def parse_position(text: str) -> tuple[int, int] | None:
    """Row and column of a unit from `Y,X`; None for empty text.

    Raises:
        ConvlensError: text of another form.
    """
    if not text:
        return None
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ConvlensError(f"unit {text!r} is not Y,X, for example at=3,5")
    return int(match[1]), int(match[2])
