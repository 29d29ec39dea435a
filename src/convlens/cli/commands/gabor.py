"""The gabor command: Gabor functions over orientation, frequency and phase."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHAPTER, app


@app.command(rich_help_panel=CHAPTER)
def gabor(
    orientations: Annotated[
        int, typer.Option(min=1, help="Number of orientations over 180 degrees.")
    ] = 8,
    wavelength: Annotated[
        list[float] | None,
        typer.Option(
            min=2,
            help="Wavelength of the waves, in pixels; can be given several times. Default: 8.",
        ),
    ] = None,
    phase: Annotated[
        list[float] | None,
        typer.Option(
            help="Phase in degrees, 0 is odd and 90 even; can be given several times. Default: 0 "
            "and 90."
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            callback=checks.check_positive,
            help="Standard deviation of all envelopes along the wave, in pixels. Default: each "
            "filter has a bandwidth of one octave.",
        ),
    ] = None,
    out: o.Out = Path("convlens-gabor"),
    overwrite: o.Overwrite = False,
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """Draw Gabor functions over orientation, frequency and phase."""
    from convlens.analyses.gabor.bank import gabor_bank
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import output_folder
    from convlens.cli.show.worked_examples import show_gabor_bank

    with output_folder(out):
        result = gabor_bank(
            orientations=orientations, wavelengths=wavelength or (8.0,),
            phases=phase or (0.0, 90.0), sigma=sigma,
        )  # fmt: skip
        result.save(out, command=command_line())
    show_gabor_bank(result, out, json=json)
