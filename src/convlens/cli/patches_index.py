"""The index of the explore command: a folder with the patches of all photos."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.claims import real_path
from convlens.cli import terminal
from convlens.cli.folders import command_line
from convlens.cli.inputs import check_resumable_folder, resumable_folder
from convlens.errors import ConvlensError
from convlens.files import RESULT

if TYPE_CHECKING:
    from convlens.models.model import Model


def check_index(folder: Path, photos: Sequence[Path] | None) -> None:
    """Check, before a model is loaded, that a folder holds a result or can be filled.

    Args:
        folder: the folder.
        photos: the photos of the command line; None without any.

    Raises:
        ConvlensError: there is no result, and no photos to make it of; or the folder holds
            something else.
    """
    if (folder / RESULT).exists():
        return
    if photos is None:
        raise ConvlensError(
            f"{folder} holds no saved result; give PHOTOS to make the index of, or the folder that "
            f"convlens patches wrote"
        )
    check_resumable_folder(folder, resume=_is_unfinished(folder))


def make_index(
    folder: Path,
    model: "Model",
    photos: Sequence[Path],
    table: Mapping[str, Sequence[int]] | None,
    *,
    seed: int,
    quiet: bool,
) -> None:
    """Find the patches of all photos, unless the folder holds a result.

    A pass that was stopped goes on. Labels count where two classes have enough photos.

    Args:
        folder: the folder.
        model: the model.
        photos: the photos.
        table: the right classes by the photo's path or an end of it; None without labels.
        seed: seed of the sampled images and units.
        quiet: show no progress.
    """
    if (folder / RESULT).exists():
        return
    from convlens.analyses.patches.dataset_pass import patches
    from convlens.analyses.patches.selectivity import frequent_classes
    from convlens.models.label_tables import match_labels
    from convlens.passes.options import PassOptions

    known = match_labels(photos, {name: tuple(classes) for name, classes in (table or {}).items()})
    labels = known if len(frequent_classes(known)) > 1 else None  # too few for selectivity
    resume = _is_unfinished(folder)
    with (
        resumable_folder(folder, resume=resume) as resume_folder,
        terminal.progress(quiet=quiet) as progress,
    ):
        result = patches(
            model, list(photos), show=0, labels=labels, seed=seed,
            pass_options=PassOptions(resume_folder=resume_folder, progress=progress),
        )  # fmt: skip
        result.save(folder, command=command_line())


def _is_unfinished(folder: Path) -> bool:
    """Whether a pass into the folder was stopped."""
    path = real_path(folder)
    return path.with_name(f"{path.name}.unfinished").exists()
