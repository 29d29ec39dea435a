"""Tables of equivariance, of predictions for shifted photos, and of channels' invariance."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from convlens.analyses.shift.equivariance import Equivariance
    from convlens.analyses.shift.shift import Shift
    from convlens.passes.proportion import Proportion


def show_shift(measured: "Shift", out: Path, *, json: bool) -> None:
    """Print a row for each layer, a row for each protocol, and where the map lies."""
    for reason in measured.skipped:
        terminal.note(f"left out: {reason}")
    if json:
        print_numbers(measured)
        return
    if measured.equivariance is not None:
        _show_layers(measured.equivariance)
    _show_predictions(measured)
    offsets = measured.offsets
    if offsets is not None:
        terminal.show(
            f"first photo, {offsets.name}: probability {offsets.lowest:.3f} to "
            f"{offsets.highest:.3f} over {offsets.probabilities.numel()} offsets "
            f"({offsets.protocol}), predicted at {percent(offsets.predicted_share)}"
        )
    show_index(out)


def _show_layers(equivariance: "Equivariance") -> None:
    shifts = [
        f"{rows}" if rows == columns else f"{rows},{columns}"
        for rows, columns in equivariance.shifts
    ]
    table = terminal.table(
        "layer", "operation", ">stride", ">every", ">sees",
        *(f">{shift} px: {where}" for shift in shifts for where in ("inside", "whole map")),
    )  # fmt: skip
    for layer in equivariance.layers:
        errors = (
            _format_error(error)
            for pair in zip(layer.inner_errors, layer.whole_errors, strict=True)
            for error in pair
        )
        table.add_row(
            layer.layer, layer.operation, terminal.format_pair(layer.stride),
            terminal.format_pair(layer.spacing) or "varies",
            terminal.format_pair(layer.field) or "varies",
            *errors,
        )  # fmt: skip
    terminal.show(table)
    for number in range(len(equivariance.shifts)):
        terminal.show(equivariance.summary(number))
    terminal.show(
        f"{counted(equivariance.images, 'photo')}, medians; errors are relative to the map's own "
        f"variation (0: equivariant, 1.4: unrelated); inside: positions that see nothing but "
        f"the image",
    )
    for left_out in equivariance.left_out:
        terminal.show(f"left out: {left_out}")
    terminal.show("")


def _format_error(error: float | None) -> str:
    if error is None:
        return ""
    return f"{error:.1e}" if 0 < error < 0.001 else f"{error:.3g}"


def _show_predictions(measured: "Shift") -> None:
    labeled = measured.accuracy is not None
    of_labeled = (">same, if the center is right", ">right") if labeled else ()
    table = terminal.table("views", ">by at most", ">same prediction", *of_labeled)
    for protocol in measured.consistency:
        row = [
            protocol.protocol,
            f"{protocol.largest_offset} px",
            _format_proportion(protocol.agreement),
        ]
        if labeled:
            row += [
                _format_proportion(protocol.agreement_if_correct),
                _format_proportion(protocol.accuracy),
            ]
        table.add_row(*row)
    terminal.show(table)
    center = ""
    if measured.accuracy is not None:
        center = f"; the center is right in {_format_proportion(measured.accuracy)}"
    terminal.show(
        f"{counted(measured.images, 'photo')}, two views of each at offsets of its own, with 95 % "
        f"intervals{center}"
    )


def _format_proportion(proportion: "Proportion | None") -> str:
    if proportion is None or not proportion.total:
        return ""
    return (
        f"{proportion.count} of {proportion.total}, {percent(proportion.share, 1)} "
        f"({percent(proportion.low)} to {percent(proportion.high)})"
    )
