"""The addresses of the pages of one model. Names of layers are percent-encoded, also slashes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

LABELS = "labels.csv"  # the name of the table of labels, also in commands


@dataclass(frozen=True)
class Addresses:
    """The addresses of the pages of one model, each in a state whose empty values are left out.

    Attributes:
        home: the path under which they lie; empty for the model that the explorer was started for.

    Example:
        >>> addresses = Addresses()
        >>> addresses.photo("0a1b", layer="layer4.2/add", at=None)
        '/photo/0a1b?layer=layer4.2%2Fadd'
        >>> addresses.layer("layer4.2/relu#2"), addresses.channel("conv1", 17)
        ('/layer/layer4.2%2Frelu%232', '/channel/conv1/17')
        >>> Addresses("/with/resnet50").kernel("conv1", 17, at="3,5")
        '/with/resnet50/kernel/conv1/17?at=3%2C5'
    """

    home: str = ""

    def start(self, **state: Any) -> str:
        """The start page."""
        return self._write("/", state)

    def findings(self) -> str:
        """The findings on the first photos, as events."""
        return self._write("/findings", {})

    def errors(self) -> str:
        """The page of the errors."""
        return self._write("/errors", {})

    def error_analysis(self) -> str:
        """The errors of the labeled photos, as events."""
        return self._write("/errors/analysis", {})

    def error_causes(self) -> str:
        """The causes of the errors, as events."""
        return self._write("/errors/causes", {})

    def labels(self) -> str:
        """The table of the labels of the photos."""
        return self._write(f"/{LABELS}", {})

    def photo(self, key: str, **state: Any) -> str:
        """The page of a photo."""
        return self._write(f"/photo/{key}", state)

    def numbered_photo(self, number: int) -> str:
        """The address that leads to the page of a file by its number."""
        return self._write(f"/photos/{number}", {})

    def photo_file(self, key: str) -> str:
        """The file of a photo that a browser sent."""
        return self._write(f"/photo/{key}/file", {})

    def photo_dream(self, key: str, **state: Any) -> str:
        """The dream of a photo, as events."""
        return self._write(f"/photo/{key}/dream", state)

    def layer(self, layer: str, **state: Any) -> str:
        """The page of a layer."""
        return self._write(f"/layer/{quote(layer, safe='')}", state)

    def layer_images(self, layer: str, channels: Sequence[int]) -> str:
        """The maximized images of channels of a layer, as events."""
        state = {"channels": ",".join(map(str, channels))}
        return self._write(f"/maximized/{quote(layer, safe='')}", state)

    def channel(self, layer: str, channel: int, **state: Any) -> str:
        """The page of a channel."""
        return self._write(f"/channel/{quote(layer, safe='')}/{channel}", state)

    def kernel(self, layer: str, channel: int, **state: Any) -> str:
        """The page of what a unit of a convolution computes."""
        return self._write(f"/kernel/{quote(layer, safe='')}/{channel}", state)

    def class_page(self, index: int, **state: Any) -> str:
        """The page of a class."""
        return self._write(f"/class/{index}", state)

    def _write(self, path: str, state: dict[str, Any]) -> str:
        values = {name: str(value) for name, value in state.items() if value not in (None, "")}
        return f"{self.home}{path}?{urlencode(values)}" if values else f"{self.home}{path}"
