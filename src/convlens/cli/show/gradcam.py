"""Prints the result of the gradcam command: a table of all maps, and their summary."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import show_index
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from convlens.analyses.gradcam.dataset_result import GradCams

_ROWS = 200  # in the terminal; the file has all


def show_gradcams(result: "GradCams", out: Path, *, json: bool, channels: int = 0) -> None:
    """Print a row for each photo, class and layer, and the summary of all maps.

    Args:
        result: what was computed.
        out: the folder that holds it.
        json: print the numbers of all photos as JSON instead.
        channels: number of channels to list for each map; default: 0.
    """
    for reason in result.skipped.values():
        terminal.note(f"left out: {reason}")
    if json:
        with result.numbers_path.open(encoding="utf-8") as lines:
            for line in lines:
                print(line, end="")
        return
    _print_table(result)
    if channels:
        _print_channels(result, channels)
    terminal.show(*result.summary().split("\n"))
    show_index(out)


def _print_table(result: "GradCams") -> None:
    from convlens.analyses.gradcam.table import read_scores

    several_layers = len(result.layers) > 1
    rows = read_scores(result.table_path)
    shown = list(islice(rows, _ROWS))
    columns = shown[0].keys() if shown else ()
    has_curves, has_boxes = "deletion" in columns, "hit" in columns
    table = terminal.table(
        "photo", "class", *(("layer",) if several_layers else ()), ">logit", ">probability",
        ">minimum", ">maximum",
        *((">deletion", ">insertion", "beats random and center") if has_curves else ()),
        *(("in the box", ">energy") if has_boxes else ()),
    )  # fmt: skip
    for row in shown:
        supported = float(row["maximum"]) > 0
        cells = [row["photo"], row["class"], *([row["layer"]] if several_layers else [])]
        cells += [_format(row["logit"], ".2f"), _format(row["probability"], ".3f")]
        cells += [_format(row["minimum"], ".3g")]
        cells += [_format(row["maximum"], ".3g") if supported else "nothing supports it"]
        if has_curves:
            cells += [_format(row[kind], ".2f") for kind in ("deletion", "insertion")]
            cells.append(_beaten_controls(row))
        if has_boxes:
            cells += [{"1": "yes", "0": "no", "": "no box"}[row["hit"]]]
            cells += [_format(row["energy"], ".0%")]
        table.add_row(*cells)
    terminal.show(table)
    if left_out := sum(1 for _ in rows):
        terminal.show(f"and {counted(left_out, 'more row')} in {result.table_path}")


def _format(text: str, spec: str) -> str:
    """A number of the table as text; empty where the table has none."""
    return f"{float(text):{spec}}" if text else ""


def _beaten_controls(row: dict[str, str]) -> str:
    """In which of the two curves the map's order beats random order and the center."""
    kinds = [kind for kind in ("deletion", "insertion") if row[f"{kind}_beats"] == "1"]
    return "both" if len(kinds) == 2 else kinds[0] if kinds else "no"


def _print_channels(result: "GradCams", top: int) -> None:
    """List the channels that contribute most to each map, for the photos whose rows are shown."""
    from convlens.analyses.gradcam.result import GradCam

    table = terminal.table("photo", "class", "channels that contribute most, with their share")
    for photo in result.photos[:_ROWS]:
        maps = result[photo]
        for cam in (maps,) if isinstance(maps, GradCam) else maps.gradcams:
            for rank, name in enumerate(cam.names[0]):
                shares = [
                    f"{channel.address} {percent(channel.share)}"
                    for channel in cam.channel_shares(0, rank, top=top)
                ]
                table.add_row(photo, name, "  ".join(shares) or "nothing supports it")
    terminal.show(table)
