"""Tables of confusions, classes and errors, and the calibration."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.data.photo_names import shortest_unique_paths
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from convlens.analyses.error_analysis.result import ErrorAnalysis, WrongPrediction

_CLASSES = 10  # in the table


def show_errors(result: "ErrorAnalysis", out: Path, *, json: bool) -> None:
    """Print accuracy, the worst classes, confused pairs, surest errors and the calibration."""
    for reason in result.skipped:
        terminal.note(f"left out: {reason}")
    if json:
        print_numbers(result)
        return
    _show_classes(result)
    _show_pairs(result)
    _show_wrong(f"surest of {counted(result.errors, 'error')}", result.wrong[: result.shown])
    suspicious = result.suspicious
    title = f"surest of {counted(len(suspicious), 'label')} that may be wrong"
    _show_wrong(title, suspicious[: result.shown])
    _show_causes(result)
    for line in result.summary().split("\n"):
        terminal.show(line)
    if result.unlabeled:
        terminal.show(f"not counted, as they have no label: {counted(result.unlabeled, 'photo')}")
    show_index(out)


def _show_classes(result: "ErrorAnalysis") -> None:
    """The classes with the lowest accuracy, those with more photos first."""
    counts, right = result.class_counts.tolist(), result.class_right.tolist()
    rows = [row for row, count in enumerate(counts) if count]
    rows.sort(key=lambda row: (right[row] / counts[row], -counts[row]))
    table = terminal.table("class", ">photos", ">right", ">share")
    for row in rows[:_CLASSES]:
        table.add_row(
            result.class_names[row], f"{counts[row]:,}", f"{right[row]:,}",
            percent(right[row] / counts[row]),
        )  # fmt: skip
    if len(rows) > _CLASSES:
        terminal.show(f"{_CLASSES} of {counted(len(rows), 'class')}, the least accurate first")
    terminal.show(table, "")


def _show_pairs(result: "ErrorAnalysis") -> None:
    table = terminal.table("label", "predicted as", ">errors", ">photos", ">share")
    for pair in result.pairs:
        table.add_row(
            pair.label_name, pair.prediction_name, f"{pair.share.count:,}",
            f"{pair.share.total:,}", percent(pair.share.share),
        )  # fmt: skip
    if table.row_count:
        terminal.show(table, "")


def _show_causes(result: "ErrorAnalysis") -> None:
    causes = result.causes
    if causes is None:
        return
    table = terminal.table("cause", ">explains", ">applies to", ">right predictions, too")
    for cause in causes.causes:
        control = cause.control
        table.add_row(
            cause.name, f"{cause.explained.count}", f"{cause.applies.count}",
            f"{control.count} of {control.total}" if control is not None and control.total else "",
        )  # fmt: skip
    terminal.show(f"causes of {counted(causes.examined, 'error')} drawn at random", table)
    for sentence in causes.explanations():
        terminal.show(sentence)
    terminal.show("")


def _show_wrong(title: str, errors: "tuple[WrongPrediction, ...]") -> None:
    table = terminal.table("photo", "label", "predicted as", ">confidence", ">label")
    names = shortest_unique_paths([error.photo for error in errors])
    for name, error in zip(names, errors, strict=True):
        table.add_row(
            name, error.label_name, error.prediction_name, percent(error.confidence),
            percent(error.label_probability),
        )  # fmt: skip
    if table.row_count:
        terminal.show(title, table, "")
