"""The cortex command: a photo as simple and complex cells respond to it."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app


@app.command(rich_help_panel=CHANNELS)
def cortex(
    photo: o.Photo,
    orientations: Annotated[
        int, typer.Option(min=1, help="Number of orientations over 180 degrees.")
    ] = 8,
    wavelength: Annotated[
        float, typer.Option(min=2, help="Wavelength of the Gabor filters, in pixels.")
    ] = 8.0,
    size: Annotated[
        str,
        typer.Option(
            "--size",
            metavar="N|HxW",
            callback=checks.check_size,
            help="Size of the image in pixels.",
        ),
    ] = "256",
    out: o.Out = Path("convlens-cortex"),
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """Show how simple and complex cells of the visual cortex respond to a photo."""
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import output_folder
    from convlens.cli.parsing import parse_size

    with output_folder(out):
        from convlens.analyses.cortex.cortex import cortex  # imports torch
        from convlens.cli.show.cortex import show_cortex

        result = cortex(
            photo, orientations=orientations, wavelength=wavelength, size=parse_size(size)
        )
        result.save(out, photo=photo, command=command_line())
    show_cortex(result, out, json=json)
