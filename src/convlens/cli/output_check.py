"""The checks of `--out` and `--draw`: earlier results are replaced only with `--overwrite`.

typer calls them with the values of these options, also with defaults, before a command runs and
torch is imported. `--overwrite` and `--resume` are eager, so that their values are known by then.
"""

from pathlib import Path

import typer

from convlens.errors import ConvlensError
from convlens.files import check_figure_file, find_results


def check_out(context: typer.Context, out: Path | None) -> Path | None:
    """Refuse a folder that holds earlier results, unless `--overwrite` or `--resume` is given.

    Raises:
        ConvlensError: the folder holds earlier results, or its name is that of an option, whose
            value is missing then.
    """
    if str(out).startswith("--"):
        raise ConvlensError(f"--out {out} names no folder; give one, or ./{out} for that name")
    options = context.params
    replaces = "overwrite" in options and not options["overwrite"] and not options.get("resume")
    if out is not None and replaces and (earlier := find_results(out)) is not None:
        raise ConvlensError(
            f"{out} holds earlier results ({earlier}); give --overwrite to replace them, or "
            f"another folder, such as --out {_free_folder(out)}"
        )
    return out


def check_export(context: typer.Context, folder: Path | None) -> Path | None:
    """Refuse a folder that holds earlier results, unless `--overwrite` is given.

    Raises:
        ConvlensError: the folder holds earlier results.
    """
    if folder is not None and not context.params["overwrite"] and find_results(folder) is not None:
        raise ConvlensError(
            f"{folder} holds earlier results; give --overwrite to replace them, or another folder"
        )
    return folder


def check_draw(context: typer.Context, path: Path | None) -> Path | None:
    """Refuse a file of an unknown format, and one that exists unless `--overwrite` is given.

    Raises:
        ConvlensError: the format is unknown, or the file exists.
    """
    if path is not None:
        check_figure_file(path)
    if path is not None and path.is_file() and not context.params["overwrite"]:
        raise ConvlensError(f"{path} exists; give --overwrite to replace it, or another name")
    return path


def _free_folder(out: Path) -> Path:
    number = 2
    while (free := out.with_name(f"{out.name}-{number}")).exists():
        number += 1
    return free
