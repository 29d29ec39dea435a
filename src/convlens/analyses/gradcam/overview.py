"""The files of a Grad-CAM pass that people read: the numbers of all photos, and the index."""

from dataclasses import replace
from pathlib import Path

from convlens.analyses.gradcam.dataset_result import GradCams
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.gradcam.table import load_maps
from convlens.data.sampling import spread
from convlens.files import NUMBERS
from convlens.results.folder import find_pictures, write_overview
from convlens.results.index import IndexGroup
from convlens.results.numbers import summary_lines
from convlens.text import json_text

_MOST = 300  # photos in the index


def finish_folder(folder: Path, result: GradCams, *, command: str | None) -> None:
    """Complete `numbers.json`, and write `contact-sheet.png` and `index.html`.

    Args:
        folder: the folder with a folder for each photo, and the tables of `write_tables`.
        result: what all photos have in common.
        command: the command line that makes the result, or None.
    """
    shared = {"summary": summary_lines(result), **result.numbers_json()}
    del shared["photos"]  # `write_tables` has written them
    with (folder / NUMBERS).open("a", encoding="utf-8") as numbers:
        numbers.write(f",\n{json_text(shared).strip().removeprefix('{')}\n")
    photos = result.photos
    shown_photos = spread(photos, _MOST)
    left_out = ""
    if len(shown_photos) < len(photos):
        left_out = (
            f"{len(shown_photos):,} of {len(photos):,} photos, evenly spread; scores.csv has a row "
            f"for each, and each has a folder of its own."
        )
    write_overview(
        folder,
        result,
        [_photo_group(folder, photo) for photo in shown_photos],
        left_out=left_out,
        command=command,
        python=f"maps = convlens.Result.load({photos[0]!r})",
    )


def _photo_group(folder: Path, photo: str) -> IndexGroup:
    """The maps of one photo, with their numbers."""
    maps = load_maps(folder / photo)
    cam = maps if isinstance(maps, GradCam) else maps.gradcams[0]
    pictures = find_pictures(folder, photo, maps.picture_names(), photo=photo)
    captioned = tuple(
        replace(picture, caption=cam.describe_map(0, rank).replace("\n", ", "))
        for rank, picture in enumerate(pictures)
    )
    return IndexGroup(photo, captioned, folder=photo)
