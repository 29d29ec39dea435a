"""The maps command: the maps of a layer on a photo, and the maps after pooling."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command("maps", rich_help_panel=CHANNELS)
@with_arguments(ModelArguments)
def feature_maps(
    arguments: ModelArguments,
    photo: o.Photo,
    layer: o.Layer = None,
    side: o.LayerSide = o.Side.post,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            metavar="LAYER:K",
            help="Show these channels of one layer only; can be given several times.",
        ),
    ] = None,
    pooling: Annotated[
        o.Pooling | None,
        typer.Option(help="Also show the maps after max or average pooling."),
    ] = None,
    window: Annotated[int, typer.Option(min=1, help="Side of the pooling windows, in cells.")] = 2,
    out: o.Out = Path("convlens-maps"),
    overwrite: o.Overwrite = False,
) -> None:
    """Show the feature maps of a layer on a photo."""
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import load_model, output_folder

    with output_folder(out):
        # imports torch
        from convlens.analyses.feature_maps.feature_maps import feature_maps as compute_maps
        from convlens.cli.show.feature_maps import show_feature_maps
        from convlens.tracing.channel_names import parse_channel_beside_layer

        channels = []
        for text in channel or ():
            layer, number = parse_channel_beside_layer(text, layer)
            channels += [number] if number is not None else []
        loaded = load_model(arguments)
        result = compute_maps(
            loaded,
            loaded.prepare(photo),
            layer=layer,
            side=side.value,
            channels=channels or None,
            pooling=pooling.value if pooling is not None else None,
            window=window,
        )
        result.save(out, photo=photo, command=command_line())
    show_feature_maps(result, out, json=arguments.json)
