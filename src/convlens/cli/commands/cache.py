"""The cache command: what the disk cache holds, and its removal."""

from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import NETWORKS, app


@app.command(rich_help_panel=NETWORKS)
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove everything that the cache holds.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,  # accepted as by all commands; this one has no progress to show
) -> None:
    """Show or clear the disk cache, which keeps what depends on a network alone."""
    from convlens.cache.contents import cache_contents, clear_cache
    from convlens.cli.show.cache import show_cache

    show_cache(clear_cache() if clear else cache_contents(), cleared=clear, json=json)
