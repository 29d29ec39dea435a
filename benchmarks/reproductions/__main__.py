"""The command `python -m benchmarks.reproductions`: published figures, ours, source and verdict."""

import sys
import time

from rich.console import Console
from rich.table import Table

from convlens.runtime.threads import limit_spinning


def main(words: list[str]) -> int:
    """Compute and print the rows whose text contains one of the words, or all.

    Args:
        words: those of the command line, without the program's name.

    Returns:
        Exit status: 0, or 2 if no row contains the words.
    """
    limit_spinning()  # before torch is imported
    from benchmarks.reproductions import attacks, filters, saliency, structure, training

    modules = (structure, saliency, filters, attacks, training)
    rows = [row for module in modules for row in module.reproductions()]
    rows = [row for row in rows if not words or any(word in row.quantity for word in words)]
    if not rows:
        print(f"no row contains {' or '.join(words)}", file=sys.stderr)
        return 2
    table = Table("quantity", "published", "ours", "verdict", "source", "s")
    for row in rows:
        start = time.monotonic()
        outcome = row.run()
        seconds = f"{time.monotonic() - start:.0f}"
        table.add_row(
            row.quantity, row.published, outcome.ours, outcome.verdict, row.source, seconds
        )
        print(f"{outcome.verdict}: {row.quantity}: {outcome.ours}", file=sys.stderr, flush=True)
    Console(width=None if Console().is_terminal else 180).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
