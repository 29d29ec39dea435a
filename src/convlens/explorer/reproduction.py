"""The command and the Python lines that compute what a page of the explorer shows."""

import shlex
from collections.abc import Sequence

from convlens.models.loading.load_options import load_line, load_options
from convlens.models.model import Model
from convlens.results.reproduction import Reproduction


class ExplorerReproducer:
    """Writes reproductions for one model.

    Args:
        model: the model.
        seed: seed of the explorer.
    """

    def __init__(self, model: Model, seed: int) -> None:
        self._model = model
        self._seed = seed
        self._words, _ = load_options(model, seed)

    def reproduction(self, words: Sequence[str], call: str) -> Reproduction:
        """A reproduction.

        Args:
            words: words of the command line after `convlens`, without the options that load the
                model; none where no command computes it.
            call: the Python expression, with `model` for the model. It is the last line.
        """
        has_command = self._model.spec is not None and bool(words)
        return Reproduction(
            shlex.join(["convlens", *words, *self._words]) if has_command else None,
            f"import convlens\n{self.load_line()}\nresult = {call}",
        )

    def load_line(self, variable: str = "model") -> str:
        """The line of Python that makes the model.

        Args:
            variable: name of the model in the code; default: "model".
        """
        return load_line(self._model, self._seed, variable)
