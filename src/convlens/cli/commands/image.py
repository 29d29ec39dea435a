"""The image command: a photo as the tensor that a network receives."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=CHAPTER)
@with_arguments(ModelArguments)
def image(
    arguments: ModelArguments,
    photo: o.Photo,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="Y,X",
            callback=checks.check_position,
            help="Row and column of the first pixel whose numbers are written. Default: where the "
            "contrast is greatest.",
        ),
    ] = None,
    out: o.Out = Path("convlens-image"),
    overwrite: o.Overwrite = False,
) -> None:
    """Show a photo as the tensor that a network receives, and the mean that is subtracted."""
    from convlens.analyses.image_tensor.image_tensor import image_tensor
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import load_model, output_folder
    from convlens.cli.parsing import parse_position
    from convlens.cli.show.worked_examples import show_worked_example

    with output_folder(out):
        position = parse_position(at) if at is not None else None
        result = image_tensor(load_model(arguments), photo, at=position)
        result.save(out, photo=photo, command=command_line())
    show_worked_example(result, out, json=arguments.json)
