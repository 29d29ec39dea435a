"""Shifts in words."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal

if TYPE_CHECKING:
    from convlens.analyses.shift.consistency import Rate
    from convlens.analyses.shift.equivariance import Equivariance
    from convlens.analyses.shift.invariance import Invariance
    from convlens.analyses.shift.shift import Shift

_ALL = 10**9  # values: a row for each channel, each with some ten numbers


def shift(found: "Shift", out: Path, *, json: bool) -> None:
    """A row a layer, a row a protocol, and where the map lies."""
    for reason in found.skipped:
        terminal.err.print(f"left out: {reason}", markup=False)
    if json:
        terminal.print_json(found.to_json())
        return
    if found.equivariance is not None:
        _layers(found.equivariance)
    _answers(found)
    if found.offsets is not None:
        one = found.offsets
        terminal.out.print(
            f"first photo, {one.name}: probability {one.least:.3f} to {one.greatest:.3f} over "
            f"{one.probabilities.numel()} offsets ({one.protocol}), answered at {one.kept:.0%}",
            markup=False,
        )
    terminal.out.print(str(out.resolve()), markup=False)


def _layers(found: "Equivariance") -> None:
    heads = [
        f"{rows}" if rows == columns else f"{rows},{columns}" for rows, columns in found.shifts
    ]
    table = terminal.table(
        "layer", "what", ">step", ">every", ">sees",
        *(f">{head} px: {where}" for head in heads for where in ("inside", "whole map")),
    )  # fmt: skip
    for one in found.layers:
        errors = (
            "" if value is None else f"{value:.1e}" if 0 < value < 0.001 else f"{value:.3g}"
            for pair in zip(one.inside, one.whole, strict=True)
            for value in pair
        )
        table.add_row(
            one.layer, one.what, terminal.pair(one.step), terminal.pair(one.pixels) or "varies",
            terminal.pair(one.field) or "varies", *errors,
        )  # fmt: skip
    terminal.out.print(table)
    for number in range(len(found.shifts)):
        terminal.out.print(found.summary(number), markup=False)
    terminal.out.print(
        f"{found.images:,} photos, medians; errors are of the map's own variation (0: equivariant, "
        f"1.4: unrelated); inside: positions that see nothing but the image\n",
        markup=False,
    )


def _answers(found: "Shift") -> None:
    labeled = found.right is not None
    about_right = (">of those right in the middle", ">right") if labeled else ()
    table = terminal.table("views", ">by at most", ">answered alike", *about_right)
    for one in found.consistency:
        row = [one.protocol, f"{one.most} px", _share(one.agree)]
        if labeled:
            row += [_share(one.agree_right), _share(one.accuracy)]
        table.add_row(*row)
    terminal.out.print(table)
    middle = "" if found.right is None else f"; the middle is right in {_share(found.right)}"
    terminal.out.print(
        f"{found.images:,} photos, two views of each at offsets of its own, with 95 % "
        f"intervals{middle}",
        markup=False,
    )


def _share(one: "Rate | None") -> str:
    if one is None or not one.total:
        return ""
    return f"{one.count} of {one.total}, {one.share:.1%} ({one.low:.0%} to {one.high:.0%})"


def channels(found: "Invariance", out: Path, *, json: bool, most: int = 20) -> None:
    """A row a channel, the most like a grandmother cell first."""
    for reason in found.skipped:
        terminal.err.print(f"left out: {reason}", markup=False)
    if json:
        terminal.print_json(found.to_json(listed=_ALL))
        return
    labeled = bool(len(found.selectivity))
    table = terminal.table(
        "channel", *(("class", ">selectivity") if labeled else ()), ">place", ">scale", ">light",
        ">any photo", *((">grandmother",) if labeled else ()),
    )  # fmt: skip
    kinds = [found.left(kind) for kind in ("place", "scale", "light")]
    for row in found.ranked()[:most]:
        words = [f"{found.layer}:{int(found.channels[row])}"]
        if labeled:
            words += [found.names[row], f"{found.selectivity[row]:.3f}"]
        words += [f"{kind[row]:.2f}" for kind in kinds] + [f"{found.typical[row]:.2f}"]
        if labeled:
            words.append(f"{found.grandmother[row]:.2f}")
        table.add_row(*words)
    terminal.out.print(table)
    sentence = (
        f"{len(found.channels)} channels of {found.node_name}, {found.images:,} photos. Place, "
        f"scale, light: share of the greatest activation that is left, over the {found.top} photos "
        f"that excite the channel most; any photo: what another photo leaves"
    )
    if labeled:
        sentence += (
            ". Selectivity: area under the ROC curve of the class, chosen on these photos; "
            "grandmother: the least of the four, selectivity as 2 AUC - 1"
        )
    terminal.out.print(sentence, markup=False)
    terminal.out.print(str(out.resolve()), markup=False)
