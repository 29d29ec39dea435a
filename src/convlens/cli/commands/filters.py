"""Filters, beside Gabor functions and as they grew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app

if TYPE_CHECKING:
    from convlens.analyses.gabor.noise_test import GaborFit
    from convlens.models.model import Model


@app.command()
def filters(
    out: o.Out = Path("convlens-filters"),
    model: o.ModelSpec = "default",
    layer: o.Layer = None,
    channel: o.Channel = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    over_training: Annotated[
        bool,
        typer.Option(
            "--over-training", help="The filters at each checkpoint of a training, in order."
        ),
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="The nearest Gabor functions, beside fits to noise.")
    ] = False,
    sort: Annotated[
        bool, typer.Option("--sort", help="By kind: Gabor-like, blob or gradient, other.")
    ] = False,
    own_scale: Annotated[
        bool, typer.Option("--own-scale", help="A scale for each filter instead of one for all.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show the filters of the first convolution, or of another, as images."""
    from convlens.analyses.filters.filters import filters as look
    from convlens.cli.inputs import load_model
    from convlens.cli.show import filters as show
    from convlens.tracing.selection import parse_channel_beside_layer

    _check(fit=fit, over_training=over_training, sort=sort, own_scale=own_scale, channel=channel)
    if fit:
        _fit(out, load_model(model, size=size, device=device, seed=seed, quiet=quiet),
             layer=layer, seed=seed, json=json, quiet=quiet)  # fmt: skip
        return
    if over_training:
        _growth(out, model, layer=layer, device=device, json=json)
        return
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    if sort:
        alike = _alike(loaded, layer=layer, seed=seed, quiet=quiet)
        found = alike.sorted(own_scale=own_scale)
        found.save(out)
        show.filters(found, out, json=json, why=alike.reason)
        return
    layer, only = parse_channel_beside_layer(channel, layer)
    found = look(loaded, layer=layer, channel=only, own_scale=own_scale)
    found.save(out)
    show.filters(found, out, json=json)


def _check(
    *, fit: bool, over_training: bool, sort: bool, own_scale: bool, channel: str | None
) -> None:
    """What does not go together is told before any work."""
    from convlens.errors import ConvlensError

    options = (("--fit", fit), ("--over-training", over_training), ("--sort", sort))
    given = [name for name, on in options if on]
    if given:
        given += ["--own-scale"] if own_scale and not sort else []
        given += ["--channel"] if channel is not None else []
    if len(given) > 1:
        raise ConvlensError(f"{given[0]} and {given[1]} do not go together; give one of them")


def _alike(model: "Model", *, layer: str | None, seed: int, quiet: bool) -> "GaborFit":
    from convlens.analyses.gabor.noise_test import fit_gabor
    from convlens.cli import terminal

    with terminal.waiting(
        "fitting Gabor functions to the filters and to 5,000 of noise", quiet=quiet
    ):
        return fit_gabor(model, layer=layer, seed=seed)


def _fit(
    out: Path, model: "Model", *, layer: str | None, seed: int, json: bool, quiet: bool
) -> None:
    from convlens.cli.show import filters as show

    found = _alike(model, layer=layer, seed=seed, quiet=quiet)
    found.save(out)
    show.gabor_fit(found, out, json=json)


def _growth(out: Path, model: str, *, layer: str | None, device: str | None, json: bool) -> None:
    from convlens.analyses.filters.over_training import filters_over_training as look
    from convlens.cli.show import filters as show
    from convlens.models.loading.checkpoints import load_checkpoints

    grown = look(load_checkpoints(model, device=device), layer=layer)
    grown.save(out)
    show.filters_over_training(grown, out, json=json)
