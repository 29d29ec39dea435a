"""Where the network looks."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app

_SANITY = 4  # photos that the check by random parameters is made on


@app.command()
def gradcam(
    photos: o.PhotosOrTables,
    out: o.Out = Path("convlens-gradcam"),
    model: o.ModelSpec = "default",
    classes: o.Classes = None,
    top: Annotated[int, typer.Option(help="Without --class: how many of the highest.")] = 1,
    pixel: Annotated[
        str | None,
        typer.Option(metavar="Y,X", help="Of a network that answers for each pixel: this one."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME", help="Several times: a strip from coarse to fine."),
    ] = None,
    strip: Annotated[
        bool, typer.Option("--strip", help="A strip with a layer of each resolution.")
    ] = False,
    side: o.LayerSide = o.Side.pre,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Deletion and insertion of every map.")
    ] = False,
    randomize: Annotated[
        bool, typer.Option("--randomize", help="Sanity check: maps with random parameters.")
    ] = False,
    boxes: o.Boxes = None,
    channels: Annotated[
        int, typer.Option(metavar="K", help="List so many channels that add most to each map.")
    ] = 0,
    cells: Annotated[
        bool, typer.Option("--cells", help="Draw cells instead of smoothing between them.")
    ] = False,
    column: o.Column = None,
    engine: o.EngineName = o.Engine.local,
    address: o.Address = None,
    actors: o.Actors = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run of this command that was stopped.")
    ] = False,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show where the network looks: Grad-CAM, one folder a photo, and a table of all."""
    from convlens.analyses.gradcam.boxes import read_boxes
    from convlens.analyses.gradcam.dataset_pass import NUMBERS, gradcams
    from convlens.cli import terminal
    from convlens.cli.inputs import (
        engine_of,
        find_dataset,
        load_model,
        parse_position,
        started,
        unfinished,
    )
    from convlens.cli.show import gradcam as show
    from convlens.passes.options import PassOptions

    dataset = find_dataset(photos, column=column)
    runner, device = engine_of(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    drawn = read_boxes(boxes, loaded) if boxes is not None else None
    with (
        unfinished(out, resume=resume, marker=NUMBERS) as folder,
        started(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
    ):
        found = gradcams(
            loaded,
            dataset,
            out=out,
            classes=classes,
            top=top,
            pixel=parse_position(pixel) if pixel is not None else None,
            side=side.value,
            layers=layer[0] if layer and len(layer) == 1 and not strip else layer,
            strip=strip,
            curves=evidence,
            boxes=drawn,
            randomize=_SANITY if randomize else 0,
            cells=cells,
            seed=seed,
            strict=strict,
            pass_options=PassOptions(engine=runner, resume_folder=folder, progress=progress),
        )
    show.gradcams(found, out, json=json, channels=channels)
