"""The detector command: patch, kernel, products, sum, bias and activation of one unit."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=CHAPTER)
@with_arguments(ModelArguments)
def detector(
    arguments: ModelArguments,
    photo: o.Photo,
    channel: Annotated[
        str | None,
        typer.Option(
            "--channel",
            metavar="LAYER:K[@Y,X]",
            help="A channel of a convolution, or one of its units. Default: of the first "
            "convolution, the channel whose patch is most like its kernel.",
        ),
    ] = None,
    out: o.Out = Path("convlens-detector"),
    overwrite: o.Overwrite = False,
) -> None:
    """Show what one unit of a convolution computes, and which patch fits its kernel best."""
    from convlens.analyses.feature_maps.feature_detector import feature_detector
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import load_model, output_folder
    from convlens.cli.show.worked_examples import show_worked_example

    with output_folder(out):
        result = feature_detector(load_model(arguments), photo, channel)
        result.save(out, photo=photo, command=command_line())
    show_worked_example(result, out, json=arguments.json)
