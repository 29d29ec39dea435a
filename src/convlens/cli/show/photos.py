"""Tables of commands that go from photo to photo."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convlens.cli import terminal
from convlens.models.labels import class_name

if TYPE_CHECKING:
    from convlens.analyses.attacks.diagnostics import Diagnostic
    from convlens.analyses.attacks.fgsm import Fgsm
    from convlens.analyses.attacks.flip import Flip
    from convlens.analyses.attacks.internal_changes import InternalChanges
    from convlens.analyses.attacks.robustness import Robustness

NUMBERS = "numbers.json"  # in every folder that a command writes


class _PhotoTable:
    """Rows and numbers of a command that goes from photo to photo."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}
        self.notes: list[Any] = []  # sentences and tables
        self.table = terminal.table()

    def write(self, folder: Path) -> None:
        """The numbers of all photos as one file."""
        (folder / NUMBERS).write_text(terminal.dump(self.data()), encoding="utf-8")

    def data(self) -> dict[str, Any]:
        """The numbers of all photos."""
        return {"photos": self.results, "skipped": self.skipped}

    def show(self, out: Path, *, json: bool) -> None:
        """The rows, what was left out, and where the pictures lie."""
        for reason in self.skipped.values():
            terminal.err.print(f"left out: {reason}", markup=False)
        if json:
            terminal.print_json(self.data())
            return
        terminal.out.print(self.table)
        for note in self.notes:
            terminal.out.print(note, markup=False)
        terminal.out.print(str(out.resolve()), markup=False)


class FgsmTable(_PhotoTable):
    """A row for each photo and epsilon, and the curve over all photos."""

    def __init__(self, labels: Sequence[str] | None) -> None:
        super().__init__()
        self._labels = labels
        self._curve: Robustness | None = None
        self._of = 0
        self._diagnostics: dict[str, Diagnostic] = {}
        self._flips = terminal.table(
            "photo", ">flips at", "to", "then", "random signs", ">as measured"
        )
        self._inside = terminal.table(
            "photo", ">of 255", "channel", ">changed by", ">by random signs", "answer"
        )
        self.table = terminal.table(
            "photo", "away from", ">epsilon", ">of 255", "answer", "random signs", ">changed by",
        )  # fmt: skip

    def draw(self, curve: "Robustness", *, of: int) -> None:
        """The curve over so many photos."""
        self._curve, self._of = curve, of
        self._diagnostics = {one.name: one for one in curve.diagnostics}

    def add(self, name: str, result: "Fgsm") -> None:
        """One photo's attacks."""
        self.results[name] = result.to_json()
        assert result.adversarial_predictions is not None
        assert result.noise_predictions is not None
        assert result.largest_changes is not None
        if self._curve is None:
            self._diagnostics |= {one.name: one for one in result.diagnostics}
        towards = result.class_origins[0] == "target"
        if towards:
            self.table.columns[1].header = "towards"
        before = int(result.predictions[0])
        for number, size in enumerate(result.epsilons):
            answer = int(result.adversarial_predictions[number, 0])
            control = int(result.noise_predictions[number, 0])
            self.table.add_row(
                name,
                f"{result.names[0]} ({result.class_origins[0]})",
                f"{size:.4g}",
                f"{result.fractions[number] * 255:.3g}",
                class_name(self._labels, answer) + ("" if answer == before else "  (flipped)"),
                class_name(self._labels, control) + ("" if control == before else "  (flipped)"),
                f"{result.largest_changes[number, 0]:.4g}",
            )
        self.notes = [result.formula, *map(_sentence, self._diagnostics.values())]

    def flip(self, name: str, result: "Flip") -> None:
        """The fewest gray levels whose PNG changes one photo's answer."""
        self.results[name]["flip"] = result.to_json()
        first = result.flip_levels[0]
        at = len(result.levels) - 1 if first is None else result.levels.index(first)
        self._flips.add_row(
            name,
            f"not by {result.levels[at]}/255" if first is None else f"{first}/255",
            "" if first is None else result.names[0],
            "comes back at more" if result.reverted[0] else "",
            "flip too" if bool(result.noise_flipped[at, 0]) else "do not flip",
            str(result.largest_changes[0]),
        )

    def look(self, name: str, result: "InternalChanges") -> None:
        """What changed inside for one photo."""
        self.results[name]["internal_changes"] = result.to_json()
        answer = f"{result.predictions[0]}, then {result.adversarial_predictions[0]}"
        for layer, channel, change, noise in result.most():
            level = f"{result.fraction * 255:.3g}"
            self._inside.add_row(
                name, level, f"{layer}:{channel}", f"{change:.2f}", f"{noise:.2f}", answer
            )

    def data(self) -> dict[str, Any]:
        """The numbers of all photos, and of the curve."""
        curve = {} if self._curve is None else {"curve": self._curve.to_json()}
        return super().data() | curve

    def show(self, out: Path, *, json: bool) -> None:
        """The rows, the curve, what is to be minded, and where the pictures lie."""
        if self._curve is not None:
            skipped = dict.fromkeys([*self.skipped.values(), *self._curve.skipped])
            self.skipped = {str(number): reason for number, reason in enumerate(skipped)}
            self.notes = [*_curve(self._curve, len(self.results)), *self.notes]
        if self._flips.row_count:
            words = "flips: 8-bit PNGs, read back and answered again; measured in gray levels"
            self.notes = ["", self._flips, words, *self.notes]
        if self._inside.row_count:
            words = (
                "changes are in units of the channel's and its layer's activations: 0 is none, "
                "1 is unrelated"
            )
            self.notes = ["", self._inside, words, *self.notes]
        super().show(out, json=json)


def _curve(found: "Robustness", shown: int) -> list[Any]:
    """The curve as a table, and what it counts."""
    table = terminal.table(">epsilon", ">of 255", *(f">{one.name}" for one in found.curves))
    for number, size in enumerate(found.epsilons):
        table.add_row(
            f"{size:.4g}",
            f"{found.fractions[number] * 255:.3g}",
            *(
                f"{one.accuracies[number]:.1%} ({one.low[number]:.0%} to {one.high[number]:.0%})"
                for one in found.curves
            ),
        )
    what = (
        "right by the labels"
        if found.reference == "label"
        else "the same as for the unchanged photo, as there are no labels"
    )
    lines: list[Any] = [
        "",
        table,
        f"answers that are {what}: {found.images:,} photos, with 95 % intervals; PGD: "
        + (f"{found.steps} steps from a random start" if found.steps else "left out"),
    ]
    if found.unlabeled:
        lines.append(f"{found.unlabeled:,} photos without a label are not counted")
    if shown < found.images:
        photos = "photo" if shown == 1 else "photos"
        lines.append(f"pictures of {shown} {photos}, evenly spread; --show {found.images} for all")
    return lines


def _sentence(one: "Diagnostic") -> str:
    return f"caution, {one.name}: {one.message}. {one.remedy[0].upper()}{one.remedy[1:]}."
