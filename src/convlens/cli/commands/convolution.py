"""The convolution command: a small image convolved with a small filter, all sums written out."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app


@app.command(rich_help_panel=CHAPTER)
def convolution(
    image: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            callback=checks.check_matrix,
            help="Rows of the image, such as '1 2 3; 4 5 6'. Default: 1 to 9.",
        ),
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            callback=checks.check_matrix,
            help="Rows of the filter. Default: '1 0; 0 -1'.",
        ),
    ] = None,
    random: Annotated[
        bool, typer.Option("--random", help="Draw what is not given at random, by --seed.")
    ] = False,
    bias: Annotated[float, typer.Option(help="Number added to each sum.")] = 0.0,
    padding: o.Padding = "valid",
    stride: o.Stride = 1,
    out: o.Out = Path("convlens-convolution"),
    seed: o.Seed = 0,
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """Convolve a small image with a small filter, and write out every sum."""
    from convlens.analyses.worked_examples.convolution import convolution_arithmetic
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import output_folder
    from convlens.cli.matrices import parse_matrix, parse_padding
    from convlens.cli.show.worked_examples import show_convolution

    with output_folder(out):
        result = convolution_arithmetic(
            parse_matrix(image), parse_matrix(filter), bias=bias, padding=parse_padding(padding),
            stride=stride, seed=seed if random else None,
        )  # fmt: skip
        result.save(out, command=command_line())
    show_convolution(result, out, json=json)
