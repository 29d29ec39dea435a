"""Prints the results of the filters command."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.wording import counted

if TYPE_CHECKING:
    from convlens.analyses.filters.filters import Filters
    from convlens.analyses.filters.over_training import FiltersOverTraining
    from convlens.analyses.gabor.result import GaborFit


def show_filters(result: "Filters", out: Path, *, json: bool) -> None:
    """Print the size and scale of the filters, their kinds, and the path of the picture."""
    if json:
        print_numbers(result)
        return
    count, channels, height, width = result.weights.shape
    terminal.show(
        f"{result.layer}: {counted(count, 'filter')} of {height}x{width}x{channels}, stride "
        f"{terminal.format_pair(result.stride)}; {_describe_scale(result)}"
    )
    if result.kinds:
        kinds = ", ".join(
            f"{result.kinds.count(kind)} {kind}" for kind in dict.fromkeys(result.kinds)
        )
        reason = f", as {result.kinds_reason}" if result.kinds_reason else ""
        terminal.show(f"sorted by kind: {kinds}{reason}")
    show_index(out)


def _describe_scale(result: "Filters") -> str:
    if not result.own_scale:
        return f"one scale for all, ±{result.scale:.3g}"
    scales = result.scales
    return (
        f"each on its own scale, ±{float(scales.min()):.3g} to ±{float(scales.max()):.3g}, so that "
        f"strengths cannot be compared"
    )


def show_filters_over_training(result: "FiltersOverTraining", out: Path, *, json: bool) -> None:
    """Print the training steps and the scale, and the path of the picture."""
    if json:
        print_numbers(result)
        return
    steps = ", ".join(f"{step:,}" for step in result.steps)
    terminal.show(
        f"{result.layer}: {counted(len(result.channels), 'filter')} after {steps} steps, a "
        f"column each; one scale for all, ±{result.scale:.3g}"
    )
    show_index(out)


def show_gabor_fit(result: "GaborFit", out: Path, *, json: bool) -> None:
    """Print a row for each filter, the number of each verdict, and the path of the picture."""
    if json:
        print_numbers(result)
        return
    if len(result.fitted):
        table = terminal.table(
            ">filter", "verdict", ">R²", ">p", ">orientation", ">cycles/pixel", ">σ along",
            ">σ across", ">center x", ">center y",
        )  # fmt: skip
        waves = set(result.waves)
        for number, verdict in enumerate(result.verdicts):
            names = ("sigma_along", "sigma_across", "x0", "y0")
            has_wave = number in waves
            table.add_row(
                str(result.filters.channels[number]), verdict, f"{result.r2[number]:.2f}",
                f"{result.p[number]:.2g}",
                f"{result.orientation[number]:.0f}°" if has_wave else "–",
                result.format_value("frequency", number, ".3f") if has_wave else "–",
                *(result.format_value(name, number, ".2f") for name in names),
            )  # fmt: skip
        terminal.show(table)
        terminal.show(
            "–: the fit has hardly a wave; ≤ and ≥: at a bound of the search or at the Nyquist "
            "frequency, and so not measured"
        )
    terminal.show(result.summary())
    if not result.reason:
        terminal.show(result.summarize_r2())
    show_index(out)
