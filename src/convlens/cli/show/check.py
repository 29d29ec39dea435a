"""Prints the findings of the check command, and writes them as JUnit XML."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.files import atomic_file

if TYPE_CHECKING:
    from convlens.analyses.model_check.result import ModelCheck


def show_check(result: "ModelCheck", out: Path | None, junit: Path | None, *, json: bool) -> None:
    """Print a line for each finding, and write the JUnit file if one is named."""
    for reason in result.skipped:
        terminal.note(f"left out: {reason}")
    if junit is not None:
        with atomic_file(junit) as temporary:
            temporary.write_text(result.junit_xml(), encoding="utf-8")
    if json:
        print_numbers(result)
        return
    for finding in result.findings:
        terminal.show(f"{finding.status:11}  {finding.name}: {finding.sentence}")
    if out is not None:
        show_index(out)
