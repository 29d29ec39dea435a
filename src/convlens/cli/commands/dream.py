"""The dream command: DeepDream."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=CHANNELS)
@with_arguments(ModelArguments)
def dream(
    arguments: ModelArguments,
    photo: o.Photo,
    layer: o.Layer = None,
    side: o.LayerSide = o.Side.pre,
    channel: Annotated[
        str | None, typer.Option(metavar="K", help="Strengthen this channel of the layer alone.")
    ] = None,
    guide: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTO",
            callback=checks.check_photo,
            help="Pull the photo toward the features of this one.",
        ),
    ] = None,
    octaves: Annotated[int, typer.Option(min=1, help="Number of sizes.")] = 4,
    scale: Annotated[float, typer.Option(help="Ratio of two successive sizes.")] = 1.4,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps at each size.")] = 10,
    step: Annotated[
        float, typer.Option(help="Mean change of a pixel in one step, in gray levels.")
    ] = 1.5,
    jitter: Annotated[
        int, typer.Option(min=0, help="Largest random shift before each step, in pixels.")
    ] = 32,
    image_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Longer side of the dream in pixels. Default: that of the photo.",
        ),
    ] = None,
    tile: Annotated[
        int,
        typer.Option(min=1, help="Largest height and width in pixels that are computed at once."),
    ] = 640,
    out: o.Out = Path("convlens-dream"),
    overwrite: o.Overwrite = False,
) -> None:
    """DeepDream: change a photo so that a layer responds more strongly to it."""
    from convlens.cli import terminal
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import load_model, output_folder

    with output_folder(out):
        from convlens.analyses.deepdream.deepdream import dream  # imports torch
        from convlens.cli.show.dream import show_dream
        from convlens.tracing.channel_names import parse_channel_beside_layer

        layer, channel_index = parse_channel_beside_layer(channel, layer)
        loaded = load_model(arguments)
        with terminal.progress(quiet=arguments.quiet) as progress:
            result = dream(
                loaded,
                photo,
                layer=layer,
                side=side.value,
                channel=channel_index,
                guide=guide,
                octaves=octaves,
                scale=scale,
                steps=steps,
                step=step,
                jitter=jitter,
                image_size=image_size,
                tile=tile,
                seed=arguments.seed,
                progress=lambda done, total: progress("dreaming", done, total),
            )
        result.save(out, photo=photo, command=command_line())
    show_dream(result, out, json=arguments.json)
    if result.interrupted:
        raise typer.Exit(130)  # the exit status of a program that an interrupt ended
