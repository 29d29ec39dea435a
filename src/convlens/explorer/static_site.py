"""StaticSite: the files of exported pages, and links between them that need no server.

The pages can be opened from a disk, where a browser lets no page read a file. All links therefore
name a file and no folder, scripts are no ES modules, and what scripts ask the live server for is in
a script that every page loads.
"""

import html
import json
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from convlens.explorer.addresses import LABELS

_LINK = re.compile(r'\s(href|src|action|data-[a-z]+)="(/[^"]*)"')
_LINK_TO_PAGE = re.compile(r'\s(?:href|action|data-[a-z]+)="((?:[^"]*/)?index\.html)"')
_HOME = re.compile(r'data-home=""')
_PAGE = "index.html"
DATA = "/assets/site.js"  # what scripts ask the live server for


class StaticSite:
    """Knows the file of each exported address, and rewrites the links of a page.

    A page lies in the folder that its path names, and a page in another state in a folder below it,
    so that `/layer/conv1` is `layer/conv1/index.html`. All links are relative. A link to a page
    that is not exported leads to the same page in its first state, if only the photo or the pinned
    unit differ; the list of layers beside a photo leads to their pages. Other links are taken out.

    Args:
        addresses: the addresses of all pages.
        first_photo: hash of the photo that pages show without a name of one.
    """

    def __init__(self, addresses: Sequence[str], *, first_photo: str) -> None:
        self._first_photo = first_photo
        self._folders = {self._key(address): _folder(address) for address in addresses}

    def write(self, root: Path, address: str, text: str) -> int:
        """Write a page into its folder below `root`; returns the number of bytes."""
        target = root / _folder(address) / _PAGE
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.write_bytes(text.encode())

    def rewrite(self, text: str, address: str) -> str:
        """The HTML of a page with relative links; those that lead nowhere are taken out."""
        here = _folder(address)

        def replace(match: re.Match[str]) -> str:
            name, value = match[1], html.unescape(match[2])
            target = self._find(value, exact=name.startswith("data-"))
            if target is None:
                return ""
            return f' {name}="{html.escape(_relative(target, here))}"'

        home = _relative("", here)
        return _HOME.sub(f'data-home="{home}"', _LINK.sub(replace, text))

    def rewrite_search(self, names: dict[str, Any]) -> dict[str, Any]:
        """What the search finds, by addresses from the root of the site."""

        def exported(entries: Sequence[Sequence[str]]) -> list[list[str]]:
            targets = ((name, self._find(address)) for name, address in entries)
            return [[name, quote(target)] for name, target in targets if target is not None]

        channels = [
            [f"{unquote(parts[1])}:{parts[2]}", quote(f"{folder}/{_PAGE}")]
            for (path, query), folder in self._folders.items()
            if not query and (parts := path.strip("/").split("/"))[0] == "channel"
        ]
        matches = {kind: exported(names[kind]) for kind in ("layers", "classes", "photos")}
        return {**matches, "channels": [], "channel_pages": channels}

    def _find(self, address: str, *, exact: bool = False) -> str | None:
        """The file of an address, from the root of the site.

        Args:
            address: the address.
            exact: whether the same page in its first state is no answer. Default: it is one.
        """
        path, query = self._key(address)
        if path.startswith("/assets/") or path == f"/{LABELS}":
            return path.lstrip("/")
        state = dict(parse_qsl(query))
        candidates = [(path, query)]
        if path.startswith("/photo/") and not exact:
            if "layer" in state and not {"at", "channel"} & state.keys():
                candidates.append((f"/layer/{quote(state['layer'], safe='')}", ""))
            elif state.keys() <= {"layer", "at"}:
                candidates.append((path, ""))
        elif state.keys() == {"photo"} and not exact:
            candidates.append((path, ""))
        folders = (self._folders[key] for key in candidates if key in self._folders)
        return next((posixpath.join(folder, _PAGE) for folder in folders), None)

    def _key(self, address: str) -> tuple[str, str]:
        """Path and sorted state of an address, without the photo that is shown anyway."""
        path, _, query = address.partition("?")
        state = sorted(parse_qsl(query))
        return path, urlencode([pair for pair in state if pair != ("photo", self._first_photo)])


def remove_dead_links(root: Path) -> None:
    """Take the links to pages that are not there out of the written pages below `root`."""
    for page in root.rglob(_PAGE):

        def keep(match: re.Match[str], folder: Path = page.parent) -> str:
            target = folder / unquote(html.unescape(match[1]))
            return match[0] if target.is_file() else ""

        page.write_bytes(_LINK_TO_PAGE.sub(keep, page.read_bytes().decode()).encode())


def _folder(address: str) -> str:
    """The folder of a page, from the root of the site."""
    path, _, query = address.partition("?")
    name = "_".join(f"{key}={value}" for key, value in sorted(parse_qsl(query)))
    parts = [*unquote(path).strip("/").split("/"), re.sub(r"[^\w.=,-]", "_", name)]
    return "/".join("_" if part in (".", "..") else part for part in parts if part)


def write_script(text: str) -> str:
    """An ES module that imports and exports nothing, as a script that a page loads from a disk."""
    return f'(() => {{\n"use strict";\n{text}}})();\n'


def write_data(fields: dict[str, Any], search: dict[str, Any]) -> str:
    """The script with the receptive fields and with the names that the search finds."""
    return f"globalThis.exportedSite = {json.dumps({'fields': fields, 'search': search})};\n"


def _relative(target: str, here: str) -> str:
    """A link from one folder of the site to a file, or to the root."""
    return quote(posixpath.relpath(f"/{target}", f"/{here}"))
