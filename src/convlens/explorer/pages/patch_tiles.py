"""The patches of a channel as tiles, each with the page on which its unit is pinned."""

from dataclasses import dataclass

from convlens.analyses.patches.result import ChannelPatches, LayerPatches
from convlens.explorer.session import Session
from convlens.html.pictures import Picture, PictureBudget

_TILE = 96  # CSS pixels of a patch


@dataclass(frozen=True)
class PatchTile:
    """One patch of the channel.

    Attributes:
        picture: the receptive field of the unit.
        value: its activation.
        photo: name of the photo; empty for a random image of an octave.
        address: page of the photo with the unit pinned; empty where the photo is not known.
    """

    picture: Picture | None
    value: float
    photo: str = ""
    address: str = ""


def list_patches(
    session: Session, layer: LayerPatches, entry: ChannelPatches, name: str, budget: PictureBudget
) -> list[PatchTile]:
    """The strongest patches, each with the page on which its unit is pinned."""
    tiles = []
    for rank, (tile, value, photo) in enumerate(
        zip(entry.tiles, entry.values, entry.photos, strict=False)
    ):
        if not shows_response(layer, entry, rank):
            continue
        stored = session.photos.find_path(photo)
        row, column = int(layer.rows[entry.channel, rank]), int(layer.columns[entry.channel, rank])
        address = (
            session.addresses.photo(stored.key, layer=name, at=f"{row},{column}")
            if stored is not None
            else ""
        )
        label = stored.name if stored is not None else photo
        tiles.append(PatchTile(budget.thumbnail(tile, _TILE), value, label, address))
    return tiles


def shows_response(layer: LayerPatches, entry: ChannelPatches, rank: int) -> bool:
    """Whether a patch activates the channel: behind a non-linearity 0 is no response."""
    return rank < len(entry.tiles) and (not layer.post or entry.values[rank] > 0)


def list_bands(entry: ChannelPatches, budget: PictureBudget) -> list[PatchTile]:
    """A random patch of each octave of activation below the strongest."""
    return [
        PatchTile(budget.thumbnail(tile, _TILE), value)
        for tile, value in zip(entry.bands, entry.band_values, strict=False)
    ]
