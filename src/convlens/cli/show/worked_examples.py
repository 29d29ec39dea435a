"""Prints the results of the commands that work through the chapter."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers, show_index

if TYPE_CHECKING:
    from convlens.analyses.feature_maps.detector_result import FeatureDetector
    from convlens.analyses.gabor.bank import GaborBank
    from convlens.analyses.image_tensor.image_tensor import ImageTensor
    from convlens.analyses.shift.translation import Translation
    from convlens.analyses.worked_examples.convolution import ConvolutionArithmetic
    from convlens.analyses.worked_examples.layer import LayerArithmetic
    from convlens.analyses.worked_examples.pooling import PoolingArithmetic
    from convlens.analyses.worked_examples.window_grid import WindowGrid


def show_worked_example(
    result: "FeatureDetector | ImageTensor | PoolingArithmetic | Translation",
    out: Path,
    *,
    json: bool,
) -> None:
    """Print what the figure shows, and the folder that holds it."""
    if json:
        print_numbers(result)
        return
    terminal.show(result.summary())
    show_index(out)


def show_convolution(result: "ConvolutionArithmetic", out: Path, *, json: bool) -> None:
    """Print the sum of each position, and the folder that holds the figure."""
    if json:
        print_numbers(result)
        return
    height, width = result.feature_map.shape
    for row in range(height):
        for column in range(width):
            terminal.show(
                f"C({row}, {column}) = {result.equation(row, column).replace(chr(10), ' ')}"
            )
    terminal.show(result.summary())
    show_index(out)


def show_window_grid(result: "WindowGrid", out: Path, *, json: bool) -> None:
    """Print the size of the output by its formula, and the folder that holds the figure."""
    if json:
        print_numbers(result)
        return
    terminal.show(*result.equation().splitlines(), result.summary())
    show_index(out)


def show_layer(result: "LayerArithmetic", out: Path, *, json: bool) -> None:
    """Print the counts by their formulas, and the folder that holds the figure."""
    if json:
        print_numbers(result)
        return
    terminal.show(*result.equations().splitlines())
    show_index(out)


def show_gabor_bank(result: "GaborBank", out: Path, *, json: bool) -> None:
    """Print the size of the filters, and the folder that holds the figure."""
    if json:
        print_numbers(result)
        return
    count, side, _ = result.filters.shape
    terminal.show(f"{count} filters of {side} x {side}")
    show_index(out)
