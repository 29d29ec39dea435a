"""The shift command: equivariance of layers and consistency of predictions under shifts."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import PREDICTIONS, app
from convlens.cli.arguments import PassArguments, with_arguments


@app.command(rich_help_panel=PREDICTIONS)
@with_arguments(PassArguments, out=Path("convlens-shift"))
def shift(
    arguments: PassArguments,
    shifts: Annotated[
        str | None,
        typer.Option(
            callback=checks.check_pixels,
            help="Shifts for the layers in pixels, separated by commas. Default: 1, and the "
            "greatest stride.",
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Pixels between the offsets of the first photo's map; 0: no map. Default: a "
            "sixteenth of their range.",
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            metavar="LAYER:K",
            callback=checks.check_channels,
            help="Instead, measure how much of this channel's activation remains after shifts, "
            "and changes of scale and of brightness.",
        ),
    ] = None,
    side: o.LayerSide = o.Side.post,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
) -> None:
    """Shift photos: equivariance layer by layer, and how often the prediction stays the same.

    In Python: convlens.shift, and convlens.invariance for channels.
    """
    from convlens.cli.dataset_pass import PassInputs
    from convlens.cli.parsing import parse_pixels
    from convlens.errors import ConvlensError

    # before the imports that need torch
    inputs = PassInputs.load(arguments, labels=labels, no_labels=no_labels)
    from convlens.analyses.invariance.dataset_pass import invariance
    from convlens.analyses.shift.dataset_pass import shift as measure_shift
    from convlens.cli.folders import command_line
    from convlens.cli.show.selectivity import show_channels
    from convlens.cli.show.shift import show_shift
    from convlens.tracing.selection import find_channels
    from convlens.tracing.tracer import trace

    channels_of_layers = find_channels(trace(inputs.model), channel, side.value) if channel else {}
    if len(channels_of_layers) > 1:
        raise ConvlensError(
            f"channels of {len(channels_of_layers)} layers; give channels of one layer"
        )
    with inputs.prepare_pass() as pass_options:
        if channels_of_layers:
            ((layer, channels),) = channels_of_layers.items()
            remaining = invariance(
                inputs.model,
                inputs.dataset,
                layer=layer,
                side=side.value,
                channels=channels,
                labels=inputs.labels,
                strict=arguments.strict,
                pass_options=pass_options,
            )
            remaining.save(arguments.out, command=command_line())
            show_channels(remaining, arguments.out, json=arguments.json)
            return
        measured = measure_shift(
            inputs.model,
            inputs.dataset,
            labels=inputs.labels,
            shifts=parse_pixels(shifts) if shifts is not None else None,
            every=every,
            seed=arguments.seed,
            strict=arguments.strict,
            pass_options=pass_options,
        )
        measured.save(arguments.out, command=command_line())
    show_shift(measured, arguments.out, json=arguments.json)
