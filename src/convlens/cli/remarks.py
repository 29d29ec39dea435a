"""Remarks about the results of a command, which are shown when it has ended without an error."""

_remarks: list[str] = []


def add_remark(line: str) -> None:
    """Keep a line that is shown after the results."""
    _remarks.append(line)


def take_remarks() -> list[str]:
    """The lines that were kept, which are forgotten then."""
    lines = list(_remarks)
    _remarks.clear()
    return lines
