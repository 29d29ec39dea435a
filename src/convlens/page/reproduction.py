"""Writes the command line and the Python lines that compute a result again."""

import re
import shlex
from collections.abc import Sequence

from convlens.models.folder_labels import folder_labels
from convlens.models.label_tables import name_class
from convlens.models.loading.load_options import load_line, load_options
from convlens.models.model import Model
from convlens.page.result import ReportPhoto
from convlens.results.reproduction import Reproduction

LABELS = "labels.csv"
_WITHOUT_OUT = frozenset({"anatomy", "doctor"})  # commands that write no folder
_WITH_LABELS = frozenset({"doctor", "errors", "fgsm", "patches", "shift"})  # that may have labels


class Reproducer:
    """Writes reproductions for one model.

    A command and its Python lines write to folders that are named after the part of the page, so
    that those of two parts do not replace each other: `convlens-NAME` and `NAME`.

    Args:
        model: the model of the report.
        seed: seed of the report; it is added to a command where it is not 0.
        num_classes: number of classes of the model.
        labels: path of the table of labels that the report writes, or None if it writes none.
    """

    def __init__(
        self, model: Model, seed: int, num_classes: int, labels: str | None = None
    ) -> None:
        self._model = model
        self._num_classes = num_classes
        self._labels = labels
        self._options, _ = load_options(model, seed)
        self._load = load_line(model, seed)

    def reproduction(
        self,
        name: str,
        words: Sequence[str],
        call: str,
        *,
        preparation: str = "",
        addition: str = "",
    ) -> Reproduction:
        """A command and its Python lines, which save the result and show it in a notebook.

        Args:
            name: name of the part of the page, for the folders that are written.
            words: words of the command line after `convlens`, without the options that load the
                model and without `--out`; none where there is no such command.
            call: the Python expression of the result, with `model` for the model.
            preparation: Python lines before it. Default: none.
            addition: Python lines after it, with `result` for the result. Default: none.
        """
        folder = folder_name(name)
        before = f"{preparation}\n" if preparation else ""
        after = f"{addition}\n" if addition else ""
        return Reproduction(
            self.command(name, words),
            f"import convlens\n{self._load}\n{before}result = {call}\n"
            f"result.save({folder!r})\n{after}result",
        )

    def command(self, name: str, words: Sequence[str]) -> str | None:
        """A command line, or None for a network that was wrapped in Python.

        Args:
            name: as `reproduction`.
            words: as `reproduction`.
        """
        if self._model.spec is None or not words:
            return None
        return self.command_alone(name, [*words, *self._ignore_folders(words), *self._options])

    def _ignore_folders(self, words: Sequence[str]) -> list[str]:
        """The option without which a command would take the folders of unlabeled photos as labels.

        On the page, photos have the labels that the report was given.
        """
        command, *others = words
        if command not in _WITH_LABELS or "--labels" in others:
            return []
        return ["--no-labels"] if any(folder_labels(others, self._model)) else []

    def command_alone(self, name: str, words: Sequence[str]) -> str:
        """A command line that does not load the model of the report.

        Args:
            name: as `reproduction`.
            words: all words after `convlens` but `--out`.
        """
        out = [] if words[0] in _WITHOUT_OUT else ["--out", f"convlens-{folder_name(name)}"]
        return shlex.join(["convlens", *words, *out])

    def python(self, lines: str) -> str:
        """Python lines after those that import convlens and load the model."""
        return f"import convlens\n{self._load}\n{lines}"

    def over_photos(
        self,
        name: str,
        command: str,
        function: str,
        photos: Sequence[ReportPhoto],
        *,
        words: Sequence[str] = (),
        arguments: Sequence[str] = (),
        labeled: bool = False,
    ) -> Reproduction:
        """A function of several photos.

        Args:
            name: as `reproduction`.
            command: its name on the command line.
            function: its name in Python.
            photos: photos on which the result is computed.
            words: words of the command line after the photos. Default: none.
            arguments: arguments of the Python function after the photos. Default: none.
            labeled: the labels of the photos are given. There is no command then where no table
                holds them. Default: False.
        """
        paths = [photo.path for photo in photos]
        labels = [f"labels={[photo.expected for photo in photos]}"] if labeled else []
        table = ["--labels", self._labels] if labeled and self._labels is not None else []
        has_command = not labeled or self._labels is not None
        return self.reproduction(
            name,
            [command, *paths, *words, *table] if has_command else [],
            f"convlens.{function}(model, {', '.join([f'{paths}', *arguments, *labels])})",
        )

    def class_options(self, classes: Sequence[int | str]) -> list[str]:
        """Words of a command that name classes.

        Args:
            classes: indices, or differences of two as text (`4 - 1`).
        """
        words = []
        for class_or_difference in classes:
            names = [
                name_class(self._model.labels, int(index), self._num_classes)
                for index in str(class_or_difference).split(" - ")
            ]
            words += ["--class", " - ".join(names)]
        return words


def folder_name(name: str) -> str:
    """A name of a part of the page as the name of a folder.

    Example:
        >>> folder_name("patches-blocks/0:1")
        'patches-blocks-0-1'
    """
    return re.sub(r"[^\w.-]+", "-", name)
