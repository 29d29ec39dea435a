"""`export_explorer`: the pages of an explorer as files, which any web server can host."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from convlens.analyses.patches import activation_statistics
from convlens.cache.folder import disk_cache
from convlens.explorer.app import make_app
from convlens.explorer.assets import ASSETS
from convlens.explorer.network import LayerRow
from convlens.explorer.patch_search import search_patches
from convlens.explorer.rendering import attempt
from convlens.explorer.session import Session
from convlens.explorer.static_site import StaticSite
from convlens.explorer.worker import StoppedError
from convlens.files import EXPLORER, atomic_folder
from convlens.passes.options import Progress

_PHOTOS = 24  # that are exported, as many as the start page shows at once
_ON_PAGE = 64  # channels of a layer on one page
_SHARED = ("/fields.json", "/search.json", *ASSETS.addresses)


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
    kinds = await _list_addresses(session, channels, progress)
    addresses = list(dict.fromkeys(address for group in kinds for address in group))
    site = StaticSite(addresses, first_photo=_first_key(session))
    size, seconds = 0, 0.0
    for group in kinds:  # one page of each kind shows what the others take
        start = time.perf_counter()
        size += len(await _request(app, group[0])) * len(group)
        seconds += (time.perf_counter() - start) * len(group)
    notify(
        f"{len(addresses):,} pages: about {max(1, round(size / 1e6)):,} MB and "
        f"{max(1, round(seconds / 60)):,} min"
    )
    for done, address in enumerate(addresses):
        if stopped.is_set():
            raise StoppedError
        progress("pages", done, len(addresses))
        text = site.rewrite(await _request(app, address), address)
        site.write(folder, address, text)
    progress("pages", len(addresses), len(addresses))
    shared = [*_SHARED, session.addresses.labels()] if session.photos.num_labeled else _SHARED
    for address in shared:
        text = await _request(app, address)
        if address == "/search.json":
            text = json.dumps(site.rewrite_search(json.loads(text)))
        target = folder / address.lstrip("/")
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
    (folder / EXPLORER).write_text(
        json.dumps({"convlens": "explorer", "schema": 1, "pages": len(addresses)}), "utf-8"
    )


async def _list_addresses(session: Session, channels: int, progress: Progress) -> list[list[str]]:
    """The addresses of all pages that are exported, by their kind."""
    to, network = session.addresses, await session.network()
    photos = session.photos.first(_PHOTOS)
    classes: dict[int, None] = {}
    photo_pages, gradcams, attacks = [], [], []
    for photo in photos:
        photo_pages += [to.photo(photo.key), to.photo(photo.key, overlay="map")]
        predictions, _ = await attempt(session.predictions(photo))
        if predictions is None or not network.num_classes:
            continue
        shown = [index for index in predictions.classes[0].tolist() if index >= 0]
        classes |= dict.fromkeys([*shown, *(photo.classes or ())])
        gradcams += [to.photo(photo.key, overlay="gradcam")]
        gradcams += [to.photo(photo.key, overlay="gradcam", **{"class": k}) for k in shown]
        attacks.append(to.photo(photo.key, overlay="epsilon"))
    maps, patches, channel_pages = [], [], []
    for done, row in enumerate(network.with_maps, start=1):
        assert row.source is not None  # as it has maps
        pages = -(-row.source.channels // _ON_PAGE)
        numbers = [None, *range(2, pages + 1)]
        maps += [to.layer(row.name, page=number) for number in numbers]
        patches += [to.layer(row.name, view="patches", page=number) for number in numbers]
        chosen = await _choose_channels(session, row, channels)
        channel_pages += [to.channel(row.name, channel) for channel in chosen]
        progress("channels", done, len(network.with_maps))
    kinds = [
        [to.start()], photo_pages, gradcams, attacks, maps, patches, channel_pages,
        [to.class_page(index) for index in classes],
        [to.errors()] if session.photos.num_labeled else [], ["/convolution"],
    ]  # fmt: skip
    return [group for group in kinds if group]


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
