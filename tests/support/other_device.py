"""A second device for tests on machines without a GPU.

Its tensors hold tensors of the CPU, and an operation that mixes them with tensors of the CPU raises
an error, as on a GPU: only copies, indices and tensors of a single number may lie elsewhere. Call
`register` once in a process of its own, and do everything else inside `other_device()`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "otherdevice"
_aten = torch.ops.aten
_COPIES = {_aten.copy_.default, _aten._to_copy.default}
# The indices may lie on the CPU.
_INDEXING = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default}


class OtherTensor(Tensor):
    """A tensor on the device; `held` are its values on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OtherTensor":
        tensor = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device=torch.device(NAME, 0),
        )  # fmt: skip
        tensor.held = held
        return tensor

    def untyped_storage(self) -> torch.UntypedStorage:
        """The memory of the values, by which views are recognized."""
        return self.held.untyped_storage()

    def data_ptr(self) -> int:
        """Where the values begin."""
        return self.held.data_ptr()

    def tolist(self) -> Any:
        """The values."""
        return self.held.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy: Tensor = OtherTensor(self.held.clone())
        if isinstance(self, nn.Parameter):
            copy = nn.Parameter(copy, self.requires_grad)
        memo[id(self)] = copy
        return copy

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> "OtherTensor":
        return OtherTensor(inner["held"])

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(function, args, kwargs or {})


class _OtherDevice(TorchDispatchMode):
    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(function, args, kwargs or {})


def plain_network() -> nn.Sequential:
    """A network with the layers that `public_functions` names."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    ).eval()  # fmt: skip


def register() -> None:
    """Make torch accept the name of the device."""
    _setup_privateuseone_for_python_backend(NAME)


@contextmanager
def other_device() -> Iterator[torch.device]:
    """Make new tensors on the device inside the block, where code asks for it."""
    before = torch._C._only_lift_cpu_tensors()
    # So that `torch.tensor` fills a tensor of the CPU and then copies it to the device.
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with _OtherDevice():
            yield torch.device(NAME, 0)
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    others = [tensor for tensor in tensors if isinstance(tensor, OtherTensor)]
    strangers = [
        tensor for tensor in tensors if not isinstance(tensor, OtherTensor) and tensor.ndim
    ]
    if others and strangers and function not in _COPIES:
        allowed = function in _INDEXING and isinstance(args[0], OtherTensor)
        if not allowed or not isinstance(args[-1 if len(args) < 3 else 2], (OtherTensor, list)):
            raise RuntimeError(
                f"{function} mixes tensors of {NAME} and of the CPU, of shapes "
                f"{[tuple(tensor.shape) for tensor in tensors]}"
            )
    device = kwargs.get("device")
    on_other = bool(others) if device is None else torch.device(device).type == NAME
    plain = dict(kwargs)
    if device is not None and torch.device(device).type == NAME:
        plain["device"] = torch.device("cpu")
    if function is _aten.copy_.default:
        on_other = isinstance(args[0], OtherTensor)

    def take(leaf: Any) -> Any:
        return leaf.held if isinstance(leaf, OtherTensor) else leaf

    result = function(*tree_map(take, args), **tree_map(take, plain))
    if not on_other:
        return result

    def give(leaf: Any) -> Any:
        return (
            OtherTensor(leaf)
            if isinstance(leaf, Tensor) and not isinstance(leaf, OtherTensor)
            else leaf
        )

    return return_and_correct_aliasing(function, args, kwargs, tree_map(give, result))
