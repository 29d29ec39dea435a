"""A table of preprocessing variants, and the verdict."""

from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers
from convlens.wording import percent

if TYPE_CHECKING:
    from convlens.analyses.preprocessing_check.result import Diagnosis


def show_diagnosis(diagnosis: "Diagnosis", *, json: bool) -> None:
    """Print the variants, the configured one first, and the verdict."""
    for reason in diagnosis.skipped:
        terminal.note(f"left out: {reason}")
    if json:
        print_numbers(diagnosis)
        return
    table = terminal.table("preprocessing", ">right", ">score (nats)", ">gain", ">p")
    for variant in diagnosis.variants:
        accuracy = percent(variant.accuracy, 1) if variant.accuracy is not None else ""
        table.add_row(
            variant.name,
            accuracy,
            f"{variant.score:.3f}",
            f"{variant.gain:+.3f}",
            f"{variant.p_value:.2g}",
        )
    terminal.show(table)
    terminal.show(f"{diagnosis.verdict}: {diagnosis.reason}")
