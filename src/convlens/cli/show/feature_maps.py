"""Prints the result of the maps command."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index
from convlens.wording import counted

if TYPE_CHECKING:
    from convlens.analyses.feature_maps.feature_maps import FeatureMaps


def show_feature_maps(result: "FeatureMaps", out: Path, *, json: bool) -> None:
    """Print what the pictures show, and the folder that holds them."""
    if json:
        print_numbers(result)
        return
    count, height, width = result.maps.shape
    shown = f", {len(result.shown)} of them drawn" if len(result.shown) < count else ""
    pooled = f"; {result.pooling} beside them" if result.pooling else ""
    terminal.show(
        f"{result.layer} ({result.node_name}): {counted(count, 'map')} of {height} x {width}"
        f"{shown}; all on one scale, up to {result.scale:.3g}{pooled}"
    )
    show_index(out)
