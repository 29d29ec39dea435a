"""The field command: the receptive field of a unit, drawn on a photo."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import NETWORKS, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=NETWORKS)
@with_arguments(ModelArguments)
def field(
    arguments: ModelArguments,
    photo: o.Photo,
    layer: Annotated[
        str,
        typer.Option("--layer", metavar="NAME", help="A layer by the name that `anatomy` lists."),
    ],
    side: o.LayerSide = o.Side.post,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="Y,X",
            callback=checks.check_position,
            help="Row and column in the layer's map. Default: the middle.",
        ),
    ] = None,
    out: o.Out = Path("convlens-field"),
    overwrite: o.Overwrite = False,
) -> None:
    """Draw the receptive field of a unit on a photo."""
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import load_model, output_folder
    from convlens.cli.parsing import parse_position

    with output_folder(out):
        from convlens.analyses.receptive_field.field import receptive_field  # imports torch
        from convlens.cli.show.field import show_receptive_field

        loaded = load_model(arguments)
        position = parse_position(at) if at is not None else None
        result = receptive_field(loaded, photo, layer=layer, side=side.value, at=position)
        result.save(out, photo=photo, command=command_line())
    show_receptive_field(result, out, json=arguments.json)
