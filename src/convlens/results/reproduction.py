"""The command and the Python lines that compute a result again."""

from dataclasses import dataclass

from convlens.results.result import Result


@dataclass(frozen=True, eq=False)
class Reproduction(Result):
    """How to compute something again.

    Attributes:
        command: the command line; None for a network that was wrapped in Python, for labels that
            were given in Python, and where no command computes it.
        python: lines of Python.
    """

    command: str | None
    python: str
