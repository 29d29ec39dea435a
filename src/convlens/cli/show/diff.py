"""Tables of what differs between two networks."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index

if TYPE_CHECKING:
    from convlens.analyses.comparison.answers.result import AnswerChanges
    from convlens.analyses.comparison.result import Diff


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
    changed = answers.table()
    if not changed.rows:
        return
    table = terminal.table(*changed.heads)
    for row in changed.rows:
        table.add_row(*row)
    terminal.show(table)
    if changed.total > table.row_count:
        terminal.show(f"{table.row_count} of {changed.total:,} changed answers, the surest ones")
    terminal.show("")
