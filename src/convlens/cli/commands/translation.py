"""The translation command: the map of a shifted photo is the shifted map."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app


@app.command(rich_help_panel=CHAPTER)
def translation(
    photo: o.Photo,
    shift: Annotated[
        str,
        typer.Option(
            metavar="Y,X",
            callback=checks.check_shift,
            help="Rows downward and columns to the right.",
        ),
    ] = "0,16",
    filter: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            callback=checks.check_matrix,
            help="Rows of the filter. Default: '-1 0 1; -2 0 2; -1 0 1' (Sobel).",
        ),
    ] = None,
    stride: o.Stride = 1,
    size: Annotated[
        int, typer.Option(min=1, help="Sides of the two views of the photo, in pixels.")
    ] = 96,
    out: o.Out = Path("convlens-translation"),
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """Compare the feature map of a shifted photo with the shifted feature map."""
    from convlens.analyses.shift.translation import translation
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import output_folder
    from convlens.cli.matrices import parse_matrix
    from convlens.cli.parsing import parse_shift
    from convlens.cli.show.worked_examples import show_worked_example

    with output_folder(out):
        result = translation(
            photo, shift=parse_shift(shift), filter=parse_matrix(filter), stride=stride, size=size
        )
        result.save(out, photo=photo, command=command_line())
    show_worked_example(result, out, json=json)
