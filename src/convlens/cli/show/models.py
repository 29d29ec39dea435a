"""Prints the result of the models command."""

from collections.abc import Mapping, Sequence

from convlens.cli import terminal


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
    which = f" with {containing!r} in their names" if containing else ""
    terminal.note(f"{count} networks{which}; also file:PATH@ARCHITECTURE and python:MODULE:FACTORY")
