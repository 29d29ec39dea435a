"""The filters command: filters as pictures, sorted by kind, with Gabor fits, or over training."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=CHANNELS)
@with_arguments(ModelArguments)
def filters(
    arguments: ModelArguments,
    out: o.Out = Path("convlens-filters"),
    overwrite: o.Overwrite = False,
    layer: o.Layer = None,
    channel: o.Channel = None,
    over_training: Annotated[
        bool,
        typer.Option("--over-training", help="Show the filters at each checkpoint of a training."),
    ] = False,
    fit: Annotated[
        bool,
        typer.Option("--fit", help="Fit Gabor functions, and compare with fits to noise."),
    ] = False,
    null_size: Annotated[
        int, typer.Option(min=100, help="Filters of noise that the fits are compared with.")
    ] = 5000,
    sort: Annotated[
        bool,
        typer.Option("--sort", help="Sort by kind: Gabor-like, blob or gradient, other."),
    ] = False,
    own_scale: Annotated[
        bool,
        typer.Option("--own-scale", help="Draw each filter on its own scale."),
    ] = False,
) -> None:
    """Show the filters of the first convolution, or of another."""
    from convlens.cli import terminal
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import load_model, output_folder

    _check_options(
        fit=fit, over_training=over_training, sort=sort, own_scale=own_scale, channel=channel
    )
    with output_folder(out):
        from convlens.cli.show import filters as show  # imports torch

        if over_training:
            from convlens.analyses.filters.over_training import filters_over_training

            history = filters_over_training(arguments.model, layer=layer, device=arguments.device)
            history.save(out, command=command_line())
            show.show_filters_over_training(history, out, json=arguments.json)
            return
        loaded = load_model(arguments)
        if fit or sort:
            from convlens.analyses.gabor.fit import filters_by_kind, fit_gabor

            with terminal.waiting(
                "fitting Gabor functions to filters and to noise", quiet=arguments.quiet
            ):
                if fit:
                    gabor_fit = fit_gabor(
                        loaded, layer=layer, null_size=null_size, seed=arguments.seed
                    )
                else:
                    by_kind = filters_by_kind(
                        loaded,
                        layer=layer,
                        own_scale=own_scale,
                        null_size=null_size,
                        seed=arguments.seed,
                    )
            if fit:
                gabor_fit.save(out, command=command_line())
                show.show_gabor_fit(gabor_fit, out, json=arguments.json)
            else:
                by_kind.save(out, command=command_line())
                show.show_filters(by_kind, out, json=arguments.json)
            return
        from convlens.analyses.filters.filters import filters
        from convlens.tracing.channel_names import parse_channel_beside_layer

        layer, channel_index = parse_channel_beside_layer(channel, layer)
        result = filters(loaded, layer=layer, channel=channel_index, own_scale=own_scale)
        result.save(out, command=command_line())
        show.show_filters(result, out, json=arguments.json)


def _check_options(
    *, fit: bool, over_training: bool, sort: bool, own_scale: bool, channel: str | None
) -> None:
    """Raise for options that exclude each other, before any work is done."""
    from convlens.errors import ConvlensError

    views = (("--fit", fit), ("--over-training", over_training), ("--sort", sort))
    names = [name for name, is_set in views if is_set]
    if names:
        names += ["--own-scale"] if own_scale and not sort else []
        names += ["--channel"] if channel is not None else []
    if len(names) > 1:
        raise ConvlensError(f"{names[0]} and {names[1]} do not go together; give one of them")
