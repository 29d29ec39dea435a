"""The patches command: the crops of photos that activate each channel most."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app
from convlens.cli.arguments import PassArguments, with_arguments


@app.command(rich_help_panel=CHANNELS)
@with_arguments(PassArguments, out=Path("convlens-patches"))
def patches(
    arguments: PassArguments,
    layer: o.Layers = None,
    side: o.LayerSide = o.Side.post,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            metavar="LAYER:K",
            callback=checks.check_channels,
            help="Show these channels only; can be given several times.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of patches of each channel.")] = 9,
    per_image: Annotated[
        int, typer.Option(min=1, help="Greatest number of patches of one photo.")
    ] = 1,
    show: Annotated[
        int, typer.Option(min=0, help="Number of channels of each layer to draw.")
    ] = 16,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
) -> None:
    """Show what activates each channel most: crops of photos, checked by running them again."""
    from convlens.cli.dataset_pass import PassInputs

    # before the imports that need torch
    inputs = PassInputs.load(arguments, labels=labels, no_labels=no_labels)
    from convlens.analyses.patches.dataset_pass import patches as find_patches
    from convlens.analyses.patches.selectivity import MIN_PHOTOS, frequent_classes
    from convlens.cli import terminal
    from convlens.cli.folders import command_line
    from convlens.cli.show.patches import show_patches
    from convlens.tracing.selection import find_channels
    from convlens.tracing.tracer import trace

    right_classes = inputs.labels
    # The names of folders are no reason to refuse photos; labels that are asked for are.
    if labels is None and right_classes and len(frequent_classes(right_classes)) < 2:
        terminal.note(f"no selectivity: it needs two classes with {MIN_PHOTOS} photos each")
        right_classes = None
    channels = find_channels(trace(inputs.model), channel, side.value) if channel else {}
    layers = [*(layer or []), *(name for name in channels if name not in (layer or []))]
    with inputs.prepare_pass() as pass_options:
        result = find_patches(
            inputs.model,
            inputs.dataset,
            layers=layers or None,
            side=side.value,
            top=top,
            per_image=per_image,
            show=channels or show,
            labels=right_classes,
            seed=arguments.seed,
            strict=arguments.strict,
            pass_options=pass_options,
        )
        result.save(arguments.out, command=command_line())
    show_patches(result, arguments.out, json=arguments.json)
