"""What a benchmark shows and keeps: one table for people, one JSON file for machines."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Pair, Spread, Timing, Work, machine, measure

RESULTS = Path(__file__).parent / "results"
METHOD = (
    "Median (least-most) of the rounds, everyone in turn after a warm-up each, the floor beside "
    "each of them; a ratio is the median of those between neighbors."
)


@dataclass(frozen=True)
class Entry:
    """One who does a task.

    Attributes:
        task: what is asked for.
        who: convlens, or a peer.
        make: gives the callable; imports the peer, and builds what it keeps between calls.
        target: the most that it may cost, in floors; None for peers.
    """

    task: str
    who: str
    make: Callable[[], Work]
    target: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table; without times where a peer is not there, and the note says so."""

    network: str
    task: str
    who: str
    pair: Pair | None
    target: float | None
    note: str

    @property
    def met(self) -> bool | None:
        """Whether the median ratio is within the target."""
        if self.pair is None or self.target is None:
            return None
        return self.pair.wall_ratio.median <= self.target


def compare(network: str, what: str, floor: Work, entries: Sequence[Entry]) -> list[Row]:
    """Time everyone in turn, and a floor beside each.

    Args:
        network: its name.
        what: the floor's.
        floor: does the least work.
        entries: in the order of the table.
    """
    works, notes = {}, {}
    for number, entry in enumerate(entries):
        try:
            works[str(number)] = entry.make()
        except ImportError as error:
            if entry.target is not None:  # ours
                raise
            notes[number] = f"not installed: {error}"
    pairs = measure(floor, works)
    every = Timing(
        wall=tuple(seconds for pair in pairs.values() for seconds in pair.floor.wall),
        cpu=tuple(seconds for pair in pairs.values() for seconds in pair.floor.cpu),
    )
    rows = [Row(network, what, "floor", Pair(every, every), None, "")]
    for number, entry in enumerate(entries):
        pair = pairs.get(str(number))
        rows.append(Row(network, entry.task, entry.who, pair, entry.target, notes.get(number, "")))
    return rows


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the table of one network, as soon as it is measured."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in ("task", "who"):
        table.add_column(heading, no_wrap=True)
    for heading in ("wall ms", "CPU ms", "x floor", "x floor, CPU"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("rounds", justify="right")
    table.add_column("target")
    before = ""
    for row in rows:
        table.add_row(
            row.task if row.task != before else "", row.who, *_figures(row), _verdict(row)
        )
        before = row.task
    _console().print(table)


def tell(remarks: Sequence[str]) -> None:
    """Print what the figures were taken on, and the remarks."""
    console = _console()
    on = machine()
    console.print(
        f"{on['cores']} cores ({on['cpu']}, {on['instructions']}), {on['threads']} torch threads, "
        f"torch {on['torch']}, load {on['load']}"
    )
    for remark in remarks:
        console.print(remark)


def _console() -> Console:
    return Console(width=None if Console().is_terminal else 160)


def write(name: str, rows: Sequence[Row], remarks: Sequence[str]) -> Path:
    """Keep every round's times in `results/NAME.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "name": name,
        "machine": machine(),
        "remarks": list(remarks),
        "rows": [_kept(row) for row in rows],
    }
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def _kept(row: Row) -> dict[str, object]:
    ratios = (
        {"wall_ratio": asdict(row.pair.wall_ratio), "cpu_ratio": asdict(row.pair.cpu_ratio)}
        if row.pair
        else {}
    )
    return {**asdict(row), **ratios, "met": row.met}


def _figures(row: Row) -> tuple[str, str, str, str, str]:
    if row.pair is None:
        return "", "", "", "", ""
    return (
        _spread(Spread.of([seconds * 1e3 for seconds in row.pair.own.wall]), ".0f"),
        _spread(Spread.of([seconds * 1e3 for seconds in row.pair.own.cpu]), ".0f"),
        _spread(row.pair.wall_ratio, ".2f"),
        _spread(row.pair.cpu_ratio, ".2f"),
        str(len(row.pair.own.wall)),
    )


def _spread(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.least:{form}}-{spread.most:{form}})"


def _verdict(row: Row) -> str:
    if row.target is None:
        return row.note
    return f"{row.target:g}: {'met' if row.met else '[bold]MISSED[/bold]'}"
