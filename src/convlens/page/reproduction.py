"""Writes the command line and the Python lines that compute a result again."""

import shlex
from collections.abc import Sequence

from convlens.errors import ConvlensError
from convlens.models.labels import class_name, find_class
from convlens.models.model import Model
from convlens.page.result import ReportPhoto, Reproduction


class Reproducer:
    """Writes reproductions for one model.

    Args:
        model: the model of the report.
        seed: seed of the report; it is added to a command where it is not 0.
    """

    def __init__(self, model: Model, seed: int) -> None:
        self._model = model
        self._options, arguments = _load_options(model, seed)
        if model.spec is None:
            self._load = "# model: your own network, in convlens.wrap(...)"
        else:
            self._load = f"model = convlens.load({', '.join(arguments)})"

    def reproduction(self, words: Sequence[str], call: str) -> Reproduction:
        """A command and its Python lines.

        Args:
            words: words of the command line after `convlens`, without the options that load the
                model.
            call: the Python lines that follow the line that loads the model.
        """
        command = None
        if self._model.spec is not None:
            command = shlex.join(["convlens", *words, *self._options])
        return Reproduction(command, f"import convlens\n{self._load}\n{call}")

    def over_photos(
        self,
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
            command: its name on the command line.
            function: its name in Python.
            photos: photos on which the result is computed.
            words: words of the command line after the photos.
            arguments: arguments of the Python function after the photos.
            labeled: the labels of the photos are given. A command takes labels from a file only,
                so there is none then.
        """
        paths = [photo.path for photo in photos]
        labels = [f"labels={[photo.expected for photo in photos]}"] if labeled else []
        listed = ", ".join([f"{paths}", *arguments, *labels])
        both = self.reproduction([command, *paths, *words], f"convlens.{function}(model, {listed})")
        return Reproduction(None, both.python) if labeled else both

    def class_words(self, index: int) -> str:
        """A class by its name, or by its index where another class has that name too."""
        name = class_name(self._model.labels, index)
        try:
            own = find_class(self._model.labels, name, index + 1) == index
        except ConvlensError:
            own = False
        return name if own else str(index)


def _load_options(model: Model, seed: int) -> tuple[list[str], list[str]]:
    """What loads the same model: words of the command line, and arguments of `load`."""
    words: list[str] = []
    arguments: list[str] = []
    if model.spec not in (None, "default"):
        words += ["--model", str(model.spec)]
        arguments.append(repr(model.spec))
    if model.spec != "default" or model.size != (224, 224):
        height, width = model.size
        words += ["--size", f"{height}" if height == width else f"{height}x{width}"]
        arguments.append(f"size={height if height == width else model.size}")
    if model.class_names is not None:
        words += ["--class-names", model.class_names]
        arguments.append(f"class_names={model.class_names!r}")
    if model.device.type != "cpu":
        words += ["--device", str(model.device)]
        arguments.append(f"device={str(model.device)!r}")
    if seed:
        words += ["--seed", str(seed)]
        arguments.append(f"seed={seed}")
    return words, arguments
