"""The strongest patches of channels: from the index of the explorer, or among its first photos."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from convlens.analyses.patches.cut import cut_patches
from convlens.analyses.patches.dataset_pass import patches
from convlens.analyses.patches.result import LayerPatches, Patches
from convlens.errors import ConvlensError
from convlens.explorer.network import SIDE
from convlens.explorer.reproduction import Reproduction
from convlens.explorer.session import MOST_SEARCHED, Session
from convlens.passes.options import PassOptions


async def search_patches(
    session: Session, layer: str, channels: Sequence[int] = (), top: int = 9
) -> tuple[LayerPatches, Reproduction]:
    """The strongest patches of channels of a layer: from the index, or among the first photos.

    Args:
        session: the session.
        layer: name of the layer.
        channels: channels whose patches are cut out.
        top: number of patches of each channel, at most.

    Raises:
        ConvlensError: no photo is a file.
    """
    shown = tuple(channels)
    indexed = await _find_in_index(session, layer)
    if indexed is not None:
        return await _cut_patches(session, indexed, layer, shown, top)
    photos = session.photos.files(MOST_SEARCHED)
    if not photos:
        raise ConvlensError("no photo is a file; start convlens explore with some PHOTOS")
    paths = [photo.file_name for photo in photos]
    result = await session.compute(
        ("patches", layer, shown, top, tuple(photo.key for photo in photos)),
        lambda job: patches(
            session.model,
            paths,
            layers=[layer],
            side=SIDE,
            top=top,
            show={layer: list(shown)} if shown else 0,
            seed=session.seed,
            pass_options=PassOptions(progress=lambda *_: job.check()),
        ),
    )
    words = ["patches", *paths]
    for channel in shown:
        words += ["--channel", f"{layer}:{channel}"]
    words += [] if shown else ["--layer", layer, "--show", "0"]
    if top != 9:
        words += ["--top", str(top)]
    show = f"{{{layer!r}: {list(shown)}}}" if shown else "0"
    arguments = f"layers=[{layer!r}], top={top}, show={show}{session.seed_argument}"
    return result[layer], session.reproduction(
        words, f"convlens.patches(model, {paths}, {arguments})"
    )


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
    session: Session, indexed: LayerPatches, layer: str, channels: tuple[int, ...], top: int
) -> tuple[LayerPatches, Reproduction]:
    """The patches of channels of the index."""
    index = session.index
    assert index is not None
    chosen = {indexed.layer: list(channels)}
    reproduction = session.reproduction(
        [],
        f"convlens.cut_patches(model, {session.index_name}, {chosen}, top={top}"
        f"{session.seed_argument})",
    )
    if not channels:
        return indexed, reproduction
    cut = await session.compute(
        ("cut", layer, channels, top, _list_stamps(index, indexed, channels)),
        lambda _: cut_patches(session.model, index, chosen, top=top, seed=session.seed)[
            indexed.layer
        ],
    )
    return cut, reproduction


def _list_stamps(
    index: Patches, indexed: LayerPatches, channels: Sequence[int]
) -> tuple[tuple[str, int, int], ...]:
    """What changes when a photo with patches of the channels is written to."""
    numbers = indexed.images[list(channels)].unique().tolist()
    stamps = []
    for name in (index.photos[number] for number in numbers if number >= 0):
        with suppress(OSError):  # reading it says so
            status = Path(name).stat()
            stamps.append((name, status.st_mtime_ns, status.st_size))
    return tuple(stamps)
