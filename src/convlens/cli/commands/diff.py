"""The diff command: what differs between two networks, on the same photos."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import PREDICTIONS, app
from convlens.cli.arguments import PairArguments, with_arguments


class Part(StrEnum):
    """What is compared beside answers, weights and the first layer that differs."""

    cka = "cka"
    channels = "channels"
    filters = "filters"
    gradcam = "gradcam"
    robustness = "robustness"
    shift = "shift"


@app.command(rich_help_panel=PREDICTIONS)
@with_arguments(PairArguments, out=Path("convlens-diff"))
def diff(
    arguments: PairArguments,
    part: Annotated[
        list[Part] | None,
        typer.Option(
            "--part",
            help="What is compared beside answers, weights and the first layer that differs; may "
            "be given several times. Default: everything.",
        ),
    ] = None,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
) -> None:
    """Compare two networks: answers lost and gained, weights, layers, channels, robustness.

    Answers are compared on all photos, and the other parts on a sample of them, whose cost is
    stated before they run.
    """
    from convlens.cli import terminal
    from convlens.cli.dataset_pass import PassInputs
    from convlens.cli.inputs import load_model

    # before the imports that need torch
    inputs = PassInputs.load(arguments.of_first(), labels=labels, no_labels=no_labels)
    second = load_model(arguments.of_second())
    from convlens.analyses.comparison.diff import diff as compare
    from convlens.analyses.comparison.further_parts import PARTS
    from convlens.cli.folders import command_line
    from convlens.cli.show.diff import show_diff

    with inputs.prepare_pass() as pass_options:
        result = compare(
            inputs.model,
            second,
            inputs.dataset,
            labels=inputs.labels,
            parts=[each.value for each in part] if part else PARTS,
            seed=arguments.seed,
            notify=terminal.printer(quiet=arguments.quiet),
            strict=arguments.strict,
            pass_options=pass_options,
        )
        result.save(arguments.out, command=command_line())
    show_diff(result, arguments.out, json=arguments.json)
