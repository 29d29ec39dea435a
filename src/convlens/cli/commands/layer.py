"""The layer command: the channels of a convolutional layer, and its parameters."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app


@app.command(rich_help_panel=CHAPTER)
def layer(
    channels_in: Annotated[int, typer.Option(min=1, help="Number of channels of the input.")] = 3,
    channels_out: Annotated[int, typer.Option(min=1, help="Number of filters.")] = 64,
    kernel: o.Kernel = 3,
    size: Annotated[int, typer.Option(min=1, help="Length of the input's sides in pixels.")] = 224,
    padding: o.Padding = "same",
    stride: o.Stride = 1,
    bias: Annotated[bool, typer.Option(help="Whether each filter has a bias.")] = True,
    out: o.Out = Path("convlens-layer"),
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """Draw the channels of a convolutional layer, and count its parameters."""
    from convlens.analyses.worked_examples.layer import layer_arithmetic
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import output_folder
    from convlens.cli.matrices import parse_padding
    from convlens.cli.show.worked_examples import show_layer

    with output_folder(out):
        result = layer_arithmetic(
            channels_in, channels_out, kernel=kernel, size=size, padding=parse_padding(padding),
            stride=stride, bias=bias,
        )  # fmt: skip
        result.save(out, command=command_line())
    show_layer(result, out, json=json)
