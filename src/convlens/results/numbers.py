"""The numbers of a result as JSON: `numbers.json` in a folder, and what `--json` prints.

Both hold the same object. docs/numbers.md describes it, and `convlens.results.schema` writes it as
a JSON Schema.
"""

from typing import Any

from convlens import __version__
from convlens.results.registry import is_convlens_class

SCHEMA = 1  # raised when a program that read the former numbers would read these wrongly


def numbers_of(result: Any, *, command: str | None = None) -> dict[str, Any]:
    """The numbers of a result as plain data for `json.dumps`.

    Args:
        result: a `Result`.
        command: the command line that made it. Default: none.

    Returns:
        `convlens` (see `numbers_header`), `summary` (a list of sentences) and the fields of the
        result, as its method `numbers_json` gives them.
    """
    header = {"convlens": numbers_header(type(result), command)}
    return header | {"summary": summary_lines(result)} | result.numbers_json()


def numbers_header(cls: type, command: str | None = None) -> dict[str, Any]:
    """What numbers are of: version of the schema and of convlens, class of the result, command."""
    name = cls.__name__ if is_convlens_class(cls) else f"{cls.__module__}.{cls.__name__}"
    return {"schema": SCHEMA, "version": __version__, "class": name, "command": command}


def summary_lines(result: Any) -> list[str]:
    """The summary of a result, a line each; empty for a result without one."""
    return [line for line in result.summary().split("\n") if line]
