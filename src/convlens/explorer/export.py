"""`export_explorer`: the pages of an explorer as files, for a disk or any web server."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from convlens.analyses.patches import activation_statistics
from convlens.cache.folder import disk_cache
from convlens.data.prepared_photos import PREPARED_PHOTOS
from convlens.explorer.app import make_app
from convlens.explorer.assets import ASSETS
from convlens.explorer.network import LayerRow
from convlens.explorer.patch_search import search_layers, search_patches
from convlens.explorer.rendering import attempt
from convlens.explorer.session import Session
from convlens.explorer.static_site import DATA, StaticSite, write_data, write_script
from convlens.explorer.worker import StoppedError
from convlens.files import EXPLORER, atomic_folder
from convlens.passes.options import Progress

_PHOTOS = 24  # that are exported, as many as the start page shows at once
_ON_PAGE = 64  # channels of a layer on one page


def export_session(
    session: Session,
    out: str | Path,
    *,
    channels: int,
    notify: Callable[[str], None],
    progress: Progress,
) -> Path:
    """Write the pages of a session as files.

    Args:
        session: the session; its worker is closed.
        out: the folder.
        channels: number of channels of each layer with a page of their own.
        notify: told the number of pages, and how long they take and how large they are, before
            they are made.
        progress: called with a stage, the number of its layers or pages that are finished, and the
            number of all.

    Returns:
        The page to open, `index.html` in the folder.
    """
    stopped = threading.Event()
    with (
        disk_cache(),
        PREPARED_PHOTOS.keep(),
        atomic_folder(out, marker=EXPLORER) as folder,
        # In notebooks this thread has an event loop already.
        ThreadPoolExecutor(1, thread_name_prefix="convlens-export") as executor,
    ):
        export = _export(session, folder, channels, notify, progress, stopped)
        work = executor.submit(asyncio.run, export)
        try:
            work.result()
        finally:  # also after an interrupt, which this thread gets
            stopped.set()
            session.worker.close()
    return Path(out) / "index.html"


async def _export(
    session: Session,
    folder: Path,
    channels: int,
    notify: Callable[[str], None],
    progress: Progress,
    stopped: threading.Event,
) -> None:
    app = make_app(session, static=True)
    session.notice_changes()  # as each page does, which finds the results of the list then
    kinds = await _list_addresses(session, channels, progress)
    addresses = dict.fromkeys(address for kind in kinds for group in kind for address in group)
    site = StaticSite(list(addresses), first_photo=_first_key(session))
    writer = PageWriter(app, site, folder, len(addresses), progress, stopped)
    size, seconds = 0.0, 0.0
    for kind in kinds:  # one group of each kind shows what the others take
        group = kind[len(kind) // 2]
        start = time.perf_counter()
        await writer.write([group])
        count = sum(map(len, kind)) / len(group)
        size += sum(writer.sizes[address] for address in group) * count
        seconds += (time.perf_counter() - start) * count
    notify(
        f"{len(addresses):,} pages: about {max(1, round(size / 1e6)):,} MB and "
        f"{max(1, round(seconds / 60)):,} min"
    )
    groups = chain.from_iterable(kinds)
    # While the worker computes one page, this thread draws another one.
    await asyncio.gather(writer.write(groups), writer.write(groups))
    await _write_shared(app, session, site, folder)
    (folder / EXPLORER).write_text(
        json.dumps({"convlens": "explorer", "schema": 1, "pages": len(addresses)}), "utf-8"
    )


class PageWriter:
    """Writes pages, each once.

    Args:
        app: answers with the pages.
        site: rewrites and places them.
        folder: the folder of the site.
        count: number of all pages.
        progress: called with the number of pages that are written.
        stopped: set when no further page is wanted.

    Attributes:
        sizes: bytes of the pages that are written, by their address.
    """

    def __init__(
        self,
        app: ASGIApp,
        site: StaticSite,
        folder: Path,
        count: int,
        progress: Progress,
        stopped: threading.Event,
    ) -> None:
        self._app = app
        self._site = site
        self._folder = folder
        self._count = count
        self._progress = progress
        self._stopped = stopped
        self._begun: set[str] = set()
        self.sizes: dict[str, int] = {}

    async def write(self, groups: Iterable[list[str]]) -> None:
        """Write groups of pages, one after the other.

        Args:
            groups: addresses. Two calls may share an iterator, and each takes some of the groups.

        Raises:
            StoppedError: no further page is wanted.
        """
        for address in chain.from_iterable(groups):
            if self._stopped.is_set():
                raise StoppedError
            if address in self._begun:
                continue
            self._begun.add(address)
            text = self._site.rewrite(await _request(self._app, address), address)
            self.sizes[address] = self._site.write(self._folder, address, text)
            self._progress("pages", len(self.sizes), self._count)


async def _write_shared(app: ASGIApp, session: Session, site: StaticSite, folder: Path) -> None:
    """Write what all pages load."""
    fields = json.loads(await _request(app, "/fields.json"))
    names = json.loads(await _request(app, "/search.json"))
    texts = {DATA: write_data(fields, site.rewrite_search(names))}
    for address in ASSETS.addresses:
        text = await _request(app, address)
        texts[address] = write_script(text) if address.endswith(".js") else text
    if session.photos.num_labeled:
        texts[session.addresses.labels()] = await _request(app, session.addresses.labels())
    for address, text in texts.items():
        target = folder / address.lstrip("/")
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")


async def _list_addresses(
    session: Session, channels: int, progress: Progress
) -> list[list[list[str]]]:
    """The addresses of all pages that are exported: by their kind, in groups that share work."""
    to, network = session.addresses, await session.network()
    photos = session.photos.first(_PHOTOS)
    classes: dict[int, None] = {}
    photo_pages, gradcams, attacks = [], [], []
    for photo in photos:
        photo_pages.append([to.photo(photo.key), to.photo(photo.key, overlay="map")])
        predictions, _ = await attempt(session.predictions(photo))
        if predictions is None or not network.num_classes:
            continue
        shown = [index for index in predictions.classes[0].tolist() if index >= 0]
        classes |= dict.fromkeys([*shown, *(photo.classes or ())])
        explained = [None, *shown]
        gradcams.append(
            [to.photo(photo.key, overlay="gradcam", **{"class": index}) for index in explained]
        )
        attacks.append([to.photo(photo.key, overlay="epsilon")])
    layers = network.with_maps
    await attempt(search_layers(session, [row.name for row in layers]))
    maps, patches, channel_pages = [], [], []
    for done, row in enumerate(layers, start=1):
        assert row.source is not None  # as it has maps
        pages = -(-row.source.channels // _ON_PAGE)
        numbers = [None, *range(2, pages + 1)]
        maps.append([to.layer(row.name, page=number) for number in numbers])
        patches.append([to.layer(row.name, view="patches")])  # the other pages take minutes
        chosen = await _choose_channels(session, row, channels)
        session.channel_groups[row.name] = tuple(chosen)
        channel_pages.append([to.channel(row.name, channel) for channel in chosen])
        progress("channels", done, len(layers))
    kinds = [
        [[to.start()]], photo_pages, gradcams, attacks, maps, patches, channel_pages,
        [[to.class_page(index)] for index in classes],
        [[to.errors()]] if session.photos.num_labeled else [], [["/convolution"]],
    ]  # fmt: skip
    return [groups for kind in kinds if (groups := [group for group in kind if group])]


async def _choose_channels(session: Session, row: LayerRow, count: int) -> list[int]:
    """The channels of a layer whose greatest activation differs most between the photos."""
    assert row.source is not None
    statistics, _ = await attempt(search_patches(session, row.name, top=1))
    if statistics is None:
        return list(range(min(count, row.source.channels)))
    spread = activation_statistics.deviation_between_images(statistics[0].histogram)
    return spread.argsort(descending=True, stable=True)[:count].tolist()


def _first_key(session: Session) -> str:
    first = next(iter(session.photos), None)
    return first.key if first is not None else ""


async def _request(app: ASGIApp, address: str) -> str:
    """The text at an address; a page that says why where there is none."""
    path, _, query = address.partition("?")
    chunks: list[bytes] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # the client never goes away
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        chunks.append(message.get("body", b""))

    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": unquote(path), "raw_path": path.encode(),
        "query_string": query.encode(), "root_path": "", "headers": [],
    }  # fmt: skip
    await app(scope, receive, send)
    return b"".join(chunks).decode()
