"""The selectivity command: the channels of a layer by selectivity and invariance."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app


@app.command(rich_help_panel=CHANNELS)
def selectivity(
    photos: o.PhotosOrTables,
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            metavar="CSV",
            help="The right classes: a file with the columns file and class.",
        ),
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
    show: Annotated[int, typer.Option(help="Number of channels in the table.")] = 20,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """List the channels of a layer by how selective and how invariant they are.

    A channel at the extreme of both is the chapter's grandmother cell. By default, the layer is the
    last convolution with maps, and is read at its side post. In Python: convlens.invariance.
    """
    from convlens.analyses.invariance.dataset_pass import invariance
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
    from convlens.cli.show.selectivity import show_channels
    from convlens.passes.options import PassOptions

    dataset = find_dataset(photos, column=column)
    runner, device = choose_engine(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    right = match_labels(dataset, read_label_table(labels, loaded))
    with (
        resumable_folder(out, resume=resume) as folder,
        running_engine(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
    ):
        measured = invariance(
            loaded,
            dataset,
            layer=layer,
            side=side.value,
            labels=right,
            strict=strict,
            pass_options=PassOptions(engine=runner, resume_folder=folder, progress=progress),
        )
        measured.save(out)
    show_channels(measured, out, json=json, most=show)
