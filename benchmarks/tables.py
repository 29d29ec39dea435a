"""The output of a benchmark: a table on the terminal and a JSON file."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.timing import Pair, Spread, Timing, Work, describe_machine, measure

RESULTS = Path(__file__).parent / "results"
METHOD = (
    "Median (minimum-maximum) of the rounds; all run in turn after one warm-up each, the floor "
    "beside each of them; a ratio is the median of the ratios of neighboring runs."
)


@dataclass(frozen=True)
class Entry:
    """A task done by one library.

    Attributes:
        task: the task in words.
        library: convlens or a peer.
        make: returns the callable that is timed; imports the peer and builds what it keeps between
            calls.
        target: the most that it may cost, in floors; None for peers, and where a peer sets it.
    """

    task: str
    library: str
    make: Callable[[], Work]
    target: float | None = None


@dataclass(frozen=True)
class TextTable:
    """A table of text, for benchmarks whose figures are not ratios to a floor.

    Attributes:
        title: what is measured.
        headings: of the columns.
        rows: cells of each line.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        network: name of the network.
        task: the task in words.
        library: convlens, a peer, or the floor.
        pair: its times and the floor's; None if the peer is not installed.
        target: the most that it may cost, in floors; None for peers and the floor.
        note: why there are no times; otherwise empty.
    """

    network: str
    task: str
    library: str
    pair: Pair | None
    target: float | None
    note: str

    @property
    def met(self) -> bool | None:
        """Whether the median ratio is within the target."""
        if self.pair is None or self.target is None:
            return None
        return self.pair.wall_ratio.median <= self.target


def compare(network: str, floor_name: str, floor: Work, entries: Sequence[Entry]) -> list[Row]:
    """Time all entries in turn, and a floor beside each.

    Args:
        network: name of the network.
        floor_name: the floor's work in words.
        floor: does the least work.
        entries: in the order of the table.

    Returns:
        A row for the floor, and one for each entry.
    """
    works, notes = {}, {}
    for number, entry in enumerate(entries):
        try:
            works[str(number)] = entry.make()
        except ImportError as error:
            if entry.library == "convlens":
                raise
            notes[number] = f"not installed: {error}"
    pairs = measure(floor, works)
    floor_timing = Timing(
        wall=tuple(seconds for pair in pairs.values() for seconds in pair.floor.wall),
        cpu=tuple(seconds for pair in pairs.values() for seconds in pair.floor.cpu),
    )
    rows = [Row(network, floor_name, "floor", Pair(floor_timing, floor_timing), None, "")]
    for number, entry in enumerate(entries):
        pair, note = pairs.get(str(number)), notes.get(number, "")
        rows.append(Row(network, entry.task, entry.library, pair, entry.target, note))
    return rows


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print the table of one network."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in ("task", "library"):
        table.add_column(heading, no_wrap=True)
    for heading in ("wall ms", "CPU ms", "x floor", "x floor, CPU"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("rounds", justify="right")
    table.add_column("target")
    previous_task = ""
    for row in rows:
        task = row.task if row.task != previous_task else ""
        table.add_row(task, row.library, *_figures(row), _verdict(row))
        previous_task = row.task
    _console().print(table)


def print_text_table(table: TextTable) -> None:
    """Print a table of text; columns after the first are aligned to the right."""
    printed = Table(title=table.title, title_justify="left")
    for number, heading in enumerate(table.headings):
        printed.add_column(heading, justify="right" if number else "left")
    for cells in table.rows:
        printed.add_row(*map(escape, cells))
    _console().print(printed)


def print_remarks(remarks: Sequence[str] = ()) -> None:
    """Print a line about the machine, and the remarks."""
    console = _console()
    machine = describe_machine()
    console.print(
        f"{machine['cores']} cores ({machine['cpu']}, {machine['instructions']}), "
        f"{machine['threads']} torch threads, torch {torch.__version__}, load {machine['load']}"
    )
    for remark in remarks:
        console.print(remark, markup=False)  # it may hold brackets


def write_rows(name: str, rows: Sequence[Row], remarks: Sequence[str]) -> None:
    """Write the times of every round to `results/NAME.json`."""
    write_results(name, {"rows": [_describe_row(row) for row in rows]}, remarks=remarks)


def write_results(
    name: str,
    content: Mapping[str, object],
    *,
    remarks: Sequence[str] = (),
    tables: Sequence[TextTable] = (),
) -> None:
    """Write what was measured, and on which machine, to `results/NAME.json`.

    Args:
        name: name of the benchmark.
        content: figures for programs.
        remarks: what docs/benchmarks.md states, one sentence or line each; default: nothing.
        tables: what docs/benchmarks.md shows as tables; default: none.
    """
    everything = {
        "name": name,
        "machine": describe_machine(),
        **content,
        "tables": [asdict(table) for table in tables],
        "remarks": list(remarks),
    }
    print(f"written: {_write_json(name, everything)}")


def add_minutes(name: str, minutes: float) -> None:
    """Add how long a benchmark took to `results/NAME.json`."""
    content = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    _write_json(name, {**content, "minutes": round(minutes, 2)})


def _write_json(name: str, content: Mapping[str, object]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)
    return path


def _console() -> Console:
    return Console(width=None if Console().is_terminal else 160)


def _describe_row(row: Row) -> dict[str, object]:
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
        f"{Spread.of([seconds * 1e3 for seconds in row.pair.own.wall]):.0f}",
        f"{Spread.of([seconds * 1e3 for seconds in row.pair.own.cpu]):.0f}",
        f"{row.pair.wall_ratio:.2f}",
        f"{row.pair.cpu_ratio:.2f}",
        str(len(row.pair.own.wall)),
    )


def _verdict(row: Row) -> str:
    if row.target is None:
        return row.note
    return f"{row.target:.3g}: {'met' if row.met else '[bold]MISSED[/bold]'}"
