"""A diagnosis as a table."""

from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.analyses.preprocessing_check.preprocessing_check import Diagnosis


def doctor(found: "Diagnosis", *, json: bool) -> None:
    """The verdict, then the readings, best first after the configured one."""
    for reason in found.skipped:
        terminal.err.print(f"left out: {reason}", markup=False)
    if json:
        terminal.print_json(found.to_json())
        return
    table = terminal.table("reading", ">right", ">score (nats)", ">gain", ">p")
    for one in found.readings:
        right = f"{one.accuracy:.1%}" if one.accuracy is not None else ""
        row = (one.name, right, f"{one.score:.3f}", f"{one.gain:+.3f}", f"{one.p_value:.2g}")
        table.add_row(*row)
    terminal.out.print(table)
    terminal.out.print(f"{found.verdict}: {found.summary}", markup=False)
