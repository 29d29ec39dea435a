"""Prints the result of the anatomy command."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import print_numbers
from convlens.wording import counted

if TYPE_CHECKING:
    from convlens.analyses.anatomy.layer import Layer
    from convlens.analyses.anatomy.result import Anatomy


def show_anatomy(result: "Anatomy", layers: "Sequence[Layer]", *, json: bool) -> None:
    """Print a row for each of the layers, then the totals of the network."""
    if json:
        print_numbers(replace(result, layers=tuple(layers)))
        return
    table = terminal.table(
        "layer", "kind", ">output", ">kernel", ">stride", ">padding", ">parameters",
        ">multiply-adds", ">dense weights", ">sees", ">every", ">from", "side",
    )  # fmt: skip
    for layer in layers:
        table.add_row(
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output[1:])),
            terminal.format_pair(layer.kernel),
            terminal.format_pair(layer.stride),
            _format_padding(layer.padding),
            _format_count(layer.parameters),
            _format_multiply_adds(layer),
            f"{layer.dense_weights:.2g}" if layer.dense_weights else "",
            _describe_field(layer),
            terminal.format_pair(layer.field_stride),
            terminal.format_pair(layer.field_offset),
            _describe_side(layer),
        )
    terminal.show(table)
    _show_totals(result)


def _show_totals(result: "Anatomy") -> None:
    channels, height, width = result.image
    terminal.show(
        f"{result.model} on {channels}x{height}x{width}: {result.parameters:,} parameters"
        + (
            f" ({counted(len(result.unused), 'tensor')} not used in this run)"
            if result.unused
            else ""
        )
        + (", at least" if result.not_counted else ",")
        + f" {result.multiply_adds:,} multiply-adds per image; traced for {result.valid_for}"
    )
    if result.not_counted:
        terminal.show(
            f"not counted, since there is no formula: {', '.join(result.not_counted)}; "
            f"convlens.register_operation adds one"
        )
    if result.final_post:
        terminal.show(
            f"final convolutional layer: {', '.join(result.final_pre)} (pre), {result.final_post} "
            f"(post): {result.final_reason}"
        )
    if result.prediction_rule:
        terminal.show(f"{result.prediction_rule} (at {result.logits})")
    terminal.show(
        "sees, every, from: size, stride and offset of the receptive field in pixels of the image; "
        "+: also depends on the whole image, through a global operation"
    )


def _format_padding(padding: tuple[int, int, int, int] | None) -> str:
    if padding is None:
        return ""
    top, bottom, left, right = padding
    if (top, left) == (bottom, right):
        return terminal.format_pair((top, left))
    return f"{top},{bottom}x{left},{right}"


def _format_count(number: int) -> str:
    return f"{number:,}" if number else ""


def _format_multiply_adds(layer: "Layer") -> str:
    count = _format_count(layer.multiply_adds)
    return f"{count} + not counted".removeprefix(" + ") if layer.not_counted else count


def _describe_field(layer: "Layer") -> str:
    if not layer.followed:
        return "not followed"
    if layer.field_size is None:
        return "all" if layer.sees_whole_image else "varies"
    return terminal.format_pair(layer.field_size) + ("+" if layer.sees_whole_image else "")


def _describe_side(layer: "Layer") -> str:
    sides = [side for side, is_it in (("pre", layer.pre), ("post", layer.post)) if is_it]
    final = f"final convolutional layer ({layer.final})" if layer.final else ""
    return "; ".join(filter(None, [", ".join(sides), final]))
