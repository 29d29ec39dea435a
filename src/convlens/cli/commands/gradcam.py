"""The gradcam command: Grad-CAM maps of photos, the checks of the maps, and a table of all."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import PREDICTIONS, app

_RANDOMIZED_PHOTOS = 4  # photos that the randomization check is made on


@app.command(rich_help_panel=PREDICTIONS)
def gradcam(
    photos: o.PhotosOrTables,
    out: o.Out = Path("convlens-gradcam"),
    model: o.ModelSpec = "default",
    classes: o.Classes = None,
    top: Annotated[
        int, typer.Option(help="Number of highest-scoring classes to explain, without --class.")
    ] = 1,
    pixel: Annotated[
        str | None,
        typer.Option(
            metavar="Y,X", help="Explain the output at this pixel (segmentation networks)."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="Layer or node to use; several times: a strip of layers, from coarse to fine. "
            "Default: the final convolutional layer.",
        ),
    ] = None,
    strip: Annotated[
        bool, typer.Option("--strip", help="Show a strip with one layer of each resolution.")
    ] = False,
    side: o.LayerSide = o.Side.pre,
    deletion_insertion: Annotated[
        bool,
        typer.Option(
            "--deletion-insertion", help="Compute deletion and insertion curves of every map."
        ),
    ] = False,
    randomize: Annotated[
        bool,
        typer.Option(
            "--randomize", help="Compare the maps with those of the network with random weights."
        ),
    ] = False,
    boxes: o.Boxes = None,
    channels: Annotated[
        int,
        typer.Option(metavar="K", help="List the K channels that contribute most to each map."),
    ] = 0,
    cells: Annotated[
        bool, typer.Option("--cells", help="Draw cells instead of values between them.")
    ] = False,
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
    """Show which parts of photos support a class: Grad-CAM maps, and a table of all."""
    from convlens.analyses.gradcam.boxes import read_boxes
    from convlens.analyses.gradcam.dataset_pass import NUMBERS, gradcams
    from convlens.cli import terminal
    from convlens.cli.inputs import (
        choose_engine,
        find_dataset,
        load_model,
        parse_position,
        resumable_folder,
        running_engine,
    )
    from convlens.cli.show.gradcam import show_gradcams
    from convlens.passes.options import PassOptions

    dataset = find_dataset(photos, column=column)
    runner, device = choose_engine(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    object_boxes = read_boxes(boxes, loaded) if boxes is not None else None
    one_layer = layer is not None and len(layer) == 1
    with (
        resumable_folder(out, resume=resume, marker=NUMBERS) as folder,
        running_engine(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
    ):
        result = gradcams(
            loaded,
            dataset,
            out=out,
            classes=classes,
            top=top,
            pixel=parse_position(pixel) if pixel is not None else None,
            side=side.value,
            layer=layer[0] if layer and one_layer else None,
            layers=None if one_layer else layer,
            strip=strip,
            deletion_insertion=deletion_insertion,
            boxes=object_boxes,
            randomize=_RANDOMIZED_PHOTOS if randomize else 0,
            cells=cells,
            seed=seed,
            strict=strict,
            pass_options=PassOptions(engine=runner, resume_folder=folder, progress=progress),
        )
    show_gradcams(result, out, json=json, channels=channels)
