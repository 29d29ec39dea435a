"""The patches of the channels behind wrong predictions: what these channels react to."""

from collections.abc import Mapping

from convlens.analyses.error_analysis.error_maps import ErrorMaps
from convlens.analyses.error_analysis.photo_selection import select_photos
from convlens.analyses.patches.dataset_pass import patches
from convlens.analyses.patches.result import LayerPatches
from convlens.data.sampling import spread
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.passes.options import PassOptions
from convlens.passes.source import PhotosOrImages, open_source

_PATCHES = 3  # of each channel
_SEARCHED = 200  # photos, evenly spread


def find_channel_patches(
    model: Model,
    photos: PhotosOrImages,
    skipped: Mapping[int, str],
    maps: ErrorMaps,
    *,
    seed: int,
    pass_options: PassOptions,
) -> tuple[LayerPatches | None, str]:
    """Find the strongest patches of the channel that contributes most to each wrong prediction.

    Args:
        model: the model; left untouched.
        photos: all photos.
        skipped: photos that cannot be read, by number.
        maps: the maps of the errors.
        seed: seed of the check of the patches.
        pass_options: where progress is reported; its stage is `patches`.

    Returns:
        The patches at the layer of the channels, or None; and why there are none, empty where there
        are. Where there are no maps, their failure says why.
    """
    channels = sorted({ranked[0].channel for ranked in maps.channels if ranked})
    readable = [k for k in range(len(open_source(model, photos))) if k not in skipped]
    if not channels or not readable:
        return None, ""
    searched = spread(readable, _SEARCHED)
    try:
        layers = patches(
            model, select_photos(model, photos, searched), layers=maps.channel_layer, top=_PATCHES,
            show={maps.channel_layer: channels}, seed=seed,
            pass_options=PassOptions(
                progress=lambda _, done, total: pass_options.progress("patches", done, total)
            ),
        ).layers  # fmt: skip
    except ConvlensError as error:
        return None, str(error)
    return layers[0], ""
