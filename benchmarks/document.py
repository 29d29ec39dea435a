"""docs/benchmarks.md: the results of all benchmarks as a page, written from their JSON files."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import Spread

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_HEADING = "\n## "
_TITLE = """# Results of the benchmarks

`make bench` writes this page from the results of the benchmarks that it runs; the sections of the
other benchmarks stay as they are. Each section names the machine and the day of its run.

**How to read the tables.** All entries of a table run in turn in one process. A *floor* is the
least cost of the same work, most often a bare forward pass, and runs beside each entry. A *ratio*
is the median, over the rounds, of the time of an entry divided by the time of the floor beside it;
the smallest and the largest are in brackets. Peers run as their documentation says. A target is the
largest ratio of wall times that convlens is meant to have.
"""


def write_document(summaries: Mapping[str, str], results: Path, document: Path) -> None:
    """Write the page: a section for each file of results, and the old section where there is none.

    Args:
        summaries: what each benchmark measures, by its name and in the order of the page. Sections
            of other names are dropped.
        results: folder of `NAME.json`.
        document: the page; created if it does not exist.
    """
    sections = _read_sections(document)
    for name, summary in summaries.items():
        path = results / f"{name}.json"
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            sections[name] = "\n\n".join(_section_parts(summary, content))
    text = _TITLE + "".join(
        f"{_HEADING}{name}\n\n{sections[name]}\n" for name in summaries if name in sections
    )
    document.write_text(text, encoding="utf-8")


def _read_sections(document: Path) -> dict[str, str]:
    """The text below each heading of the page, by the heading."""
    if not document.is_file():
        return {}
    _, *sections = document.read_text(encoding="utf-8").split(_HEADING)
    return {
        name: text.strip() for name, _, text in (section.partition("\n") for section in sections)
    }


def _section_parts(summary: str, content: Mapping[str, Any]) -> Iterable[str]:
    """The paragraphs of a section: summary, machine, tables and remarks."""
    yield summary
    yield _describe_machine(content["machine"], content.get("minutes"))
    if content.get("rows"):
        yield _markdown_table(
            ("network", "task", "library", "wall ms", "ratio, wall", "ratio, CPU", "target"),
            [_row_cells(row) for row in content["rows"]],
        )
    for table in content.get("tables", ()):
        yield f"**{_escape(table['title'])}**"
        yield _markdown_table(table["headings"], table["rows"])
    if remarks := content.get("remarks"):
        yield "\n".join(f"- {_escape(remark)}" for remark in remarks)


def _describe_machine(machine: Mapping[str, Any], minutes: float | None) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = "unknown" if machine["load"] is None else ", ".join(map(str, machine["load"]))
    length = "" if minutes is None else f", {minutes:.1f} minutes"
    return (
        f"{machine['date']}{length}: {machine['cores']} cores ({machine['cpu']}, "
        f"{machine['instructions']}), {machine['threads']} threads of torch; load at the end "
        f"{load} (averages over 1, 5 and 15 minutes). {versions}."
    )


def _row_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["pair"] is None:
        return row["network"], row["task"], row["library"], row["note"], "", "", ""
    wall = Spread.of([1e3 * seconds for seconds in row["pair"]["own"]["wall"]])
    target = "" if row["target"] is None else f"{row['target']:.3g}, {_verdict(row['met'])}"
    return (
        row["network"], row["task"], row["library"], f"{wall:.0f}",
        f"{Spread(**row['wall_ratio']):.2f}", f"{Spread(**row['cpu_ratio']):.2f}", target,
    )  # fmt: skip


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def _markdown_table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_escape, cells))} |" for cells in lines)


def _escape(text: str) -> str:
    """Text that Markdown shows as it is, also inside a table. `**missed**` stays bold."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")
