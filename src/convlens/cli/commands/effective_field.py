"""The effective-field command: where the gradient of central units really lies."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import NETWORKS, app
from convlens.cli.arguments import ModelArguments, with_arguments


@app.command(rich_help_panel=NETWORKS)
@with_arguments(ModelArguments)
def effective_field(
    arguments: ModelArguments,
    photos: o.Photos,
    layer: o.Layers = None,
    side: o.LayerSide = o.Side.post,
    channel: Annotated[
        int | None,
        typer.Option(
            metavar="K", min=0, help="Channel K of each layer. Default: the sum over all."
        ),
    ] = None,
    share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the gradient that the effective area holds."),
    ] = 0.95,
    out: o.Out = Path("convlens-effective-field"),
    overwrite: o.Overwrite = False,
    strict: o.Strict = False,
) -> None:
    """Measure the effective receptive field of the central unit of each layer.

    In Python: convlens.effective_field.
    """
    from convlens.cli import terminal
    from convlens.cli.folders import command_line
    from convlens.cli.inputs import find_paths, load_model, output_folder
    from convlens.data.photos import read_photos

    paths = find_paths(photos, out=out)
    with output_folder(out):
        import torch

        from convlens.analyses.effective_field.effective_field import effective_field
        from convlens.cli.show.effective_field import show_effective_field

        loaded = load_model(arguments)
        images, skipped = read_photos(paths, strict=strict, read=loaded.prepare)
        with terminal.progress(quiet=arguments.quiet) as progress:
            result = effective_field(
                loaded,
                torch.cat(images),
                layers=layer,
                side=side.value,
                channel=channel,
                share=share,
                progress=progress,
            )
        result.save(out, command=command_line())
    show_effective_field(result, skipped, out, json=arguments.json)
