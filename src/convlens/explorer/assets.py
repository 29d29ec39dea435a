"""The stylesheet and the ES modules of the explorer, under addresses that name their content."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from convlens.html.templates import stylesheet

SHARED_MODULES = ("scripted", "copy")  # of the report, which work on pages that change
OWN_MODULES = (
    "navigation",
    "search",
    "photo_upload",
    "receptive_fields",
    "streams",
    "positions",
    "epsilon",
    "shift",
    "convolution",
)
_COMPARISON_MODULES = ("streams", "comparison")
_FOREVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file that pages load.

    Attributes:
        text: its content.
        media_type: its media type.
    """

    text: str
    media_type: str


class Assets:
    """The files that pages load.

    Attributes:
        stylesheet_address: address of the stylesheet.
        script_addresses: addresses of the ES modules of a page, in the order in which they run.
        comparison_scripts: addresses of those of the page that shows two models.
    """

    def __init__(self) -> None:
        self._assets: dict[str, Asset] = {}
        style = f"{stylesheet()}\n{_read('convlens.explorer', 'explorer.css')}"
        self.stylesheet_address = self._add("explorer", "css", style, "text/css")
        shared = self._add_modules("convlens.html", SHARED_MODULES)
        self.script_addresses = shared + self._add_modules("convlens.explorer", OWN_MODULES)
        self.comparison_scripts = shared + self._add_modules(
            "convlens.explorer", _COMPARISON_MODULES
        )

    @property
    def addresses(self) -> list[str]:
        """The addresses of all files."""
        return [f"/assets/{name}" for name in self._assets]

    def find(self, name: str) -> Asset | None:
        """The file of a name, or None."""
        return self._assets.get(name)

    def _add_modules(self, package: str, names: Sequence[str]) -> list[str]:
        return [
            self._add(name, "js", _read(package, f"modules/{name}.js"), "text/javascript")
            for name in names
        ]

    def _add(self, stem: str, suffix: str, text: str, media_type: str) -> str:
        name = f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.{suffix}"
        self._assets[name] = Asset(text, media_type)
        return f"/assets/{name}"


def _read(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")


ASSETS = Assets()


async def serve_asset(request: Request) -> Response:
    """Answer with a stylesheet or a module."""
    asset = ASSETS.find(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("no such file\n", 404)
    headers = {"Cache-Control": _FOREVER}
    return Response(asset.text, media_type=asset.media_type, headers=headers)
