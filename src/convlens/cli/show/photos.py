"""Tables of commands that go from photo to photo."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convlens.cli import terminal
from convlens.labels import class_name

if TYPE_CHECKING:
    from convlens.views.fgsm import Fgsm

NUMBERS = "numbers.json"  # in every folder that a command writes


class _PhotoTable:
    """Rows and numbers of a command that goes from photo to photo."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}
        self.notes: list[str] = []
        self.table = terminal.table()

    def write(self, folder: Path) -> None:
        """The numbers of all photos as one file."""
        data = {"photos": self.results, "skipped": self.skipped}
        (folder / NUMBERS).write_text(terminal.dump(data), encoding="utf-8")

    def show(self, out: Path, *, json: bool) -> None:
        """The rows, what was left out, and where the pictures lie."""
        for reason in self.skipped.values():
            terminal.err.print(f"left out: {reason}", markup=False)
        if json:
            terminal.print_json({"photos": self.results, "skipped": self.skipped})
            return
        terminal.out.print(self.table)
        for note in self.notes:
            terminal.out.print(note, markup=False)
        terminal.out.print(str(out.resolve()), markup=False)


class FgsmTable(_PhotoTable):
    """A row for each photo and epsilon."""

    def __init__(self, labels: Sequence[str] | None) -> None:
        super().__init__()
        self._labels = labels
        self.table = terminal.table(
            "photo", "away from", ">epsilon", ">of 255", "answer", "random signs", ">changed by",
        )  # fmt: skip

    def add(self, name: str, result: "Fgsm") -> None:
        """One photo's attacks."""
        self.results[name] = result.to_json()
        assert result.adversarial_logits is not None
        assert result.noise_logits is not None
        before = int(result.logits[0].argmax())
        for number, size in enumerate(result.epsilons):
            answer = int(result.adversarial_logits[number, 0].argmax())
            control = int(result.noise_logits[number, 0].argmax())
            self.table.add_row(
                name,
                result.names[0],
                f"{size:.4g}",
                f"{result.fractions[number] * 255:.3g}",
                class_name(self._labels, answer) + ("" if answer == before else "  (flipped)"),
                class_name(self._labels, control) + ("" if control == before else "  (flipped)"),
                f"{result.largest_changes[number, 0]:.4g}",
            )
