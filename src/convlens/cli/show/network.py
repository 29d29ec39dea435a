"""Tables about networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.analyses.anatomy.anatomy import Anatomy, Layer
    from convlens.analyses.receptive_field.field import ReceptiveField


def anatomy(found: "Anatomy", layers: "Sequence[Layer]", *, json: bool) -> None:
    """A row a layer, then the sums."""
    if json:
        terminal.print_json({**found.to_json(), "layers": [layer.to_json() for layer in layers]})
        return
    table = terminal.table(
        "layer", "kind", ">output", ">kernel", ">stride", ">padding", ">parameters",
        ">multiply-adds", ">dense weights", ">sees", ">every", ">from", "side",
    )  # fmt: skip
    for one in layers:
        table.add_row(
            one.name,
            one.kind,
            "x".join(map(str, one.output[1:])),
            terminal.pair(one.kernel),
            terminal.pair(one.stride),
            _padding(one.padding),
            _count(one.parameters),
            _count(one.multiply_adds),
            f"{one.dense_weights:.2g}" if one.dense_weights else "",
            _sees(one),
            terminal.pair(one.field_stride),
            terminal.pair(one.field_offset),
            _side(one),
        )
    terminal.out.print(table)
    channels, height, width = found.image
    terminal.out.print(
        f"{found.model} on {channels}x{height}x{width}: {found.parameters:,} parameters"
        + (f" ({len(found.unused)} tensors not used in this run)" if found.unused else "")
        + f", {found.multiply_adds:,} multiply-adds an image; traced for {found.valid_for}",
        markup=False,
    )
    if found.final_post:
        terminal.out.print(
            f"final convolutional layer: {', '.join(found.final_pre)} (pre), {found.final_post} "
            f"(post): {found.final_reason}",
            markup=False,
        )
    if found.prediction_rule:
        terminal.out.print(f"{found.prediction_rule} (at {found.logits})", markup=False)
    terminal.out.print(
        "sees, every, from: size, stride and offset of the receptive field in pixels of the image; "
        "+ sees the whole image besides, through a global operation",
        markup=False,
    )


def field(found: "ReceptiveField", out: Path, *, json: bool) -> None:
    """The field in words, and where it is drawn."""
    if json:
        terminal.print_json(found.to_json())
        return
    terminal.out.print(found.summary(), markup=False)
    terminal.out.print(str((out / "field.png").resolve()), markup=False)


def models(known: Mapping[str, Sequence[str]], containing: str, *, json: bool) -> None:
    """Specs, one a line, so that they can be searched."""
    specs = {
        form: [name if form == "embedded" else f"{form}:{name}" for name in names]
        for form, names in known.items()
    }
    if json:
        terminal.print_json(specs)
        return
    for names in specs.values():
        for name in names:
            terminal.out.print(name, markup=False)
    count = sum(map(len, specs.values()))
    which = f" with {containing!r} in their names" if containing else ""
    terminal.err.print(
        f"{count} networks{which}; also file:PATH@ARCHITECTURE and python:MODULE:FACTORY",
        markup=False,
    )


def _padding(padding: tuple[int, int, int, int] | None) -> str:
    if padding is None:
        return ""
    top, bottom, left, right = padding
    if (top, left) == (bottom, right):
        return terminal.pair((top, left))
    return f"{top},{bottom}x{left},{right}"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _sees(layer: "Layer") -> str:
    if not layer.followed:
        return "not followed"
    if layer.field_size is None:
        return "all" if layer.beyond else "varies"
    return terminal.pair(layer.field_size) + ("+" if layer.beyond else "")


def _side(layer: "Layer") -> str:
    sides = [side for side, is_it in (("pre", layer.pre), ("post", layer.post)) if is_it]
    final = f"final convolutional layer ({layer.final})" if layer.final else ""
    return "; ".join(filter(None, [", ".join(sides), final]))
