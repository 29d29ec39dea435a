"""A work as it is sent to other processes: with its network, once for all of them."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from torch import Tensor

from convlens.errors import ConvlensError
from convlens.model import Model
from convlens.sweep.engine import Work


def packed(ray: Any, model: Model, work: Work) -> Any:
    """A reference to model and work, in which what is shared stays shared.

    Tensors arrive on the CPU. Classes of modules that another process could not import, such as
    those of a factory's file, are sent along.

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
    """Modules that cannot be found by their names are packed with what is packed of them."""
    lost = [
        module
        for name, module in list(sys.modules.items())
        if name != "__main__" and getattr(module, "__file__", None) and not _found(name)
    ]
    registered = []
    try:
        for module in lost:
            try:
                cloudpickle.register_pickle_by_value(module)
            except (ValueError, TypeError):  # goes by another name, and is found by that
                continue
            registered.append(module)
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _found(name: str) -> bool:
    top = name.partition(".")[0]
    if top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True
    try:
        return PathFinder.find_spec(top) is not None or getattr(
            sys.modules.get(top), "__path__", None
        ) not in (None, [])
    except (ImportError, ValueError, AttributeError):
        return True
