"""The selectivity command: the channels of a layer by selectivity and invariance."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import CHANNELS, app
from convlens.cli.arguments import PassArguments, with_arguments


@app.command(rich_help_panel=CHANNELS)
@with_arguments(PassArguments, out=Path("convlens-selectivity"))
def selectivity(
    arguments: PassArguments,
    labels: o.LabelsOrFolders = None,
    layer: o.Layer = None,
    side: o.LayerSide = o.Side.post,
    show: Annotated[int, typer.Option(min=1, help="Number of channels in the table.")] = 20,
) -> None:
    """List the channels of a layer by how selective and how invariant they are.

    A channel at the extreme of both is the chapter's grandmother cell. By default, the layer is the
    last convolution with maps, and is read at its side post. In Python: convlens.invariance.
    """
    from convlens.cli.dataset_pass import PassInputs

    # before the imports that need torch
    inputs = PassInputs.load(arguments, labels=labels, no_labels=False, labels_needed=True)
    right_classes = inputs.require_labels()
    from convlens.analyses.invariance.dataset_pass import invariance
    from convlens.cli.folders import command_line
    from convlens.cli.show.selectivity import show_channels

    with inputs.prepare_pass() as pass_options:
        measured = invariance(
            inputs.model,
            inputs.dataset,
            layer=layer,
            side=side.value,
            labels=right_classes,
            strict=arguments.strict,
            pass_options=pass_options,
        )
        measured.save(arguments.out, command=command_line())
    show_channels(measured, arguments.out, json=arguments.json, most=show)
