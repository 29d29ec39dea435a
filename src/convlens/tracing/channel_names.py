"""Names of channels and units, such as ``layer4.2:17`` and ``layer4.2:17@3,5``.

Text that ends in a colon and digits (and, for a unit, ``@``, digits, a comma and digits) is a
channel or a unit. Any other text is the name of a layer or a node, also when it contains a colon:
``NAME:in`` is the input of a layer, and ``NAME:in:17`` channel 17 of that input.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from convlens.errors import ConvlensError, suggest

_CHANNEL = re.compile(
    r"(?P<layer>.+):(?P<channel>\d{1,18})(?:@(?P<row>\d{1,18}),(?P<column>\d{1,18}))?", re.DOTALL
)


@dataclass(frozen=True)
class ChannelName:
    """A channel of a layer, or one of its units, as text names it.

    Attributes:
        layer: name of the layer or the node.
        channel: number of the channel, from 0.
        position: row and column of the unit, or None for the channel.
    """

    layer: str
    channel: int
    position: tuple[int, int] | None = None

    def __str__(self) -> str:
        text = f"{self.layer}:{self.channel}"
        return text if self.position is None else f"{text}@{self.position[0]},{self.position[1]}"


def parse_channel(text: str) -> ChannelName:
    """Parse the name of a channel or of a unit.

    Raises:
        ConvlensError: the text is neither `LAYER:K` nor `LAYER:K@Y,X`.
    """
    name = match_channel(text)
    if name is None:
        raise ConvlensError(f"channel {text!r} is not LAYER:K, for example conv1:17")
    return name


def match_channel(text: str) -> ChannelName | None:
    """Parse the name of a channel or of a unit; None for text of any other form."""
    match = _CHANNEL.fullmatch(text)
    if match is None:
        return None
    position = (int(match["row"]), int(match["column"])) if match["row"] else None
    return ChannelName(match["layer"], int(match["channel"]), position)


def parse_channel_beside_layer(
    text: str | None, layer: str | None
) -> tuple[str | None, int | None]:
    """Parse a channel `K` or `LAYER:K` that is given together with the name of a layer.

    Args:
        text: the channel, or None for no channel.
        layer: name of the layer, or None.

    Returns:
        The layer and the number of the channel.

    Raises:
        ConvlensError: the text has another form, or it names another layer.
    """
    if text is None:
        return layer, None
    if text.isdecimal():
        return layer, int(text)
    name = match_channel(text)
    if name is None or name.position is not None:
        raise ConvlensError(f"channel {text!r} is no number; give K, for example 17, or LAYER:K")
    if layer not in (None, name.layer):
        raise ConvlensError(f"channel {text!r} is not one of --layer {layer}; give one of the two")
    return name.layer, name.channel


def check_channel(layer: str, channel: int, channels: int) -> None:
    """Check that a layer with `channels` channels has the given one.

    Raises:
        ConvlensError: there is no such channel.
    """
    if not 0 <= channel < channels:
        raise ConvlensError(
            f"{layer} has {channels} channels, 0 to {channels - 1}; given {channel}"
        )


def check_position(layer: str, position: tuple[int, int], size: tuple[int, int]) -> None:
    """Check that a layer's map of `size` (rows, columns) has a position.

    Raises:
        ConvlensError: there is no such position.
    """
    (row, column), (height, width) = position, size
    if not (0 <= row < height and 0 <= column < width):
        raise ConvlensError(
            f"{layer} has {height} x {width} positions, 0,0 to {height - 1},{width - 1}; "
            f"given {row},{column}"
        )


def check_layer(model_name: str, layer: str, layers: Sequence[str]) -> None:
    """Check that the name of a layer is among those that an analysis has results for.

    Raises:
        ConvlensError: there is no such layer; the message lists the nearest names.
    """
    if layer not in layers:
        raise ConvlensError(f"{model_name} has no layer {layer!r}{suggest(layer, layers)}")
