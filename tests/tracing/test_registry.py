"""Rules that users register for an operation of their own."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import convlens
from convlens import ConvlensError, anatomy, register_operation, trace, wrap
from convlens.tracing.interval import FieldView, PixelInterval
from convlens.tracing.receptive_field.rules import (
    combine_everything,
    pointwise,
    sliding_window,
)
from convlens.tracing.registry import RegisteredOperation, registry_version

SIZE = 20


@torch.library.custom_op("convlens_tests::thinned", mutates_args=())
def thinned(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """A depthwise convolution whose weights are shared by all channels."""
    return F.conv2d(x, weight.expand(x.shape[1], 1, -1, -1), None, stride, groups=x.shape[1])


@thinned.register_fake
def _(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    height, width = ((n - k) // stride + 1 for n, k in zip(x.shape[2:], weight.shape, strict=True))
    return x.new_empty(*x.shape[:2], height, width)


@torch.library.custom_op("convlens_tests::relu", mutates_args=())
def relu(x: Tensor) -> Tensor:
    """What has the name of an operation of PyTorch, and mixes all positions."""
    return x - x.mean(dim=(2, 3), keepdim=True)


@relu.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Thinned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return thinned(x, self.weight, 2)


class Relu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


@pytest.fixture
def model() -> convlens.Model:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Thinned(), nn.Conv2d(4, 2, 2))
    return wrap(network, size=SIZE)


def thinned_field(**options: object) -> RegisteredOperation:
    def rule(view: FieldView) -> list[PixelInterval | None]:
        rows, columns = view.shape("weight")
        return sliding_window((rows, columns), stride="stride")(view)

    return register_operation("convlens_tests::thinned", receptive_field=rule, **options)  # type: ignore[arg-type]


def test_an_operation_without_a_rule_mixes_all_positions(model: convlens.Model) -> None:
    model_trace = trace(model)
    assert set(model_trace.unknown.values()) == {"thinned"}
    assert model_trace.field(model_trace.find_node("1")) is None
    layers = anatomy(model).layers
    assert [layer.followed for layer in layers] == [True, False, True]
    assert layers[1].multiply_adds == 0


def test_field_is_that_of_the_gradient(model: convlens.Model) -> None:
    with thinned_field():
        model_trace = trace(model)
        assert not model_trace.unknown
        node = model_trace.find_node("2")
        field = model_trace.field(node)
        assert field is not None and not field.sees_whole_image
        assert field.size == (7, 9)
        assert field.stride == (2, 2)
        # By perturbation, since the operation has no gradient.
        image = torch.rand(1, 3, SIZE, SIZE)
        before = model.network(image)
        for row in range(0, SIZE, 3):
            for column in range(0, SIZE, 3):
                changed = image.clone()
                changed[:, :, row, column] += 1
                differs = (model.network(changed) != before).any(dim=1)[0]
                rows, columns = (
                    (field.low[axis] <= at) & (at <= field.high[axis])
                    for axis, at in ((0, row), (1, column))
                )
                assert torch.equal(differs, rows[:, None] & columns)
    assert trace(model).unknown


def test_trace_notices_a_new_registration(model: convlens.Model) -> None:
    before = trace(model)
    assert trace(model) is before
    handle = thinned_field()
    after = trace(model)
    assert after is not before
    assert trace(model) is after
    assert after.field(after.find_node("1")) is not None
    handle.remove()
    handle.remove()
    assert trace(model).field(trace(model).find_node("1")) is None


def test_a_registered_rule_counts_multiply_adds(model: convlens.Model) -> None:
    with register_operation(
        "convlens_tests::thinned",
        multiply_adds=lambda view: math.prod(view.output_shape) * math.prod(view.shape("weight")),
    ):
        layers = anatomy(model).layers
        assert layers[1].multiply_adds == math.prod(layers[1].output) * 15
        assert layers[0].multiply_adds == 18 * 18 * 4 * 27
        assert not layers[1].followed


def test_the_latest_rule_of_a_kind_goes_first(model: convlens.Model) -> None:
    def count(layer: int = 1) -> int:
        return anatomy(model).layers[layer].multiply_adds

    first = register_operation("convlens_tests::thinned", multiply_adds=lambda view: 1)
    second = register_operation("convlens_tests::thinned", multiply_adds=lambda view: 2)
    assert count() == 2
    with thinned_field():  # a rule of another kind hides none
        assert count() == 2
    first.remove()
    assert count() == 2
    second.remove()
    assert count() == 0
    own = count(0)
    with register_operation("aten::convolution", multiply_adds=lambda view: 7):
        assert count(0) == 7
    assert count(0) == own


def test_layout_behind_an_operation_that_mixes_all_positions() -> None:
    model = wrap(nn.Sequential(nn.Conv2d(3, 4, 3), Relu(), nn.Conv2d(4, 2, 1)), size=SIZE)
    assert trace(model).spatial_dims(trace(model).find_node("1")) is None
    with register_operation("convlens_tests::relu", layout=(2, 3)):
        model_trace = trace(model)
        node = model_trace.find_node("1")
        assert model_trace.spatial_dims(node) == (2, 3)
        field = model_trace.field(node)
        assert field is not None and field.sees_whole_image
        assert field.size == (SIZE, SIZE)


def test_rules_of_pytorch_hold_for_its_own_operations_only() -> None:
    """An operation that only shares its name with one of PyTorch is not known."""
    model = wrap(nn.Sequential(nn.Conv2d(3, 4, 3), Relu()), size=SIZE)
    assert set(trace(model).unknown.values()) == {"relu"}
    with register_operation("convlens_tests::relu", receptive_field=pointwise):
        assert not trace(model).unknown
    with register_operation("convlens_tests::relu", receptive_field=combine_everything):
        assert not trace(model).unknown
        assert trace(model).field(trace(model).find_node("1")) is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("blur", {"layout": (2, 3)}, "is not NAMESPACE::NAME, for example mylib::blur"),
        ("a::b::c", {"layout": (2, 3)}, "is not NAMESPACE::NAME"),
        ("mylib::blur", {}, "no rule for mylib::blur"),
        ("mylib::blur", {"receptive_field": 3}, "receptive_field of mylib::blur is 3"),
        ("mylib::blur", {"multiply_adds": "9"}, "multiply_adds of mylib::blur is '9'"),
        ("mylib::blur", {"layout": (3, 2)}, r"give \(2, 3\) or \(1, 2\)"),
    ],
)
def test_what_cannot_be_registered(name: str, options: dict[str, object], message: str) -> None:
    version = registry_version()
    with pytest.raises(ConvlensError, match=message):
        register_operation(name, **options)  # type: ignore[arg-type]
    assert registry_version() == version


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned NoneType; return a list"),
        ([None, None], "for each of 1 outputs"),
        ([3], "returned 3; return PixelInterval"),
        ([PixelInterval(torch.zeros(4), torch.zeros(4), 1.0, SIZE)], r"bounds \(4,\) of"),
        ([PixelInterval(torch.zeros(1, 1, 3, 1).long(), torch.zeros(1, 1, 1, 1).long(), 1.0, SIZE)],
         r"bounds \(1, 1, 3, 1\) of torch.int64 for an output \(1, 4, 8, 7\)"),
    ],
)  # fmt: skip
def test_what_a_rule_may_not_return(model: convlens.Model, returned: object, message: str) -> None:
    with (
        register_operation("convlens_tests::thinned", receptive_field=lambda view: returned),  # type: ignore[arg-type, return-value]
        pytest.raises(ConvlensError, match=message),
    ):
        anatomy(model)
