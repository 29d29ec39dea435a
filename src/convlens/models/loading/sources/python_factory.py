"""Networks made by the user's own Python code."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from convlens.errors import ConvlensError, describe_error, suggest
from convlens.models.model import Model
from convlens.models.wrap import wrap


def factory_model(text: str) -> Model:
    """The Model, or the wrapped network, that a function without arguments returns.

    Args:
        text: `MODULE:FACTORY`. MODULE is importable, also from the current folder, or the path of a
            `.py` file, which can import the modules beside it. FACTORY is a function or class, or
            a network or Model.

    Raises:
        ConvlensError: no such module or factory, code that fails, or something else returned.
    """
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise ConvlensError(
            f"python:{text} does not name a factory; write python:MODULE:FACTORY, "
            f"for example python:mynetworks.py:make"
        )
    with _importable(where):
        network = _call_factory(_import(where), where, name)
    if isinstance(network, Model):
        return network
    if isinstance(network, nn.Module):
        return replace(
            wrap(network),
            origin=f"made by {name} of {where}, which gave no preprocessing: pixels 0..1 as they "
            f"are (a factory that returns convlens.wrap(network, mean=…, std=…) gives it)",
        )
    raise ConvlensError(
        f"{name} of {where} returned {type(network).__name__}; "
        f"a torch.nn.Module or a convlens Model is needed"
    )


@contextmanager
def _importable(where: str) -> Iterator[None]:
    """Put the current folder, and that of a `.py` file, first on the import path."""
    folders = [str(Path.cwd())]
    if where.endswith(".py"):
        folders.insert(0, str(Path(where).expanduser().resolve().parent))
    sys.path[:0] = folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in folders:
            if folder in sys.path:
                sys.path.remove(folder)


def _import(where: str) -> ModuleType:
    if where.endswith(".py"):
        path = Path(where).expanduser()
        if not path.is_file():
            raise ConvlensError(f"there is no file {path}")
        return _run(f"importing {where}", lambda: _import_file(path))
    try:
        return _run(f"importing {where}", lambda: importlib.import_module(where))
    except ConvlensError as error:
        cause = error.__cause__
        # The module itself or its package is missing, not a module that it imports.
        if isinstance(cause, ModuleNotFoundError) and f"{where}.".startswith(f"{cause.name}."):
            raise ConvlensError(
                f"there is no module {where!r} in {Path.cwd()} or among the installed packages; "
                f"give its name, or the path of a .py file"
            ) from cause
        raise


def _import_file(path: Path) -> ModuleType:
    name = f"convlens_factory_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # always so for a .py file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up the module of their class
    spec.loader.exec_module(module)
    return module


def _call_factory(module: ModuleType, where: str, name: str) -> Any:
    names = [known for known, value in vars(module).items() if callable(value)]
    factory = getattr(module, name, None)
    if isinstance(factory, (nn.Module, Model)):
        return factory
    if not callable(factory):
        callable_ = "" if factory is None else " that can be called"
        raise ConvlensError(f"{where} has no {name!r}{callable_}{suggest(name, names)}")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ConvlensError(
            f"{name} of {where} cannot be called without arguments ({error}); "
            f"write a function that makes the network and takes none"
        ) from error
    except ValueError:
        pass  # a builtin without a signature
    return _run(f"{name} of {where}", factory)


def _run(action: str, code: Callable[[], Any]) -> Any:
    """Run the user's code; an error in it becomes one line that says where."""
    try:
        return code()
    except (Exception, SystemExit) as error:
        raise ConvlensError(
            f"{action} fails with {describe_error(error)}{_location(error)}"
        ) from error


def _location(error: BaseException) -> str:
    """Where an error was raised, as the end of a sentence."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename.startswith("<"):
        return ""  # within Python itself, as for a module that cannot be parsed
    return f" ({Path(last.filename).name}, line {last.lineno})"
