"""The list of engines. To add an engine, write a class with the contract of `job.Engine`.

An engine that has a name, for `PassOptions(engine="name")` and `--engine name`, also has a line in
`_ENGINES`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from convlens.errors import ConvlensError
from convlens.passes.job import Engine
from convlens.passes.local import LocalEngine
from convlens.passes.ray.engine import RayEngine

_ENGINES: dict[str, Callable[[], Engine]] = {"local": LocalEngine, "ray": RayEngine}


def find_engine(engine: Engine | str | None) -> Engine:
    """The engine of a name; an engine is returned as it is, and None is the local engine.

    Raises:
        ConvlensError: if no engine has that name.
    """
    if not isinstance(engine, str | None):
        return engine
    if (name := engine or "local") not in _ENGINES:
        raise ConvlensError(f"unknown engine {name!r}; give {' or '.join(_ENGINES)}")
    return _ENGINES[name]()


def open_engine(engine: Engine | str | None) -> AbstractContextManager[object]:
    """Start what an engine needs once, for all passes that are run inside the context."""
    return find_engine(engine).open()
