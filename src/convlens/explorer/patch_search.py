"""The strongest patches of channels: from the index of the explorer, or among its first photos.

The photos run through a layer once. The pass finds the strongest units of all its channels, whose
patches are cut out where a page shows them. The numbers are those of one call of `patches` that
shows these channels. Crops are run again only for pages that show this evidence, because it takes
many times as long as the pass.
"""

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from convlens.analyses.patches.cut import cut_patches, draw_patches
from convlens.analyses.patches.dataset_pass import tabulate_patches
from convlens.analyses.patches.result import LayerPatches, Patches
from convlens.errors import ConvlensError
from convlens.explorer.network import SIDE
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.session import MOST_SEARCHED, Session
from convlens.explorer.worker import Job
from convlens.passes.options import PassOptions
from convlens.results.reproduction import Reproduction

_TOP = 9  # patches of each channel that a pass finds


async def search_patches(
    session: Session,
    layer: str,
    channels: Sequence[int] = (),
    top: int = _TOP,
    *,
    check: bool = True,
) -> tuple[LayerPatches, Reproduction]:
    """The strongest patches of channels of a layer: from the index, or among the first photos.

    Args:
        session: the session.
        layer: name of the layer.
        channels: channels whose patches are cut out. Default: none.
        top: number of patches of each of these channels, from 1 to 9. Default: 9.
        check: whether the crops are run again. Default: True.

    Raises:
        ConvlensError: no photo is a file.
    """
    shown = tuple(channels)
    indexed = await _find_in_index(session, layer)
    if indexed is not None:
        assert session.index is not None
        cut = await _cut_patches(session, session.index, indexed, shown, top, (), check=check)
        chosen = {indexed.layer: list(shown)}
        return cut, session.reproducer.reproduction(
            [],
            f"convlens.cut_patches(model, {session.index_name}, {chosen}, top={top}"
            f"{session.seed_argument})",
        )
    photos = list_searched(session)
    result = await session.compute(
        _search_key(layer, photos), lambda job: _search(session, [layer], photos, job)
    )
    keys = tuple(photo.key for photo in photos)
    cut = await _cut_patches(session, result, result[layer], shown, top, keys, check=check)
    return cut, _reproduce(session, layer, photos, shown, top)


async def search_layers(session: Session, layers: Sequence[str]) -> None:
    """Find the strongest units of several layers in one pass, for later calls of `search_patches`.

    Raises:
        ConvlensError: no photo is a file, or a layer cannot be searched.
    """
    missing = [layer for layer in layers if await _find_in_index(session, layer) is None]
    if not missing:
        return
    photos = list_searched(session)
    result = await session.compute(
        ("search", tuple(missing), tuple(photo.key for photo in photos)),
        lambda job: _search(session, missing, photos, job),
    )
    for layer in missing:
        await session.compute(_search_key(layer, photos), partial(_take_layer, result, layer))


def list_searched(session: Session) -> list[StoredPhoto]:
    """The photos among which patches are searched without an index.

    Raises:
        ConvlensError: no photo is a file.
    """
    photos = session.photos.files(MOST_SEARCHED)
    if not photos:
        raise ConvlensError("no photo is a file; start convlens explore with some PHOTOS")
    return photos


def _search_key(layer: str, photos: Sequence[StoredPhoto]) -> Hashable:
    return ("patches", layer, tuple(photo.key for photo in photos))


def _search(
    session: Session, layers: Sequence[str], photos: Sequence[StoredPhoto], job: Job
) -> Patches:
    """The strongest units of layers; called in the worker's thread."""
    return tabulate_patches(
        session.model,
        [photo.file_name for photo in photos],
        layers=layers,
        side=SIDE,
        top=_TOP,
        seed=session.seed,
        pass_options=PassOptions(progress=lambda *_: job.check()),
    )


def _take_layer(result: Patches, layer: str, _job: Job) -> Patches:
    """The result of a pass over this layer alone."""
    return replace(result, layers=(result[layer],))


def _reproduce(
    session: Session,
    layer: str,
    photos: Sequence[StoredPhoto],
    shown: Sequence[int],
    top: int,
) -> Reproduction:
    """The call of `patches` that shows channels of a layer."""
    paths = [photo.file_name for photo in photos]
    words = ["patches", *paths]
    for channel in shown:
        words += ["--channel", f"{layer}:{channel}"]
    words += [] if shown else ["--layer", layer, "--show", "0"]
    if top != _TOP:
        words += ["--top", str(top)]
    show = f"{{{layer!r}: {list(shown)}}}" if shown else "0"
    arguments = f"layers=[{layer!r}], top={top}, show={show}{session.seed_argument}"
    return session.reproducer.reproduction(words, f"convlens.patches(model, {paths}, {arguments})")


async def _find_in_index(session: Session, layer: str) -> LayerPatches | None:
    """A layer of the index, if it was read at the node whose maps the pages show."""
    if session.index is None:
        return None
    try:
        indexed = session.index[layer]
    except ConvlensError:
        return None
    source = (await session.network()).find_row(layer).source
    return indexed if source is not None and source.node_name == indexed.node_name else None


async def _cut_patches(
    session: Session,
    searched: Patches,
    layer: LayerPatches,
    channels: tuple[int, ...],
    top: int,
    name: Hashable,
    *,
    check: bool,
) -> LayerPatches:
    """A layer with the patches of channels.

    Args:
        session: the session.
        searched: what a pass over the photos found.
        layer: the layer of it.
        channels: channels whose patches are cut out.
        top: number of patches of each channel.
        name: what tells the pass from others of the session.
        check: whether the crops are run again.
    """
    if not channels:
        return layer

    def cut(_: Job) -> LayerPatches:
        if not check:
            return draw_patches(
                session.model, searched, layer, channels, top=top,
                compare=searched is session.index,  # other passes are those of this session
            )  # fmt: skip
        chosen = {layer.layer: list(channels)}
        return cut_patches(session.model, searched, chosen, top=top, seed=session.seed)[layer.layer]

    stamps = _list_stamps(searched, layer, channels)
    return await session.compute(("cut", name, layer.node_name, channels, top, check, stamps), cut)


def _list_stamps(
    searched: Patches, layer: LayerPatches, channels: Sequence[int]
) -> tuple[tuple[str, int, int], ...]:
    """What changes when a photo with patches of the channels is written to."""
    numbers = layer.images[list(channels)].unique().tolist()
    stamps = []
    for name in (searched.photos[number] for number in numbers if number >= 0):
        with suppress(OSError):  # reading it says so
            status = Path(name).stat()
            stamps.append((name, status.st_mtime_ns, status.st_size))
    return tuple(stamps)
