"""The ranges of tensors in the numbers of a result."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from convlens.results.description import to_plain_data


class _Operations(TorchDispatchMode):
    """The operations that PyTorch executes inside the block, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.names.append(func._opname)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("tensor", "least", "greatest"),
    [
        (torch.tensor([[3.0, -2.0], [0.5, 1.0]], dtype=torch.float32), -2.0, 3.0),
        (torch.tensor([7, 250], dtype=torch.uint8), 7, 250),
        (torch.tensor([False, True]), False, True),
        (torch.tensor(4.5, dtype=torch.float64), 4.5, 4.5),
        (torch.zeros(0, 3, dtype=torch.float32), None, None),
    ],
)
def test_range_without_nan_copies_no_values(
    tensor: Tensor, least: float | None, greatest: float | None
) -> None:
    with _Operations() as operations:
        description = to_plain_data(tensor, -1)
    assert "index" not in operations.names
    assert (description["min"], description["max"]) == (least, greatest)
    assert description["shape"] == list(tensor.shape)
    assert "nan" not in description


def test_range_leaves_nan_out() -> None:
    tensor = torch.tensor([float("nan"), 2.0, -1.0, float("nan")], dtype=torch.float32)
    description = to_plain_data(tensor, -1)
    assert (description["min"], description["max"], description["nan"]) == (-1.0, 2.0, 2)
    none = to_plain_data(torch.full((2,), float("nan"), dtype=torch.float32), -1)
    assert (none["min"], none["max"], none["nan"]) == (None, None, 2)
