"""Pack a model and its work to be sent to other processes, once for all of them."""

import io
import site
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.passes.job import BatchWork


def pack(ray: Any, model: Model, work: BatchWork) -> Any:
    """Pickle a model and its work together and put them into Ray's object store.

    Objects that both refer to stay shared. Tensors arrive on the CPU. Classes and functions of
    modules that are not installed, such as a factory's file or a notebook, are sent along;
    installed packages have to be installed on every machine.

    Returns:
        A reference to the bytes.

    Raises:
        ConvlensError: if something in them cannot be sent.
    """
    buffer = io.BytesIO()
    with _user_modules_by_value(ray.cloudpickle):
        try:
            _pickler_class(ray.cloudpickle)(buffer, protocol=5).dump((model, work))
        except ConvlensError:
            raise
        except Exception as error:  # pickle raises errors of any type
            raise ConvlensError(
                f"{model.name} cannot be sent to other processes ({error}); "
                f"leave the engine out, or make the network of plain modules"
            ) from error
    return ray.put(buffer.getvalue())


def _pickler_class(cloudpickle: ModuleType) -> Any:
    class Pickler(cloudpickle.Pickler):  # type: ignore[name-defined]
        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is Tensor and obj.device.type != "cpu":
                return obj.cpu().__reduce_ex__(5)
            return super().reducer_override(obj)

    return Pickler


@contextmanager
def _user_modules_by_value(cloudpickle: ModuleType) -> Iterator[None]:
    """Pickle what the user's own modules define by value, not by name."""
    registered = []
    try:
        for module in [each for each in list(sys.modules.values()) if is_sent_by_value(each)]:
            try:
                cloudpickle.register_pickle_by_value(module)
            except (ValueError, TypeError):  # known under another name
                continue
            registered.append(module)
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def is_sent_by_value(module: ModuleType) -> bool:
    """Whether a module is neither installed nor part of convlens: other machines may lack it."""
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "")
    if not file or name.partition(".")[0] in ("__main__", "convlens"):
        return False
    path = Path(file)
    if any(path.is_relative_to(folder) for folder in _installation_folders()):
        return False
    # Or installed elsewhere, for example on PYTHONPATH, beside the record of its distribution.
    levels = name.count(".") + (path.name == "__init__.py")
    return not holds_distributions(path.parents[min(levels, len(path.parents) - 1)])


@cache
def _installation_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {*(sysconfig.get_path(name) for name in names), *site.getsitepackages()}
    return tuple(Path(folder) for folder in (*folders, site.getusersitepackages()) if folder)


@cache
def holds_distributions(folder: Path) -> bool:
    return any(folder.glob("*.dist-info"))
