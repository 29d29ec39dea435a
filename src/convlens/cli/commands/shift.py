"""The shift command: equivariance of layers and consistency of predictions under shifts."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import PREDICTIONS, app


@app.command(rich_help_panel=PREDICTIONS)
def shift(
    photos: o.PhotosOrTables,
    out: o.Out = Path("convlens-shift"),
    model: o.ModelSpec = "default",
    pixels: Annotated[
        str | None,
        typer.Option(
            help="Shifts for the layers in pixels, separated by commas. Default: 1, and the "
            "greatest stride."
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            help="Pixels between the offsets of the first photo's map; 0: no map. Default: a "
            "sixteenth of their range."
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            metavar="LAYER:K",
            help="Instead, measure how much of this channel's activation remains after shifts, "
            "and changes of scale and of brightness.",
        ),
    ] = None,
    side: o.LayerSide = o.Side.post,
    labels: o.Labels = None,
    column: o.Column = None,
    engine: o.EngineName = o.Engine.local,
    address: o.Address = None,
    actors: o.Actors = None,
    resume: o.Resume = False,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Shift photos: equivariance layer by layer, and how often the prediction stays the same.

    In Python: convlens.shift, and convlens.invariance for channels.
    """
    from convlens.analyses.invariance.dataset_pass import invariance
    from convlens.analyses.shift.dataset_pass import shift as measure_shift
    from convlens.cli import terminal
    from convlens.cli.inputs import (
        choose_engine,
        find_dataset,
        load_model,
        match_labels,
        parse_pixels,
        read_label_table,
        resumable_folder,
        running_engine,
    )
    from convlens.cli.show.selectivity import show_channels
    from convlens.cli.show.shift import show_shift
    from convlens.errors import ConvlensError
    from convlens.passes.options import PassOptions
    from convlens.tracing.selection import find_channels
    from convlens.tracing.tracer import trace

    dataset = find_dataset(photos, column=column)
    runner, device = choose_engine(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    right = match_labels(dataset, read_label_table(labels, loaded))
    channels_of_layers = find_channels(trace(loaded), channel, side.value) if channel else {}
    if len(channels_of_layers) > 1:
        raise ConvlensError(f"channels of {len(channels_of_layers)} layers; give those of one")
    shifts = parse_pixels(pixels) if pixels is not None else None
    with (
        resumable_folder(out, resume=resume) as folder,
        running_engine(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
    ):
        pass_options = PassOptions(engine=runner, resume_folder=folder, progress=progress)
        for layer, channels in channels_of_layers.items():
            remaining = invariance(
                loaded,
                dataset,
                layer=layer,
                side=side.value,
                channels=channels,
                labels=right,
                strict=strict,
                pass_options=pass_options,
            )
            remaining.save(out)
            show_channels(remaining, out, json=json)
            return
        measured = measure_shift(
            loaded,
            dataset,
            labels=right,
            shifts=shifts,
            every=every,
            seed=seed,
            strict=strict,
            pass_options=pass_options,
        )
        measured.save(out)
    show_shift(measured, out, json=json)
