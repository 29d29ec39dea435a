"""Prints the result of the cache command."""

from convlens.cache.contents import CacheContents
from convlens.cli import terminal
from convlens.wording import counted


def show_cache(contents: CacheContents, *, cleared: bool, json: bool) -> None:
    """Print the folder, the size and the entries of the cache.

    Args:
        contents: what the cache holds, or what was removed from it.
        cleared: whether it was removed.
        json: whether to print JSON instead.
    """
    if json:
        terminal.print_json(
            {
                "folder": str(contents.folder) if contents.folder is not None else None,
                "limit_bytes": contents.limit,
                "removed" if cleared else "entries": contents.entries,
                "bytes": contents.sizes,
            }
        )
        return
    if contents.folder is None:
        terminal.show("the cache is turned off (CONVLENS_CACHE=off)")
        return
    count = counted(sum(contents.entries.values()), "entry")
    if cleared:
        terminal.show(f"removed {count} ({_megabytes(contents.size)}) from {contents.folder}")
        return
    terminal.show(
        f"{contents.folder}: {count}, {_megabytes(contents.size)} of at most "
        f"{_megabytes(contents.limit)}"
    )
    if not contents.entries:
        return
    table = terminal.table("kind", ">entries", ">size")
    for kind, number in contents.entries.items():
        table.add_row(kind, f"{number:,}", _megabytes(contents.sizes[kind]))
    terminal.show(table)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
