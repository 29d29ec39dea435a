"""The registry of engines: find an engine by its name."""

from contextlib import AbstractContextManager

from convlens.errors import ConvlensError
from convlens.passes.job import Engine
from convlens.passes.local import Local


def named(engine: Engine | str | None) -> Engine:
    """The engine of that name; one that is given already as it is.

    Raises:
        ConvlensError: another name.
    """
    if not isinstance(engine, str | None):
        return engine
    if engine in (None, "local"):
        return Local()
    if engine == "ray":
        from convlens.passes.ray import Ray

        return Ray()
    raise ConvlensError(f"engine {engine!r}; it is local or ray")


def opened(engine: Engine | str | None) -> AbstractContextManager[object]:
    """What the engine of that name has to start lasts for all jobs that it is given in here."""
    return named(engine).open()
