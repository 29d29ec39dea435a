"""The addresses of pages. Names of layers are percent-encoded, also their slashes."""

from typing import Any
from urllib.parse import quote, urlencode


def photo_address(key: str, **state: Any) -> str:
    """The page of a photo, in a state whose empty values are left out.

    Example:
        >>> photo_address("0a1b", layer="layer4.2/add", unit=None)
        '/photo/0a1b?layer=layer4.2%2Fadd'
    """
    return _with_query(f"/photo/{key}", state)


def layer_address(layer: str, **state: Any) -> str:
    """The page of a layer.

    Example:
        >>> layer_address("layer4.2/relu#2", photo="0a1b")
        '/layer/layer4.2%2Frelu%232?photo=0a1b'
    """
    return _with_query(f"/layer/{quote(layer, safe='')}", state)


def channel_address(layer: str, channel: int, **state: Any) -> str:
    """The page of a channel.

    Example:
        >>> channel_address("conv1", 17)
        '/channel/conv1/17'
    """
    return _with_query(f"/channel/{quote(layer, safe='')}/{channel}", state)


def kernel_address(layer: str, channel: int, **state: Any) -> str:
    """The page of what a unit of a convolution computes.

    Example:
        >>> kernel_address("conv1", 17, at="3,5")
        '/kernel/conv1/17?at=3%2C5'
    """
    return _with_query(f"/kernel/{quote(layer, safe='')}/{channel}", state)


def class_address(index: int, **state: Any) -> str:
    """The page of a class.

    Example:
        >>> class_address(281)
        '/class/281'
    """
    return _with_query(f"/class/{index}", state)


def _with_query(path: str, state: dict[str, Any]) -> str:
    given = {name: str(value) for name, value in state.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
