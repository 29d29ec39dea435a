"""The check command: whether a network is intact, fed correctly and within limits, for CI."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import START, app
from convlens.cli.arguments import CheckArguments, with_arguments


@app.command(rich_help_panel=START)
@with_arguments(CheckArguments)
def check(
    arguments: CheckArguments,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
    accuracy: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Least share of photos that are predicted correctly."),
    ] = None,
    top5: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Least share of photos whose right class is among the first five.",
        ),
    ] = None,
    class_accuracy: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Least accuracy of every class with at least five photos."
        ),
    ] = None,
    calibration_error: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Greatest expected calibration error."),
    ] = None,
    dead_channels: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Greatest share of a layer's channels that are never above 0. Default: 0.5.",
        ),
    ] = None,
    agreement: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Least share of photos for which --against predicts the same. Default: 0.99.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            callback=checks.check_optional_model,
            help="The same network in another format, as --model takes it; predictions are "
            "compared.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(
            metavar="TOML",
            callback=checks.check_thresholds,
            help="File with limits, such as accuracy = 0.7; options go before it.",
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the findings as JUnit XML."),
    ] = None,
) -> None:
    """Check a network for CI; exit status 0: fine, 1: something is broken, 2: could not run.

    In Python: convlens.check.
    """
    from convlens.analyses.model_check.thresholds import CheckThresholds, read_thresholds
    from convlens.cli.dataset_pass import PassInputs
    from convlens.cli.inputs import load_model

    options = {
        "accuracy": accuracy, "top5": top5, "class_accuracy": class_accuracy,
        "calibration_error": calibration_error, "dead_channels": dead_channels,
        "agreement": agreement,
    }  # fmt: skip
    limits = read_thresholds(thresholds) if thresholds is not None else {}
    limits |= {name: limit for name, limit in options.items() if limit is not None}
    # before the imports that need torch
    inputs = PassInputs.load(arguments, labels=labels, no_labels=no_labels)
    other = load_model(arguments.of_model(against)) if against is not None else None
    from convlens.analyses.model_check.model_check import check as check_network
    from convlens.cli.folders import command_line
    from convlens.cli.show.check import show_check

    with inputs.prepare_pass() as pass_options:
        result = check_network(
            inputs.model,
            inputs.dataset,
            inputs.labels,
            thresholds=CheckThresholds(**limits),
            against=other,
            strict=arguments.strict,
            pass_options=pass_options,
        )
        if arguments.out is not None:
            result.save(arguments.out, command=command_line())
    show_check(result, arguments.out, junit, json=arguments.json)
    if result.broken:
        raise typer.Exit(1)
