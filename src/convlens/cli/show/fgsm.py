"""Tables of attacks on photos, and of accuracy against epsilon."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.folders import show_index
from convlens.wording import counted, percent

if TYPE_CHECKING:
    from convlens.analyses.attacks.photo_result import PhotoAttacks
    from convlens.analyses.attacks.robustness import Robustness


def show_attacks(attacks: "PhotoAttacks", out: Path, *, json: bool) -> None:
    """Print a row for each photo and epsilon, the other tables, and where the pictures lie."""
    for reason in attacks.skipped:
        terminal.note(f"left out: {reason}")
    if json:
        terminal.print_json(attacks.numbers_path.read_text(encoding="utf-8"))
        return
    _show_epsilons(attacks)
    _show_channels(attacks)
    _show_flips(attacks)
    if attacks.curve is not None:
        _show_curve(attacks.curve, shown=len(attacks.attacks))
    if attacks.attacks:
        terminal.show(attacks.formula)
    for diagnostic in attacks.diagnostics:
        remedy = diagnostic.remedy[0].upper() + diagnostic.remedy[1:]
        terminal.show(f"warning, {diagnostic.name}: {diagnostic.message}. {remedy}.")
    show_index(out)


def _show_epsilons(attacks: "PhotoAttacks") -> None:
    towards = any(attack.class_origin == "target" for attack in attacks.attacks)
    table = terminal.table(
        "photo", "towards" if towards else "away from", ">epsilon", ">of 255", "prediction",
        "random signs", ">changed by",
    )  # fmt: skip
    for attack in attacks.attacks:
        for number, epsilon in enumerate(attack.epsilons):
            table.add_row(
                attack.photo,
                f"{attack.class_name} ({attack.class_origin})",
                f"{epsilon:.4g}",
                f"{attack.fractions[number] * 255:.3g}",
                _mark(attack.adversarial_predictions[number], flipped=attack.flipped[number]),
                _mark(attack.noise_predictions[number], flipped=attack.noise_flipped[number]),
                f"{attack.largest_changes[number]:.4g}",
            )
    terminal.show(table)


def _mark(prediction: str, *, flipped: bool) -> str:
    return f"{prediction}  (flipped)" if flipped else prediction


def _show_channels(attacks: "PhotoAttacks") -> None:
    table = terminal.table(
        "photo", ">of 255", "channel", ">changed by", ">by random signs", "prediction"
    )
    for attack in attacks.attacks:
        for channel in attack.changed_channels:
            table.add_row(
                attack.photo,
                f"{attack.fractions[-1] * 255:.3g}",
                f"{channel.layer}:{channel.channel}",
                f"{channel.change:.2f}",
                f"{channel.noise_change:.2f}",
                f"{attack.prediction}, then {attack.adversarial_predictions[-1]}",
            )
    if table.row_count:
        terminal.show("")
        terminal.show(table)
        terminal.show(
            "changes are relative to the activations of the channel and of its layer: 0 is none, "
            "1 is unrelated"
        )


def _show_flips(attacks: "PhotoAttacks") -> None:
    table = terminal.table("photo", ">flips at", "to", "then", "random signs", ">as measured")
    for attack in attacks.attacks:
        flip = attack.flip
        if flip is None:
            continue
        flipped = flip.level is not None
        table.add_row(
            attack.photo,
            f"{flip.level}/255" if flipped else f"not by {flip.highest_level}/255",
            flip.prediction if flipped else "",
            "reverts at more" if flip.reverted else "",
            "flip too" if flip.noise_flipped else "do not flip",
            str(flip.largest_change),
        )
    if table.row_count:
        terminal.show("")
        terminal.show(table)
        terminal.show("flips: 8-bit PNGs, read back and classified again; measured in gray levels")


def _show_curve(curve: "Robustness", *, shown: int) -> None:
    table = terminal.table(">epsilon", ">of 255", *(f">{each.name}" for each in curve.curves))
    for number, epsilon in enumerate(curve.epsilons):
        table.add_row(
            f"{epsilon:.4g}",
            f"{curve.fractions[number] * 255:.3g}",
            *(
                f"{percent(each.accuracies[number], 1)} "
                f"({percent(each.low[number])} to {percent(each.high[number])})"
                for each in curve.curves
            ),
        )
    terminal.show("")
    terminal.show(table)
    criterion = (
        "correct by the labels"
        if curve.reference == "label"
        else "the same as for the unchanged photo, because there are no labels"
    )
    pgd = (
        f"{counted(curve.pgd_steps, 'step')} from a random start" if curve.pgd_steps else "left out"
    )
    lines = [
        f"predictions that are {criterion}: {counted(curve.images, 'photo')}, with 95 % intervals; "
        f"PGD: {pgd}"
    ]
    if curve.unlabeled:
        lines.append(f"not counted, as they have no label: {counted(curve.unlabeled, 'photo')}")
    if shown < curve.images:
        photos = "photo" if shown == 1 else "photos"
        lines.append(f"pictures of {shown} {photos}, evenly spread; --show {curve.images} for all")
    for line in lines:
        terminal.show(line)
