"""Prints the address of an explorer, or the page of an export."""

import sys
import webbrowser
from pathlib import Path

from convlens.cli import terminal


def show_explorer(url: str, *, port: int, json: bool, quiet: bool, browser: bool) -> None:
    """Print the address, and open it.

    Args:
        url: the address, with the token.
        port: port of the server.
        json: print the address and the port as JSON.
        quiet: print nothing but the address.
        browser: open the browser.
    """
    if json:
        terminal.print_json({"url": url, "port": port})
    else:
        terminal.show(url)
    sys.stdout.flush()  # a program that starts the explorer reads the address
    if not quiet:
        terminal.note("the explorer runs until Ctrl+C; the address works on this machine only")
    if browser:
        webbrowser.open(url)


def show_export(page: Path, *, json: bool) -> None:
    """Print the page of an exported explorer.

    Args:
        page: the page to open.
        json: print it as JSON.
    """
    if json:
        terminal.print_json({"page": str(page)})
    else:
        terminal.show(str(page))
