"""Prints the result of the models command."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from convlens.cli import terminal
from convlens.errors import suggest
from convlens.wording import counted


def show_models(names_by_form: Mapping[str, Sequence[str]], containing: str, *, json: bool) -> None:
    """Print model specs, one on each line, so that the output can be searched."""
    specs = {
        form: [name if form == "embedded" else f"{form}:{name}" for name in names]
        for form, names in names_by_form.items()
    }
    if json:
        terminal.print_json(specs)
        return
    for names in specs.values():
        for name in names:
            terminal.show(name)
    count = sum(map(len, specs.values()))
    condition = f" with {containing!r} in their names" if containing else ""
    nearest = suggest(containing, _all_names()) if not count else ""
    terminal.note(
        f"{counted(count, 'network')}{condition}{nearest}; also file:PATH@ARCHITECTURE and "
        f"python:MODULE:FACTORY"
    )


def _all_names() -> Iterator[str]:
    """The names of all networks."""
    from convlens.models.loading.load import list_models  # imports torch

    return chain.from_iterable(list_models().values())
