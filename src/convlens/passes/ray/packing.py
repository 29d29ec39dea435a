"""A work as it is sent to other processes: with its network, once for all of them."""

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
from convlens.passes.job import Work


def packed(ray: Any, model: Model, work: Work) -> Any:
    """A reference to model and work, in which what is shared stays shared.

    Tensors arrive on the CPU. What is of modules that are not installed, such as a factory's file
    or a notebook, is sent along; what is installed has to be so everywhere.

    Raises:
        ConvlensError: something in them cannot be sent.
    """
    buffer = io.BytesIO()
    with _by_value(ray.cloudpickle):
        try:
            _packer(ray.cloudpickle)(buffer, protocol=5).dump((model, work))
        except ConvlensError:
            raise
        except Exception as error:  # pickle raises whatever it stumbles over
            raise ConvlensError(
                f"{model.name} cannot be sent to other processes ({error}); "
                f"leave the engine out, or make the network of plain modules"
            ) from error
    return ray.put(buffer.getvalue())


def _packer(cloudpickle: ModuleType) -> Any:
    class Packer(cloudpickle.Pickler):  # type: ignore[name-defined]
        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is Tensor and obj.device.type != "cpu":
                return obj.cpu().__reduce_ex__(5)
            return super().reducer_override(obj)

    return Packer


@contextmanager
def _by_value(cloudpickle: ModuleType) -> Iterator[None]:
    """What is packed of the user's own modules is packed whole, not by its name."""
    registered = []
    try:
        for module in [one for one in list(sys.modules.values()) if is_sent_by_value(one)]:
            try:
                cloudpickle.register_pickle_by_value(module)
            except (ValueError, TypeError):  # goes by another name, and is found by that
                continue
            registered.append(module)
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def is_sent_by_value(module: ModuleType) -> bool:
    """Whether a module is neither installed nor this package, so that others may not have it."""
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "")
    if not file or name.partition(".")[0] in ("__main__", "convlens"):
        return False
    path = Path(file)
    if any(path.is_relative_to(folder) for folder in _installed()):
        return False
    # Or installed elsewhere, on PYTHONPATH say, beside the record of its distribution.
    levels = name.count(".") + (path.name == "__init__.py")
    return not holds_distributions(path.parents[min(levels, len(path.parents) - 1)])


@cache
def _installed() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {*(sysconfig.get_path(name) for name in names), *site.getsitepackages()}
    return tuple(Path(folder) for folder in (*folders, site.getusersitepackages()) if folder)


@cache
def holds_distributions(folder: Path) -> bool:
    return any(folder.glob("*.dist-info"))
