"""What shifts do to it."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def shift(
    photos: o.PhotosOrTables,
    out: o.Out = Path("convlens-shift"),
    model: o.ModelSpec = "default",
    pixels: Annotated[
        str | None,
        typer.Option(help="Shifts for the layers, by commas. Default: 1, and the greatest stride."),
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
            help="Instead: what is left of this channel's activation after shifts, changes of "
            "scale and of brightness.",
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
    """Shift photos: equivariance layer by layer, and how often the answer stays."""
    from convlens.analyses.shift.consistency import margin_of
    from convlens.analyses.shift.dataset_pass import shift as look
    from convlens.analyses.shift.invariance_dataset_pass import invariance
    from convlens.cli import terminal
    from convlens.cli.inputs import (
        answers_of,
        engine_of,
        find_dataset,
        find_labels,
        load_model,
        parse_pixels,
        started,
        unfinished,
    )
    from convlens.cli.show import shift as shown
    from convlens.errors import ConvlensError
    from convlens.passes.options import PassOptions
    from convlens.tracing.selection import find_channels
    from convlens.tracing.trace import trace

    dataset = find_dataset(photos, column=column)
    runner, device = engine_of(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = find_labels(labels, loaded)
    right = answers_of(dataset, table)
    wanted = find_channels(trace(loaded), channel, side.value) if channel else {}
    if len(wanted) > 1:
        raise ConvlensError(f"channels of {len(wanted)} layers; give those of one")
    with (
        unfinished(out, resume=resume) as folder,
        started(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
    ):
        for layer, channels in wanted.items():
            kept = invariance(
                loaded,
                dataset,
                layer=layer,
                side=side.value,
                channels=channels,
                labels=right,
                strict=strict,
                pass_options=PassOptions(engine=runner, resume_folder=folder, progress=progress),
            )
            kept.save(out)
            shown.channels(kept, out, json=json)
            return
        found = look(
            loaded,
            dataset,
            labels=right,
            shifts=parse_pixels(pixels) if pixels is not None else None,
            every=max(1, margin_of(loaded) // 16) if every is None else every,
            seed=seed,
            strict=strict,
            pass_options=PassOptions(engine=runner, resume_folder=folder, progress=progress),
        )
        found.save(out)
    shown.shift(found, out, json=json)


@app.command()
def selectivity(
    photos: o.PhotosOrTables,
    labels: Annotated[
        Path,
        typer.Option("--labels", metavar="CSV", help="Right classes: columns file and class."),
    ],
    out: o.Out = Path("convlens-selectivity"),
    model: o.ModelSpec = "default",
    layer: o.Layer = None,
    side: o.LayerSide = o.Side.post,
    column: o.Column = None,
    engine: o.EngineName = o.Engine.local,
    address: o.Address = None,
    actors: o.Actors = None,
    resume: o.Resume = False,
    show: Annotated[int, typer.Option(help="Channels in the table.")] = 20,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """List the channels of a layer by how selective and how invariant they are."""
    from convlens.analyses.shift.invariance_dataset_pass import invariance
    from convlens.cli import terminal
    from convlens.cli.inputs import (
        answers_of,
        engine_of,
        find_dataset,
        find_labels,
        load_model,
        started,
        unfinished,
    )
    from convlens.cli.show import shift as shown
    from convlens.passes.options import PassOptions
    from convlens.tracing.selection import find_channel_sources
    from convlens.tracing.trace import trace

    dataset = find_dataset(photos, column=column)
    runner, device = engine_of(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = find_labels(labels, loaded)
    assert table is not None
    last = layer or find_channel_sources(trace(loaded), None, side.value)[-1].layer
    with (
        unfinished(out, resume=resume) as folder,
        started(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
    ):
        found = invariance(
            loaded,
            dataset,
            layer=last,
            side=side.value,
            labels=answers_of(dataset, table),
            strict=strict,
            pass_options=PassOptions(engine=runner, resume_folder=folder, progress=progress),
        )
        found.save(out)
    shown.channels(found, out, json=json, most=show)
