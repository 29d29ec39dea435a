"""Prints the result of the chapter command."""

from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers
from convlens.wording import counted

if TYPE_CHECKING:
    from convlens.textbook.chapter import Chapter


def show_chapter(result: "Chapter", *, json: bool) -> None:
    """Print the number of figures, and the path of the page."""
    if json:
        print_numbers(result)
        return
    terminal.show(counted(len(result.figures), "figure"), str(result.page.resolve()))
