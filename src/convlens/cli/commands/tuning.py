"""The tuning command: responses of a layer's channels to drifting gratings."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=CHANNELS)
@with_arguments(ModelArguments)
def tuning(
    arguments: ModelArguments,
    layer: o.Layer = None,
    side: o.LayerSide = o.Side.post,
    orientations: Annotated[
        int, typer.Option(min=2, help="Number of orientations over 180 degrees.")
    ] = 12,
    phases: Annotated[
        int, typer.Option(min=4, help="Number of steps of the drift over one cycle.")
    ] = 16,
    out: o.Out = Path("convlens-tuning"),
    overwrite: o.Overwrite = False,
) -> None:
    """Measure orientation tuning with gratings, and tell simple from complex channels."""
    from convlens.cli import terminal
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import load_model, output_folder

    with output_folder(out):
        # imports torch
        from convlens.analyses.orientation_tuning.orientation_tuning import orientation_tuning
        from convlens.cli.show.tuning import show_tuning

        loaded = load_model(arguments)
        with terminal.progress(quiet=arguments.quiet) as progress:
            result = orientation_tuning(
                loaded,
                layer=layer,
                side=side.value,
                orientations=orientations,
                phases=phases,
                progress=lambda done, total: progress("gratings", done, total),
            )
        result.save(out, command=command_line())
    show_tuning(result, out, json=arguments.json)
