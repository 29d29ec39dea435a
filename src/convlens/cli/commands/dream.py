"""DeepDream."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def dream(
    photo: Annotated[str, typer.Argument(help="A photo.")],
    layer: o.Layer = None,
    side: o.LayerSide = o.Side.pre,
    channel: Annotated[
        str | None, typer.Option(metavar="K", help="Raise this channel of the layer alone.")
    ] = None,
    guide: Annotated[
        str | None, typer.Option(metavar="PHOTO", help="Draw the photo to what this one shows.")
    ] = None,
    octaves: Annotated[int, typer.Option(help="At how many sizes.")] = 4,
    scale: Annotated[float, typer.Option(help="Ratio of two sizes.")] = 1.4,
    steps: Annotated[int, typer.Option(help="At each size.")] = 10,
    step: Annotated[
        float, typer.Option(help="Mean change of a pixel in a step, of 255 levels.")
    ] = 1.5,
    jitter: Annotated[int, typer.Option(help="Pixels of random shift, at most.")] = 32,
    size: Annotated[
        int | None,
        typer.Option(help="Longer side of the dream in pixels. Default: the photo's own."),
    ] = None,
    tile: Annotated[
        int, typer.Option(help="Height and width in pixels that are run at once, at most.")
    ] = 640,
    out: o.Out = Path("convlens-dream"),
    model: o.ModelSpec = "default",
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Dream: show a photo in which a layer sees more of what it sees already."""
    from convlens.analyses.deepdream.deepdream import dream as make
    from convlens.cli import terminal
    from convlens.cli.inputs import load_model
    from convlens.cli.show import dream as show
    from convlens.files import check_replaceable_folder
    from convlens.results import RESULT
    from convlens.tracing.selection import parse_channel_beside_layer

    check_replaceable_folder(out, marker=RESULT)
    layer, number = parse_channel_beside_layer(channel, layer)
    loaded = load_model(model, size=None, device=device, seed=seed, quiet=quiet)
    with terminal.progress(quiet=quiet) as progress:
        found = make(
            loaded,
            photo,
            layer=layer,
            side=side.value,
            channel=number,
            guide=guide,
            octaves=octaves,
            scale=scale,
            steps=steps,
            step=step,
            jitter=jitter,
            size=size,
            tile=tile,
            seed=seed,
            progress=lambda done, total: progress("dreaming", done, total),
        )
    found.save(out)
    show.dream(found, out, json=json)
    if found.interrupted:
        raise typer.Exit(130)  # as a program that an interrupt ended
