"""The state of a photo page, which is its address."""

import re
from dataclasses import dataclass, fields
from typing import Any

from starlette.datastructures import QueryParams

from convlens.errors import ConvlensError, suggest
from convlens.explorer.addresses import photo_address
from convlens.tracing.selection import Side, check_side

FIELDS, GRADCAM, MAP = "fields", "gradcam", "map"
OVERLAYS = {FIELDS: "Receptive fields", GRADCAM: "Grad-CAM", MAP: "Feature map"}
_POSITION = re.compile(r"(\d{1,9}),(\d{1,9})")


@dataclass(frozen=True)
class PhotoState:
    """What a photo page shows.

    Attributes:
        key: hash of the photo.
        overlay: one of `OVERLAYS`.
        target: the class as the address names it, by index or name; empty for the prediction.
        layer: name of the layer; empty for the final convolutional layer.
        side: side of the layer that Grad-CAM explains.
        at: row and column of the pinned unit, as `Y,X`; empty for none.
        channel: number of the channel whose map is shown; empty for the strongest one.
    """

    key: str
    overlay: str = FIELDS
    target: str = ""
    layer: str = ""
    side: Side = "pre"
    at: str = ""
    channel: str = ""

    @classmethod
    def read(cls, key: str, query: QueryParams) -> "PhotoState":
        """The state that an address names.

        Raises:
            ConvlensError: an overlay, a side, a unit or a channel of another form.
        """
        overlay = query.get("overlay", FIELDS)
        if overlay not in OVERLAYS:
            raise ConvlensError(f"there is no overlay {overlay!r}{suggest(overlay, OVERLAYS)}")
        at, channel = query.get("at", ""), query.get("channel", "")
        if at and not _POSITION.fullmatch(at):
            raise ConvlensError(f"unit {at!r} is not Y,X, for example at=3,5")
        if channel and not channel.isdecimal():
            raise ConvlensError(f"channel {channel!r} is no number; give K, for example 17")
        return cls(
            key=key,
            overlay=overlay,
            target=query.get("class", ""),
            layer=query.get("layer", ""),
            side=check_side(query.get("side", "pre")),
            at=at,
            channel=channel,
        )

    @property
    def position(self) -> tuple[int, int] | None:
        """Row and column of the pinned unit."""
        match = _POSITION.fullmatch(self.at)
        return (int(match[1]), int(match[2])) if match else None

    def address(self, **changes: Any) -> str:
        """The address of this state with some parts changed; defaults are left out of it."""
        values = {
            field.name: changes.get(field.name, getattr(self, field.name))
            for field in fields(self)
            if field.name != "key"
        }
        defaults = {field.name: field.default for field in fields(self)}
        given = {
            "class" if name == "target" else name: value
            for name, value in values.items()
            if value != defaults[name]
        }
        return photo_address(self.key, **given)
