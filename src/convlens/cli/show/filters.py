"""Filters in words."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.analyses.filters.filters import Filters
    from convlens.analyses.filters.over_training import FiltersOverTraining
    from convlens.analyses.gabor.noise_test import GaborFit


def filters(found: "Filters", out: Path, *, json: bool, why: str = "") -> None:
    """What the picture shows, and where it lies; `why` no kind can be told."""
    if json:
        terminal.print_json(found.to_json())
        return
    count, channels, height, width = found.weights.shape
    terminal.out.print(
        f"{found.layer}: {count} filters of {height}x{width}x{channels}, stride "
        f"{terminal.pair(found.stride)}; {_scale(found)}",
        markup=False,
    )
    if found.kinds:
        kinds = ", ".join(
            f"{found.kinds.count(kind)} {kind}" for kind in dict.fromkeys(found.kinds)
        )
        terminal.out.print(
            f"sorted by kind: {kinds}" + (f", as {why}" if why else ""), markup=False
        )
    terminal.out.print(str((out / "filters.png").resolve()), markup=False)


def _scale(found: "Filters") -> str:
    if not found.own_scale:
        return f"one scale for all, ±{found.scale:.3g}"
    scales = found.scales
    return (
        f"each on its own scale, ±{float(scales.min()):.3g} to ±{float(scales.max()):.3g}, so that "
        f"strengths cannot be compared"
    )


def filters_over_training(found: "FiltersOverTraining", out: Path, *, json: bool) -> None:
    """Which steps the picture shows, and where it lies."""
    if json:
        terminal.print_json(found.to_json())
        return
    steps = ", ".join(f"{step:,}" for step in found.steps)
    terminal.out.print(
        f"{found.layer}: {len(found.channels)} filters after {steps} steps, a column each; one "
        f"scale for all, ±{found.scale:.3g}",
        markup=False,
    )
    terminal.out.print(str((out / "over_training.png").resolve()), markup=False)


def gabor_fit(found: "GaborFit", out: Path, *, json: bool) -> None:
    """A row a filter, then the verdicts, and where the picture lies."""
    if json:
        terminal.print_json(found.to_json())
        return
    if len(found.fitted):
        table = terminal.table(
            ">filter", "verdict", ">R²", ">p", ">orientation", ">cycles/pixel", ">σ along",
            ">σ across", ">center x", ">center y",
        )  # fmt: skip
        waves = set(found.waves)
        for number, verdict in enumerate(found.verdicts):
            names = ("sigma_along", "sigma_across", "x0", "y0")
            wave = number in waves
            table.add_row(
                str(found.filters.channels[number]), verdict, f"{found.r2[number]:.2f}",
                f"{found.p[number]:.2g}", f"{found.orientation[number]:.0f}°" if wave else "–",
                found.value("frequency", number, ".3f") if wave else "–",
                *(found.value(name, number, ".2f") for name in names),
            )  # fmt: skip
        terminal.out.print(table)
        terminal.out.print(
            "–: less of a wave than fits the filter; ≤ and ≥: at a bound of the search, or at the "
            "fastest wave that pixels can hold, and so not measured",
            markup=False,
        )
    terminal.out.print(found.summary(), markup=False)
    if not found.reason:
        terminal.out.print(found.shares(), markup=False)
    name = "fits.png" if len(found.fitted) else "filters.png"
    terminal.out.print(str((out / name).resolve()), markup=False)
