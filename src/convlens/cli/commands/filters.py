"""Filters, beside Gabor functions and as they grew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app

if TYPE_CHECKING:
    from convlens.model import Model


@app.command()
def filters(
    out: o.Out = Path("convlens-filters"),
    model: o.ModelSpec = "default",
    layer: o.Layer = None,
    channel: o.Channel = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    over_time: Annotated[
        bool, typer.Option("--over-time", help="How they grew: a training's snapshots, in order.")
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="The nearest Gabor functions, beside fits to noise.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show the filters of the first convolution, or of another, as images."""
    from convlens.cli.inputs import load_model, split_channel
    from convlens.cli.show import filters as show
    from convlens.views.filters import filters as look

    if fit:
        _fit(out, load_model(model, size=size, device=device, seed=seed, quiet=quiet),
             layer=layer, seed=seed, json=json, quiet=quiet)  # fmt: skip
        return
    if over_time:
        _growth(out, model, layer=layer, device=device, json=json)
        return
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    only = None
    if channel is not None:
        name = layer or channel.rpartition(":")[0]
        found = look(loaded, layer=name)
        layer, only = split_channel(channel, {found.layer: len(found.weights)})
    found = look(loaded, layer=layer, channel=only)
    found.save(out)
    show.filters(found, out, json=json)


def _fit(
    out: Path, model: "Model", *, layer: str | None, seed: int, json: bool, quiet: bool
) -> None:
    from convlens.cli import terminal
    from convlens.cli.show import filters as show
    from convlens.views.likeness import likeness

    with terminal.waiting(
        "fitting Gabor functions to the filters and to 5,000 of noise", quiet=quiet
    ):
        found = likeness(model, layer=layer, seed=seed)
    found.save(out)
    show.likeness(found, out, json=json)


def _growth(out: Path, model: str, *, layer: str | None, device: str | None, json: bool) -> None:
    from convlens.cli.show import filters as show
    from convlens.loading import snapshots
    from convlens.views.growth import growth as look

    grown = look(snapshots(model, device=device), layer=layer)
    grown.save(out)
    show.growth(grown, out, json=json)
