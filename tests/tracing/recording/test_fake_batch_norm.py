"""Batch normalization on fake tensors has the outputs that it has on real ones."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import convlens
from convlens.tracing.recording import recorder
from convlens.tracing.recording.fake_batch_norm import fake_batch_norm
from convlens.tracing.tracer import trace

_NORMALIZE = torch.ops.aten.native_batch_norm.default


def _arguments(images: Tensor, *, affine: bool = True) -> dict[str, Any]:
    channels = torch.ones(images.shape[1], dtype=images.dtype)
    weight, bias = (channels, channels.clone()) if affine else (None, None)
    return {
        "input": images, "weight": weight, "bias": bias, "running_mean": channels.clone(),
        "running_var": channels.clone(),
    }  # fmt: skip


def _make_fake(arguments: dict[str, Any]) -> dict[str, Any]:
    mode = FakeTensorMode()
    return {
        name: None if tensor is None else mode.from_tensor(tensor)
        for name, tensor in arguments.items()
    }


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5), (1, 1, 4, 4), (1, 3, 2, 4, 5)])
def test_outputs_are_those_of_real_tensors(
    shape: tuple[int, ...], dtype: torch.dtype, affine: bool
) -> None:
    images = torch.zeros(shape, dtype=dtype)
    formats = [torch.contiguous_format, *[torch.channels_last] * (len(shape) == 4)]
    for memory_format in formats:
        arguments = _arguments(images.contiguous(memory_format=memory_format), affine=affine)
        real = _NORMALIZE(*arguments.values(), False, 0.1, 1e-5)
        fake = fake_batch_norm("native_batch_norm", _make_fake(arguments))
        assert fake is not None
        for output, expected in zip(fake, real, strict=True):
            assert output.shape == expected.shape
            assert output.dtype == expected.dtype
            assert output.device == expected.device
        assert fake[0].stride() == real[0].stride()


@pytest.mark.parametrize(
    "changed",
    [
        {"training": True},
        {"running_mean": None},
        {"weight": torch.ones(4, dtype=torch.float32)},  # of another number of channels
        {"input": torch.zeros(2, 3, 4, 5, dtype=torch.bfloat16)},
        {"input": torch.zeros(2, 3, 4, 9, dtype=torch.float32)[..., ::2]},
    ],
)
def test_pytorch_decides_about_other_arguments(changed: dict[str, Any]) -> None:
    arguments = _arguments(torch.zeros(2, 3, 4, 5, dtype=torch.float32))
    assert fake_batch_norm("native_batch_norm", _make_fake(arguments)) is not None
    tensors = {name: value for name, value in changed.items() if isinstance(value, Tensor)}
    others = {name: value for name, value in changed.items() if name not in tensors}
    fake = _make_fake({**arguments, **tensors}) | others
    assert fake_batch_norm("native_batch_norm", fake) is None
    assert fake_batch_norm("convolution", _make_fake(arguments)) is None
    assert fake_batch_norm("native_batch_norm", arguments) is None  # real tensors


def test_a_trace_is_the_same_and_pytorch_runs_none_of_its_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PyTorch would run more than ten fake operations for each batch normalization."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3, stride=2), nn.BatchNorm2d(5), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.BatchNorm1d(5, affine=False), nn.Linear(5, 2),
    ).eval()  # fmt: skip
    model = convlens.wrap(network, size=16)
    dispatched = []
    dispatch = FakeTensorMode.dispatch

    def count(mode: FakeTensorMode, func: Any, *others: Any, **options: Any) -> Any:
        dispatched.append(str(func))
        return dispatch(mode, func, *others, **options)

    monkeypatch.setattr(FakeTensorMode, "dispatch", count)
    fast = trace(model)
    assert not [name for name in dispatched if "batch_norm" in name or "rsqrt" in name]
    monkeypatch.setattr(recorder, "fake_batch_norm", lambda name, arguments: None)
    slow = trace(convlens.wrap(network[:], size=16))
    assert [name for name in dispatched if "batch_norm" in name]
    assert fast.recording.shapes == slow.recording.shapes
    assert [
        (operation.name, operation.arguments, operation.inputs, operation.outputs)
        for operation in fast.recording.operations
    ] == [
        (operation.name, operation.arguments, operation.inputs, operation.outputs)
        for operation in slow.recording.operations
    ]
    assert fast.recording.node_names == slow.recording.node_names
