"""A page's findings on a terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.page.schema import Report


def report(made: "Report", out: Path, *, json: bool) -> None:
    """The findings and where the page lies."""
    if json:
        terminal.print_json((out / "report.json").read_text(encoding="utf-8"))
        return
    for finding in made.findings:
        terminal.out.print(f"{finding.mark:>7}  {finding.sentence}", markup=False)
    terminal.out.print(f"\n{(out / 'index.html').resolve()}", markup=False)
