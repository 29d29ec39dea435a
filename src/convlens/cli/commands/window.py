"""The window command: where the windows of a filter lie, and the size of the output."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app


@app.command(rich_help_panel=CHAPTER)
def window(
    size: Annotated[int, typer.Option(min=1, help="Length of the image's sides in pixels.")] = 6,
    kernel: o.Kernel = 3,
    padding: o.Padding = "valid",
    stride: o.Stride = 1,
    dilation: Annotated[
        int, typer.Option(min=1, help="Distance between neighboring taps of the filter.")
    ] = 1,
    out: o.Out = Path("convlens-window"),
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """Draw where the windows of a filter lie, with the size of the output."""
    from convlens.analyses.worked_examples.window_grid import window_grid
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import output_folder
    from convlens.cli.matrices import parse_padding
    from convlens.cli.show.worked_examples import show_window_grid

    with output_folder(out):
        result = window_grid(
            size, kernel, padding=parse_padding(padding), stride=stride, dilation=dilation
        )
        result.save(out, command=command_line())
    show_window_grid(result, out, json=json)
