"""The patches command: the crops of photos that activate each channel most."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app


@app.command(rich_help_panel=CHANNELS)
def patches(
    photos: o.PhotosOrTables,
    out: o.Out = Path("convlens-patches"),
    model: o.ModelSpec = "default",
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME", help="May be given several times. Default: all."),
    ] = None,
    side: o.LayerSide = o.Side.post,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel", metavar="LAYER:K", help="Show these channels only; several times."
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Number of patches of each channel.")] = 9,
    per_photo: Annotated[int, typer.Option(help="Greatest number of patches of one photo.")] = 1,
    show: Annotated[int, typer.Option(help="Number of channels of each layer to draw.")] = 16,
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
    """Show what activates each channel most: crops of photos, checked by running them again."""
    from convlens.analyses.patches.dataset_pass import patches as find_patches
    from convlens.cli import terminal
    from convlens.cli.inputs import (
        choose_engine,
        find_dataset,
        load_model,
        match_labels,
        read_label_table,
        resumable_folder,
        running_engine,
    )
    from convlens.cli.show.patches import show_patches
    from convlens.passes.options import PassOptions
    from convlens.tracing.selection import find_channels
    from convlens.tracing.tracer import trace

    dataset = find_dataset(photos, column=column)
    runner, device = choose_engine(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = read_label_table(labels, loaded)
    channels = find_channels(trace(loaded), channel, side.value) if channel else {}
    with (
        resumable_folder(out, resume=resume) as folder,
        running_engine(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
    ):
        result = find_patches(
            loaded,
            dataset,
            layers=[*(layer or []), *(name for name in channels if name not in (layer or []))]
            or None,
            side=side.value,
            top=top,
            per_image=per_photo,
            show=channels or show,
            labels=match_labels(dataset, table),
            seed=seed,
            strict=strict,
            pass_options=PassOptions(engine=runner, resume_folder=folder, progress=progress),
        )
        result.save(out)
    show_patches(result, out, json=json)
