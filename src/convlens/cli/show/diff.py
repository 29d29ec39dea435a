"""Tables of what differs between two networks."""

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.wording import percent

if TYPE_CHECKING:
    from convlens.analyses.comparison.answers import AnswerChanges
    from convlens.analyses.comparison.result import Diff

_MOST_ROWS = 12  # of a table


def show_diff(diff: "Diff", out: Path, *, json: bool) -> None:
    """Print the answers that changed, the summary of every part, and where the pictures lie."""
    for reason in diff.answers.skipped:
        terminal.note(f"left out: {reason}")
    if json:
        print_numbers(diff)
        return
    _show_answers(diff.answers)
    terminal.show(*diff.summary().split("\n"))
    show_index(out)


def _show_answers(answers: "AnswerChanges") -> None:
    changed = [pair for pair in answers.pairs if pair.kind != "same"]
    if not changed:
        return
    table = terminal.table("photo", "kind", "label", "first network", "second network")
    for pair in changed[:_MOST_ROWS]:
        table.add_row(
            PurePath(pair.photo).name,
            pair.kind,
            ", ".join(pair.labels),
            f"{pair.first}, {percent(pair.first_probability)}",
            f"{pair.second}, {percent(pair.second_probability)}",
        )
    terminal.show(table)
    total = answers.same.total - answers.same.count
    if total > table.row_count:
        terminal.show(f"{table.row_count} of {total:,} changed answers, the surest ones first")
    terminal.show("")
