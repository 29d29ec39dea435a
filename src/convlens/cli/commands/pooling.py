"""The pooling command: max and average pooling of a small map, before and after shifts."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app


@app.command(rich_help_panel=CHAPTER)
def pooling(
    values: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="NUMBERS",
            callback=checks.check_matrix,
            help="Rows of numbers, such as '1 2; 3 4'. Default: 4 x 4.",
        ),
    ] = None,
    random: Annotated[
        bool, typer.Option("--random", help="Draw the map at random, by --seed.")
    ] = False,
    window: Annotated[int, typer.Option(min=1, help="Side of the pooling windows, in cells.")] = 2,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="Steps from window to window. Default: the window's side."),
    ] = None,
    shift: Annotated[
        list[str] | None,
        typer.Option(
            "--shift",
            metavar="Y,X",
            callback=checks.check_shifts,
            help="Rows downward and columns to the right by which the map is shifted; can be given "
            "several times. Default: 0,1 and 0,-1.",
        ),
    ] = None,
    out: o.Out = Path("convlens-pooling"),
    seed: o.Seed = 0,
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """Pool a small map by maxima and means, before and after the map is shifted."""
    from convlens.analyses.worked_examples.pooling import pooling_arithmetic
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import output_folder
    from convlens.cli.matrices import parse_matrix
    from convlens.cli.parsing import parse_shift
    from convlens.cli.show.worked_examples import show_worked_example

    shifts = [parse_shift(text) for text in shift or ("0,1", "0,-1")]
    with output_folder(out):
        result = pooling_arithmetic(
            parse_matrix(values), window=window, stride=stride, shifts=shifts,
            seed=seed if random else None,
        )  # fmt: skip
        result.save(out, command=command_line())
    show_worked_example(result, out, json=json)
