"""The errors command: accuracy, confusions, calibration and errors of labeled photos."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import START, app
from convlens.cli.arguments import PassArguments, with_arguments


@app.command(rich_help_panel=START)
@with_arguments(PassArguments, out=Path("convlens-errors"))
def errors(
    arguments: PassArguments,
    labels: o.LabelsOrFolders = None,
    bins: Annotated[
        int, typer.Option(min=2, help="Number of bins of the reliability diagrams.")
    ] = 15,
    show: Annotated[
        int, typer.Option(min=0, help="Number of errors with a picture, the surest first.")
    ] = 16,
    examine: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of errors, drawn at random, over which causes are counted, with about 40 "
            "forward passes for each; 0 leaves causes out.",
        ),
    ] = 32,
    boxes: o.Boxes = None,
) -> None:
    """Find out where and why the network is wrong: confusions, calibration, causes of errors.

    In Python: convlens.error_analysis.
    """
    from convlens.cli.dataset_pass import PassInputs

    # before the imports that need torch
    inputs = PassInputs.load(arguments, labels=labels, no_labels=False, labels_needed=True)
    right_classes = inputs.require_labels()
    from convlens.analyses.error_analysis.dataset_pass import error_analysis
    from convlens.analyses.gradcam.boxes import read_boxes
    from convlens.cli.folders import command_line
    from convlens.cli.show.errors import show_errors

    table = read_boxes(boxes, inputs.model) if boxes is not None else None
    inputs.note_unmatched("--boxes", table)
    with inputs.prepare_pass() as pass_options:
        result = error_analysis(
            inputs.model,
            inputs.dataset,
            right_classes,
            bins=bins,
            show=show,
            examine=examine,
            boxes=table,
            seed=arguments.seed,
            strict=arguments.strict,
            pass_options=pass_options,
        )
        result.save(arguments.out, command=command_line())
    show_errors(result, arguments.out, json=arguments.json)
