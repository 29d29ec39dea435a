"""`export_explorer`: the pages of an explorer as files, for a disk or any web server."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
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
from convlens.explorer.export_plan import (
    Cost,
    estimate_cost,
    first_channels,
    interleave,
    list_pages,
    measure_units,
)
from convlens.explorer.network import LayerRow
from convlens.explorer.patch_search import search_layers, search_patches
from convlens.explorer.rendering import attempt
from convlens.explorer.session import Session
from convlens.explorer.static_site import (
    DATA,
    StaticSite,
    remove_dead_links,
    write_data,
    write_script,
)
from convlens.explorer.worker import StoppedError
from convlens.files import EXPLORER, atomic_folder
from convlens.passes.options import Progress
from convlens.runtime.interrupts import catch_interrupts


def export_session(
    session: Session,
    out: str | Path,
    *,
    channels: int,
    notify: Callable[[str], None],
    progress: Progress,
) -> Path:
    """Write the pages of a session as files.

    An interrupt (Ctrl-C) ends the export with the pages that are written, without links to others.

    Args:
        session: the session; its worker is closed.
        out: the folder.
        channels: number of channels of each layer with a page of their own.
        notify: called with the number of pages, and with how long they take and how large they
            are: before any is made, again after some of each kind, and after an interrupt.
        progress: called with a stage, the number of its layers or pages that are finished, and the
            number of all.

    Returns:
        The page to open, `index.html` in the folder.

    Raises:
        KeyboardInterrupt: it was interrupted before the first page, or where an earlier export
            lies in the folder, which stays; or it was interrupted twice.
    """
    stopped = threading.Event()
    with (
        disk_cache(),
        PREPARED_PHOTOS.keep(),
        atomic_folder(out, marker=EXPLORER) as folder,
        catch_interrupts() as is_interrupted,
        # In notebooks this thread has an event loop already.
        ThreadPoolExecutor(1, thread_name_prefix="convlens-export") as executor,
    ):
        export = _export(session, folder, channels, notify, progress, stopped, is_interrupted)
        work = executor.submit(asyncio.run, export)
        try:
            written, count = work.result()
        finally:  # also after a second interrupt, which this thread gets
            stopped.set()
            session.worker.close()
        if written < count:
            if (Path(out) / EXPLORER).exists():
                notify("interrupted; the earlier export stays")
                raise KeyboardInterrupt
            if not written:
                raise KeyboardInterrupt
            notify(f"interrupted; {written:,} of {count:,} pages are written")
    return Path(out) / "index.html"


async def _export(
    session: Session,
    folder: Path,
    channels: int,
    notify: Callable[[str], None],
    progress: Progress,
    stopped: threading.Event,
    is_interrupted: Callable[[], bool],
) -> tuple[int, int]:
    """Write the pages into a folder.

    Returns:
        The number of pages that are written, fewer after an interrupt, and of all.
    """
    app = make_app(session, static=True)
    session.notice_changes()  # as each page does, which finds the results of the list then
    layers = (await session.network()).with_maps
    planned = await list_pages(session, first_channels(layers, channels))
    count = sum(kind.pages for kind in planned)
    cost = await estimate_cost(session, planned, await measure_units(session))
    notify(f"{count:,} pages: {cost.describe()}, estimated from one forward pass")
    kinds = await list_pages(session, await _choose_channels(session, layers, channels, progress))
    addresses = [address for kind in kinds for group in kind.groups for address in group]
    site = StaticSite(addresses, first_photo=_first_key(session))
    writer = PageWriter(app, site, folder, count, progress, stopped, is_interrupted)
    size, seconds = 0.0, 0.0
    for kind in kinds:  # some pages of each kind, which show what the others take
        sample = kind.sample()
        start = time.perf_counter()
        await writer.write(sample)
        if is_interrupted():
            break
        passed = time.perf_counter() - start
        sampled = [writer.sizes[address] for group in sample for address in group]
        others = kind.pages / len(sampled) - 1
        size += others * sum(sampled)
        seconds += others * passed
    else:
        left = Cost(size, seconds)
        notify(f"measured on some pages of each kind: {left.describe()} are left")
    groups = iter(interleave(kinds))
    # While the worker computes one page, this thread draws another one.
    await asyncio.gather(writer.write(groups), writer.write(groups))
    written = list(writer.sizes)
    if session.addresses.start() not in writer.sizes:
        return 0, count
    if len(written) < count:
        remove_dead_links(folder)
        site = StaticSite(written, first_photo=_first_key(session))
    await _write_shared(app, session, site, folder)
    (folder / EXPLORER).write_text(
        json.dumps({"convlens": "explorer", "schema": 1, "pages": len(written)}), "utf-8"
    )
    return len(written), count


class PageWriter:
    """Writes pages, each once.

    Args:
        app: answers with the pages.
        site: rewrites and places them.
        folder: the folder of the site.
        count: number of all pages.
        progress: called with the number of pages that are written.
        stopped: set when nothing is wanted any more.
        is_interrupted: whether no further page is wanted.

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
        is_interrupted: Callable[[], bool],
    ) -> None:
        self._app = app
        self._site = site
        self._folder = folder
        self._count = count
        self._progress = progress
        self._stopped = stopped
        self._is_interrupted = is_interrupted
        self._begun: set[str] = set()
        self.sizes: dict[str, int] = {}

    async def write(self, groups: Iterable[list[str]]) -> None:
        """Write groups of pages, one after the other, until an interrupt.

        Args:
            groups: addresses. Two calls may share an iterator, and each takes some of the groups.

        Raises:
            StoppedError: nothing is wanted any more.
        """
        for address in chain.from_iterable(groups):
            if self._stopped.is_set():
                raise StoppedError
            if self._is_interrupted():
                return
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


async def _choose_channels(
    session: Session, layers: Sequence[LayerRow], count: int, progress: Progress
) -> dict[str, Sequence[int]]:
    """The channels of each layer whose greatest activation differs most between the photos."""
    channels = first_channels(layers, count)
    await attempt(search_layers(session, [row.name for row in layers]))
    for done, row in enumerate(layers, start=1):
        statistics, _ = await attempt(search_patches(session, row.name, top=1))
        if statistics is not None:
            spread = activation_statistics.deviation_between_images(statistics[0].histogram)
            channels[row.name] = spread.argsort(descending=True, stable=True)[:count].tolist()
        progress("channels", done, len(layers))
    return channels


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
