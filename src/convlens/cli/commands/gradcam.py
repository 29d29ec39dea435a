"""The gradcam command: Grad-CAM maps of photos, the checks of the maps, and a table of all."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import PREDICTIONS, app
from convlens.cli.arguments import PassArguments, with_arguments

_RANDOMIZED_PHOTOS = 4  # photos that the randomization check is made on


@app.command(rich_help_panel=PREDICTIONS)
@with_arguments(PassArguments, out=Path("convlens-gradcam"))
def gradcam(
    arguments: PassArguments,
    classes: o.Classes = None,
    top: Annotated[
        int,
        typer.Option(min=1, help="Number of highest-scoring classes to explain, without --class."),
    ] = 1,
    pixel: Annotated[
        str | None,
        typer.Option(
            metavar="Y,X",
            callback=checks.check_position,
            help="Explain the output at this pixel (segmentation networks).",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="Layer or node to use. Given several times: a strip of layers, from coarse to "
            "fine. Default: the final convolutional layer.",
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
    stages: Annotated[
        int, typer.Option(min=1, help="Greatest number of stages of --randomize.")
    ] = 10,
    draws: Annotated[
        int, typer.Option(min=1, help="Draws of the random weights of --randomize.")
    ] = 3,
    boxes: o.Boxes = None,
    channels: Annotated[
        int,
        typer.Option(
            metavar="K", min=0, help="List the K channels that contribute most to each map."
        ),
    ] = 0,
    cells: Annotated[
        bool, typer.Option("--cells", help="Draw cells instead of values between them.")
    ] = False,
) -> None:
    """Show which parts of photos support a class: Grad-CAM maps, and a table of all."""
    from convlens.cli.class_words import check_class_words
    from convlens.cli.dataset_pass import PassInputs
    from convlens.cli.parsing import parse_position
    from convlens.files import NUMBERS

    check_class_words(arguments, classes or ())
    inputs = PassInputs.load(arguments, marker=NUMBERS)  # before the imports that need torch
    from convlens.analyses.gradcam.boxes import read_boxes
    from convlens.analyses.gradcam.dataset_pass import gradcams
    from convlens.cli.folders import command_line
    from convlens.cli.show.gradcam import show_gradcams

    object_boxes = read_boxes(boxes, inputs.model) if boxes is not None else None
    inputs.note_unmatched("--boxes", object_boxes)
    one_layer = layer is not None and len(layer) == 1
    with inputs.prepare_pass() as pass_options:
        result = gradcams(
            inputs.model,
            inputs.dataset,
            out=arguments.out,
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
            stages=stages,
            draws=draws,
            cells=cells,
            seed=arguments.seed,
            strict=arguments.strict,
            command=command_line(),
            pass_options=pass_options,
        )
    show_gradcams(result, arguments.out, json=arguments.json, channels=channels)
