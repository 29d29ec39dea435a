"""The photos of a page or an explorer: those that are given, or else those that go with the model.

Nothing here imports torch.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.data.datasets.pictures import list_photos
from convlens.errors import ConvlensError
from convlens.models.loading.demo_photos import demo_photos
from convlens.models.loading.run_photos import find_run_photos, read_run_labels
from convlens.models.loading.specs import find_run_folder

if TYPE_CHECKING:
    from convlens.models.model import Model


def resolve_photos(
    model: "Model",
    photos: Sequence[str | Path] | None,
    labels: Mapping[str, Sequence[int]] | None,
    *,
    missing_ok: bool = False,
) -> tuple[list[Path], dict[str, tuple[int, ...]]]:
    """The files of the photos, and the right classes by the end of a path.

    Args:
        model: the model.
        photos: files; None for those of `default_photos`.
        labels: indices of the right classes by the photo's path or an end of it; None for the known
            labels of the default photos, and for no labels of photos that are given.
        missing_ok: return no photos where the demonstration photos are not installed, instead of
            raising an error. Default: raise it.

    Raises:
        ConvlensError: a photo that is not the path of a file, demonstration photos that are not
            installed, or a damaged table of labels in a run folder.
    """
    table = {name: tuple(classes) for name, classes in (labels or {}).items()}
    if photos is not None:
        return _list_files(photos), table
    try:
        paths = default_photos(model.spec)
    except ConvlensError:
        if not missing_ok:
            raise
        return [], table
    return paths, default_labels(model) if labels is None else table


def default_photos(spec: str | None) -> list[Path]:
    """The photos that are shown of a model if none are given.

    Args:
        spec: what `convlens.load` is given; None for a network that was wrapped in Python.

    Returns:
        For the folder of a training the validation images that it kept, if it kept any; else the
        demonstration photos.

    Raises:
        ConvlensError: the demonstration photos are not installed.
    """
    return _find_kept_photos(spec) or [photo.path for photo in demo_photos()]


def default_labels(model: "Model") -> dict[str, tuple[int, ...]]:
    """Indices of the right classes of `default_photos` by the name of the file.

    They are known for the validation images of a training, and for the demonstration photos by the
    labels of the embedded network.

    Raises:
        ConvlensError: a damaged table of labels in the run folder, or demonstration photos that are
            not installed.
    """
    run = find_run_folder(model.spec or "")
    if run is not None and find_run_photos(run[0]):
        return read_run_labels(run[0], model.labels)
    if model.spec != "default" or model.labels is None:
        return {}
    indices = {label: index for index, label in enumerate(model.labels)}
    return {
        photo.path.name: tuple(indices[label] for label in photo.classes if label in indices)
        for photo in demo_photos()
        if any(label in indices for label in photo.classes)
    }


def check_default_photos(spec: str | None, name: str) -> None:
    """Refuse a model that has no photos of its own, for a page that needs some.

    Args:
        spec: what `convlens.load` is given; None for a network that was wrapped in Python.
        name: name of the model in the message.

    Raises:
        ConvlensError: the model is neither the embedded network nor the folder of a training that
            kept photos.
    """
    if spec != "default" and not _find_kept_photos(spec):
        raise ConvlensError(
            f"the demonstration photos are for the embedded network; give photos for {name}"
        )


def _find_kept_photos(spec: str | None) -> list[Path]:
    """The validation images that the training of a run folder kept; none for other specs."""
    run = find_run_folder(spec or "")
    return find_run_photos(run[0]) if run is not None else []


def _list_files(photos: Sequence[str | Path]) -> list[Path]:
    files = list_photos(photos)
    for photo in files:
        if not isinstance(photo, (str, os.PathLike)):
            raise ConvlensError(
                f"a photo of type {type(photo).__name__}; pages name photos by their files, so "
                f"save it and give its path"
            )
    return [Path(photo) for photo in files]
