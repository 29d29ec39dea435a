"""The diff command: what differs between two networks, on the same photos."""

from pathlib import Path

from convlens.cli import options as o
from convlens.cli.app import PREDICTIONS, app
from convlens.cli.arguments import PairArguments, with_arguments


@app.command(rich_help_panel=PREDICTIONS)
@with_arguments(PairArguments, out=Path("convlens-diff"))
def diff(
    arguments: PairArguments,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
) -> None:
    """Compare two networks: answers that changed, weights, and the first layer that differs."""
    from convlens.cli.dataset_pass import PassInputs
    from convlens.cli.inputs import load_model

    # before the imports that need torch
    inputs = PassInputs.load(arguments.of_first(), labels=labels, no_labels=no_labels)
    second = load_model(arguments.of_second())
    from convlens.analyses.comparison.diff import diff as compare
    from convlens.cli.folders import command_line
    from convlens.cli.show.diff import show_diff

    with inputs.prepare_pass() as pass_options:
        result = compare(
            inputs.model,
            second,
            inputs.dataset,
            labels=inputs.labels,
            strict=arguments.strict,
            pass_options=pass_options,
        )
        result.save(arguments.out, command=command_line())
    show_diff(result, arguments.out, json=arguments.json)
