"""The anatomy command: every layer that runs, with sizes, costs and receptive fields."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import NETWORKS, app
from convlens.cli.arguments import ModelArguments, with_arguments
from convlens.cli.output_check import check_draw


@app.command(rich_help_panel=NETWORKS)
@with_arguments(ModelArguments)
def anatomy(
    arguments: ModelArguments,
    layer: o.Layer = None,
    channel: o.Channel = None,
    draw: Annotated[
        Path | None,
        typer.Option(
            "--draw",
            callback=check_draw,
            help="Also draw the network to this file (.svg, .pdf or .png): a box for each layer, "
            "scaled by resolution and channels.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", is_eager=True, help="Replace the file of --draw if it exists."),
    ] = False,
) -> None:
    """List every layer that runs, with sizes, costs and receptive fields."""
    from convlens.analyses.anatomy.anatomy import anatomy
    from convlens.cli.inputs import load_model
    from convlens.cli.show.anatomy import show_anatomy
    from convlens.drawing.figure_files import write_figure
    from convlens.errors import ConvlensError
    from convlens.tracing.channel_names import (
        check_channel,
        check_layer,
        parse_channel_beside_layer,
    )

    loaded = load_model(arguments)
    result = anatomy(loaded)
    if channel is not None:
        channels = {row.name: row.output[1] for row in result.layers}
        layer, number = parse_channel_beside_layer(channel, layer)
        if layer is None or number is None:
            raise ConvlensError(f"channel {channel!r} names no layer; give LAYER:K, or --layer too")
        check_layer(result.model, layer, list(channels))
        check_channel(layer, number, channels[layer])
    if draw is not None:
        write_figure(result.figure(), draw)
    show_anatomy(
        result, result.select_layers(layer) if layer else result.layers, json=arguments.json
    )
