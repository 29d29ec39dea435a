"""The functions `explore` and `export_explorer`: a network live in a browser, and as files."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.analyses.patches.cut import check_patches_model
from convlens.analyses.patches.result import Patches
from convlens.errors import ConvlensError
from convlens.models.label_tables import match_labels
from convlens.models.loading.default_photos import resolve_photos
from convlens.models.model import Model, check_model
from convlens.passes.options import Progress
from convlens.runtime.callbacks import or_ignore
from convlens.runtime.extras import check_installed
from convlens.tracing.tracer import trace

if TYPE_CHECKING:
    from convlens.explorer.server import Server
    from convlens.explorer.session import Session

PORT = 8642  # the first that is tried
_MOST_INDEXED = 1000  # photos of an index that are listed


class Explorer:
    """A running explorer.

    Attributes:
        url: the address to open in a browser of this machine. It holds a token; whoever has it can
            use the explorer.
    """

    def __init__(self, server: "Server", title: str) -> None:
        self._server = server
        self._title = title
        self.url = server.url

    @property
    def port(self) -> int:
        """Port of the server, on the loopback interface."""
        return self._server.port

    @property
    def is_running(self) -> bool:
        """Whether it still answers."""
        return self._server.is_running

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()

    def wait(self) -> None:
        """Return when the server has stopped."""
        self._server.wait()

    def __repr__(self) -> str:
        return f"<Explorer of {self._title} at {self.url}>"

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        return Markup('<p>Explorer of {}: <a href="{}" target="_blank">{}</a></p>').format(
            self._title, self.url, self.url
        )


def explore(
    model: Model,
    photos: Sequence[str | Path] | None = None,
    *,
    labels: Mapping[str, Sequence[int]] | None = None,
    index: Patches | str | Path | None = None,
    compare_with: Model | Sequence[Model] = (),
    port: int = PORT,
    seed: int = 0,
) -> Explorer:
    """Start an explorer of a network in the background, and return a handle with its address.

    The explorer shows photos with their receptive fields, Grad-CAM and feature maps, and the
    layers, channels and classes of the network. It answers on this machine only, and only to a
    browser that opened the address with the token.

    Args:
        model: the model; left untouched.
        photos: files. Default: validation images of a training for the network of a run folder,
            and the demonstration photos for others.
        labels: indices of the right classes by the photo's path or the end of it, such as its
            file's name. Default: those of the training, and of the demonstration photos for the
            embedded network; none for photos that are given.
        index: what `convlens.patches` returned for a data set of files, or the folder in which it
            was saved; `show=0` is enough. The pages of layers and channels then show the patches of
            this data set, and its photos are shown if none are given, at most the first 1,000.
            Default: patches are searched among the first 64 photos.
        compare_with: further models, such as another checkpoint. Any page can be shown beside the
            same page of one of them. Default: none.
        port: the first port that is tried; the next free one is taken, and 0 takes any. Default:
            8642.
        seed: seed of everything that is random. Default: 0.

    Returns:
        The running explorer, with its `url` and the method `stop`.

    Raises:
        ConvlensError: starlette or uvicorn is not installed, no file that can be read, an index of
            another model, or no free port.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> explorer = convlens.explore(convlens.wrap(network, size=8), photos=[], port=0)
        >>> explorer.url.startswith("http://127.0.0.1:"), explorer.is_running
        (True, True)
        >>> explorer.stop()
    """
    others = [compare_with] if isinstance(compare_with, Model) else list(compare_with)
    for each in (model, *others):
        check_model(each)
    check_installed("the explorer", ("starlette", "uvicorn"), "explore")
    from convlens.explorer.server import Server
    from convlens.explorer.session import Session

    session = _make_session(model, photos, labels, index, seed)
    names = name_models(model, others)
    compared = [
        Session(other, session.photos, seed, name=name, title=title, first=session)
        for other, (name, title) in zip(others, names, strict=True)
    ]
    return Explorer(Server(session, port, compared), model.name)


def export_explorer(
    model: Model,
    out: str | Path,
    photos: Sequence[str | Path] | None = None,
    *,
    labels: Mapping[str, Sequence[int]] | None = None,
    index: Patches | str | Path | None = None,
    channels: int = 4,
    seed: int = 0,
    notify: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the pages of an explorer as files, for a disk or any web server.

    The pages have the addresses of the live explorer. Receptive fields under the pointer, the
    epsilon slider, the convolution page and the search work without a server behind them. Left out
    is what is computed on demand: pinned units, shifts, dreams, maximized images and tuning.

    Args:
        model: the model; left untouched.
        out: the folder; an earlier export there is replaced.
        photos: as for `explore`, with the same default; the first 24 are exported.
        labels: as for `explore`, with the same default.
        index: as for `explore`; default: none.
        channels: number of channels of each layer that get a page: those whose greatest activation
            differs most between the photos. Default: 4.
        seed: as for `explore`. Default: 0.
        notify: called with sentences: before any page is made, how many there are, how large they
            will be and how long they will take, estimated from a forward pass; and again from what
            some pages of each kind took. Default: not called.
        progress: called with the name of a stage (`channels`, which are chosen, and `pages`), how
            many layers or pages are finished and how many there are. Default: not called.

    Returns:
        The page to open, `index.html` in the folder. After an interrupt (Ctrl-C) the folder has the
        pages that were written by then, and `notify` is called with their number.

    Raises:
        ConvlensError: as `explore`; a number of channels below 0; or a folder with other files.
        KeyboardInterrupt: it was interrupted before the first page, or twice; or an earlier export
            lies in the folder, which stays.

    Example:
        >>> import tempfile, torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = convlens.export_explorer(convlens.wrap(network, size=8), folder, photos=[])
        ...     page.name, (page.parent / "layer" / "0" / "index.html").exists()
        ('index.html', True)
    """
    check_model(model)
    check_installed("the explorer", ("starlette", "uvicorn"), "explore")
    if channels < 0:
        raise ConvlensError(f"{channels} channels; give 0 or more")
    from convlens.explorer.export import export_session

    session = _make_session(model, photos, labels, index, seed)
    return export_session(
        session, out, channels=channels, notify=or_ignore(notify), progress=or_ignore(progress)
    )


def _make_session(
    model: Model,
    photos: Sequence[str | Path] | None,
    labels: Mapping[str, Sequence[int]] | None,
    index: Patches | str | Path | None,
    seed: int,
) -> "Session":
    """What an explorer of a model shows; the arguments are those of `explore`."""
    from convlens.explorer.photo_store import PhotoStore
    from convlens.explorer.session import Session

    index_name = "patches" if isinstance(index, Patches) else repr(str(index))
    if index is not None:
        index = index if isinstance(index, Patches) else Patches.load(index)
        check_patches_model(model, trace(model), index)
        if not any(Path(name).is_file() for name in index.photos):
            raise ConvlensError(
                "none of the photos of the index is a file here; an index needs a pass over files, "
                "under the same paths"
            )
        photos = index.photos[:_MOST_INDEXED] if photos is None else photos
    # Without demonstration photos the explorer starts empty; a browser can send photos.
    paths, table = resolve_photos(model, photos, labels, missing_ok=True)
    store = PhotoStore(paths, match_labels(paths, table))
    if paths and not store.first(1):
        raise ConvlensError(f"none of {len(paths)} photos can be read; {store.skipped[0]}")
    return Session(model, store, seed, index=index, index_name=index_name)


def name_models(model: Model, others: Sequence[Model]) -> list[tuple[str, str]]:
    """For each compared model its name in addresses, and its name for people; all differ."""
    names: list[tuple[str, str]] = []
    taken = {model.name}
    for other in others:
        candidates = [other.name, *([other.spec] if other.spec else [])]
        numbered = (f"{other.name} ({number})" for number in count(2))
        title = next(text for text in chain(candidates, numbered) if text not in taken)
        taken.add(title)
        word = re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-.") or "model"
        used = {name for name, _ in names}
        words = chain([word], (f"{word}-{number}" for number in count(2)))
        names.append((next(text for text in words if text not in used), title))
    return names
