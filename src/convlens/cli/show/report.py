"""Prints a report on a terminal: its findings, and where the page lies."""

from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.page.result import Report


def show_report(report: "Report", *, json: bool) -> None:
    """The findings and the path of the page; with `json`, the numbers of the report instead."""
    if json:
        terminal.print_json(report.data.read_text(encoding="utf-8"))
        return
    for finding in report.findings:
        terminal.show(f"{finding.mark:>7}  {finding.sentence}")
    terminal.show("", str(report.page.resolve()))
