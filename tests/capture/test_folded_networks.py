"""Inside `fold_batch_norms` a copy runs where that changes nothing but the rounding.

Values and gradients are compared with those of the network itself in double precision. Whether the
copy ran is told by the batch normalizations that PyTorch executed.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

import convlens
from convlens.capture.folded_networks import fold_batch_norms, keep_folded_networks
from convlens.capture.nodes import capture_nodes, stream_nodes
from convlens.models.model import Model

IMAGES = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


class BatchNormCount(TorchDispatchMode):
    """Counts the batch normalizations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.count += "batch_norm" in func._opname
        return func(*args, **(kwargs or {}))


def randomize(network: nn.Module) -> nn.Module:
    """Give the batch normalizations statistics and factors that are far from those of a new one."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (module.running_mean, -1, 1), (module.running_var, 0.1, 2),
                (module.weight, -1.5, 1.5), (module.bias, -1, 1),
            ):  # fmt: skip
                if tensor is not None:
                    values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                    tensor.data.copy_(low + (high - low) * values)
    return network


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)]


def plain() -> nn.Module:
    torch.manual_seed(0)
    return randomize(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, groups=2, padding=1), nn.BatchNorm2d(8, eps=0.1), nn.SiLU(),
            *head(8),
        )
    )  # fmt: skip


class Wired(nn.Module):
    """A convolution, a batch normalization, and code that says how they are used."""

    def __init__(self, use: Callable[[Any, Tensor], Tensor], **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.use = use
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6, **options)
        self.wide = nn.Conv2d(6, 6, 1)
        self.top = nn.Sequential(*head(6))
        randomize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.use(self, x))


def wrapped(network: nn.Module) -> Model:
    return convlens.wrap(network, size=12, mean=0.5, std=0.25)


def run(model: Model, node: int, images: Tensor = IMAGES) -> tuple[Tensor, Tensor, int]:
    """Values at a node, the gradient of their squares to the images, and the number of norms."""
    leaf = images.clone().requires_grad_()
    with BatchNormCount() as counted:
        values = capture_nodes(model, convlens.trace(model), leaf, [node])[node]
    (gradient,) = torch.autograd.grad(values.square().sum(), leaf)
    return values.detach(), gradient, counted.count


def check_folded(network: nn.Module, remaining: int, name: str = "") -> None:
    """Check values and gradients against double precision, and how many norms still run."""
    model = wrapped(network)
    trace = convlens.trace(model)
    node = trace.find_node(name) if name else trace.logits
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with fold_batch_norms():
        run(model, node)
        values, gradient, norms = run(model, node)
    assert norms == remaining
    exact, exact_gradient, _ = run(wrapped(deepcopy(network).double()), node, IMAGES.double())
    torch.testing.assert_close(values.double(), exact, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert run(model, node)[2] > remaining  # outside the block the network itself runs


@pytest.mark.parametrize("name", ["", "1", "2", "4", "5"])
def test_every_norm_after_a_convolution_is_folded(name: str) -> None:
    check_folded(plain(), remaining=0, name=name)


@pytest.mark.parametrize("name", ["0", "3"])
def test_the_network_itself_gives_what_lies_between_convolution_and_norm(name: str) -> None:
    model = wrapped(plain())
    node = convlens.trace(model).find_node(name)
    with fold_batch_norms():
        values, _, norms = run(model, node)
    assert norms == int(name == "3")
    assert torch.equal(values, run(model, node)[0])


def test_norms_with_an_activation_keep_it_and_their_names() -> None:
    timm_layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    network = randomize(
        nn.Sequential(
            nn.Conv2d(3, 6, 3), timm_layers.BatchNormAct2d(6, act_layer=nn.SiLU), *head(6)
        )
    )
    for name in ("1", "1/batch_norm", ""):
        check_folded(network, remaining=0, name=name)


UNFOLDED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "the output of the convolution goes elsewhere too": lambda m, x: (
        m.bn(y := m.conv(x)) + y.relu()
    ),
    "the convolution runs twice": lambda m, x: m.bn(m.conv(x)) + m.conv(x.flip(3)),
    "the norm runs twice": lambda m, x: m.bn(m.wide(m.bn(m.conv(x)).relu())),
    "its weights are read elsewhere": lambda m, x: m.bn(m.conv(x)) * m.conv.weight.mean(),
    "the factors of the norm are read elsewhere": lambda m, x: (
        m.bn(m.conv(x)) + m.bn.weight.view(-1, 1, 1)
    ),
    "an activation lies between them": lambda m, x: m.bn(m.conv(x).relu()),
    "the weights are computed": lambda m, x: m.bn(F.conv2d(x, m.conv.weight / 2, padding=1)),
    "the norm is a function with other numbers": lambda m, x: F.batch_norm(
        m.conv(x), m.bn.running_mean + 1, m.bn.running_var, m.bn.weight, m.bn.bias
    ),
    "the output of the convolution is written": lambda m, x: m.bn(m.conv(x).mul_(2)),
}


@pytest.mark.parametrize("use", UNFOLDED.values(), ids=UNFOLDED.keys())
def test_what_is_no_pair_is_left_as_it_is(use: Callable[[Any, Tensor], Tensor]) -> None:
    network = Wired(use)
    model = wrapped(network)
    node = convlens.trace(model).logits
    values, gradient, norms = run(model, node)
    assert norms >= 1
    with fold_batch_norms():
        again = run(model, node)
    assert torch.equal(again[0], values) and torch.equal(again[1], gradient) and again[2] == norms


def chain(module: Any, x: Tensor) -> Tensor:
    return module.bn(module.conv(x)).relu()


def with_hook(name: str) -> nn.Module:
    network = Wired(chain)
    network.get_submodule(name).register_forward_hook(lambda module, inputs, output: output * 2)
    return network


def with_other_forward() -> nn.Module:
    network = Wired(chain)
    network.conv.__dict__["forward"] = lambda x: F.conv2d(x, network.conv.weight, padding=1)
    return network


def without_statistics() -> nn.Module:
    return Wired(chain, track_running_stats=False)


def in_training_code() -> nn.Module:
    return Wired(
        lambda m, x: F.batch_norm(m.conv(x), None, None, m.bn.weight, m.bn.bias, training=True)
    )


def half_precision() -> nn.Module:
    return Wired(chain).to(torch.bfloat16)


def parametrized() -> nn.Module:
    network = Wired(chain)
    parametrizations.weight_norm(network.conv)
    return network


def without_bias_code() -> nn.Module:
    """A convolution whose code does not read its bias, so that a copy would be wrong."""
    network = Wired(chain)

    class NoBias(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return F.conv2d(input, self.weight, padding=1)

    network.conv.__class__ = NoBias
    return network


NETWORKS = {
    "hook on the convolution": lambda: with_hook("conv"),
    "hook on the norm": lambda: with_hook("bn"),
    "another forward": with_other_forward,
    "no statistics": without_statistics,
    "statistics of the batch": in_training_code,
    "half precision": half_precision,
    "parametrized weights": parametrized,
    "a bias that is not read": without_bias_code,
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.filterwarnings("ignore::convlens.ConvlensWarning")
def test_networks_that_cannot_be_folded_run_themselves(make: Callable[[], nn.Module]) -> None:
    model = wrapped(make())
    node = convlens.trace(model).logits
    values, gradient, norms = run(model, node)
    with fold_batch_norms():
        again = run(model, node)
        assert run(model, node)[2] == norms == 1
    assert torch.equal(again[0], values) and torch.equal(again[1], gradient)


def test_a_network_in_training_mode_is_folded_as_in_evaluation_mode() -> None:
    network = plain().train()
    check_folded(network, remaining=0)
    assert all(module.training for module in network.modules())


def test_weights_that_change_between_blocks_are_seen() -> None:
    network = plain()
    for change in (
        lambda: network[0].weight.data.mul_(2),
        lambda: network[1].running_mean.add_(1),
        network[4].weight.data.neg_,
        lambda: setattr(network[8], "bias", nn.Parameter(torch.ones(4))),
    ):
        change()
        check_folded(network, remaining=0)


def test_one_copy_serves_all_blocks_inside_an_outer_one() -> None:
    model = wrapped(plain())
    node = convlens.trace(model).logits
    with keep_folded_networks():
        assert run(model, node)[2] == 2  # no block of `fold_batch_norms`
        with fold_batch_norms():
            assert run(model, node)[2] > 0  # the network runs beside the copy, to compare them
        with fold_batch_norms(), fold_batch_norms():
            assert run(model, node)[2] == 0
        assert run(model, node)[2] == 2


def test_streams_of_nodes_run_on_the_copy() -> None:
    model = wrapped(plain())
    trace = convlens.trace(model)
    maps: dict[int, Tensor] = {}

    def keep(node: int, tensor: Tensor) -> None:
        maps[node] = tensor.clone()

    with fold_batch_norms():
        run(model, trace.logits)
        with BatchNormCount() as counted:
            stream_nodes(model, trace, IMAGES, [trace.find_node("1")], keep)
    assert counted.count == 0
    (values,) = maps.values()
    expected = capture_nodes(model, trace, IMAGES, list(maps))
    torch.testing.assert_close(values, expected[next(iter(maps))], rtol=1e-4, atol=1e-5)


def test_networks_that_count_their_runs_are_as_before_every_run() -> None:
    class Counting(Wired):
        def forward(self, x: Tensor) -> Tensor:
            self.runs = getattr(self, "runs", 0) + 1
            return super().forward(x) * self.runs

    model = wrapped(Counting(chain))
    node = convlens.trace(model).logits
    with fold_batch_norms():
        first, second = run(model, node)[0], run(model, node)[0]
    assert torch.equal(first, second)
    assert not hasattr(model.network, "runs")
