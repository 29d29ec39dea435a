"""What the network is made of, and which there are."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def anatomy(
    model: o.ModelSpec = "default",
    layer: o.Layer = None,
    channel: o.Channel = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """List every layer that runs, with sizes, costs and receptive fields."""
    from convlens.analyses.anatomy.anatomy import anatomy as look
    from convlens.cli.inputs import load_model
    from convlens.cli.show import network as show
    from convlens.errors import ConvlensError
    from convlens.tracing.selection import check_channel, check_layer, parse_channel_beside_layer

    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    found = look(loaded)
    if channel is not None:
        channels = {one.name: one.output[1] for one in found.layers}
        layer, number = parse_channel_beside_layer(channel, layer)
        if layer is None or number is None:
            raise ConvlensError(f"channel {channel!r} names no layer; give LAYER:K, or --layer too")
        check_layer(found.model, layer, list(channels))
        check_channel(layer, number, channels[layer])
    show.anatomy(found, found.within(layer) if layer else found.layers, json=json)


@app.command()
def field(
    photo: Annotated[str, typer.Argument(help="A photo.")],
    layer: Annotated[
        str, typer.Option("--layer", metavar="NAME", help="A layer, as `anatomy` names it.")
    ],
    side: o.LayerSide = o.Side.post,
    at: Annotated[
        str | None,
        typer.Option(metavar="Y,X", help="Row and column in the layer's map. Default: its middle."),
    ] = None,
    out: o.Out = Path("convlens-field"),
    model: o.ModelSpec = "default",
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Draw the receptive field of a unit on a photo."""
    from convlens.analyses.receptive_field.field import receptive_field
    from convlens.cli.inputs import load_model, parse_position
    from convlens.cli.show import network as show

    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    position = parse_position(at) if at is not None else None
    found = receptive_field(
        loaded, loaded.prepare(photo), layer=layer, side=side.value, at=position
    )
    found.save(out)
    show.field(found, out, json=json)


@app.command()
def models(
    containing: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="Only names that hold this text.")
    ] = "",
    json: o.Json = False,
    quiet: o.Quiet = False,  # nothing is long enough to be told of
) -> None:
    """List the networks that can be loaded by name."""
    from convlens.cli.show import network as show
    from convlens.models.loading.load import known_models

    known = {
        form: [name for name in names if containing.casefold() in name.casefold()]
        for form, names in known_models().items()
    }
    show.models(known, containing, json=json)
