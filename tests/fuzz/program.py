"""A random network as a program: modules and statements whose every value has a name.

The program is written as the code of a class, which a failing seed prints. The same statements can
be run one by one, which gives every intermediate value, without any hook and without convlens.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import ops


@dataclass(frozen=True)
class Statement:
    """A line of `forward`, with the names that it assigns."""

    targets: tuple[str, ...]
    line: str


@dataclass(frozen=True)
class ActivationBlock:
    """A convolution whose non-linearity the grammar wrote itself.

    Attributes:
        layer: name of the convolution's module.
        pre: value that the non-linearity consumes.
        post: value that it returns.
    """

    layer: str
    pre: str
    post: str


@dataclass
class Program:
    """A network in the making; see the module's docstring.

    Attributes:
        seed: of the network's weights.
        image: shape `(C, H, W)` of its images.
        modules: expression that makes each module, by the module's name.
        statements: the lines of `forward` in their order.
        module_outputs: the value that each module returned last, by its name.
        blocks: convolutions with a known non-linearity.
        logits: name of the value before any softmax or sigmoid.
        head: how the returned value follows from the logits; see `grammar/heads.py`.
        returned: the expression that is returned.
        marks: properties that the oracles have to know, such as "zero taps".
    """

    seed: int
    image: tuple[int, int, int]
    modules: dict[str, str] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    module_outputs: dict[str, str] = field(default_factory=dict)
    blocks: list[ActivationBlock] = field(default_factory=list)
    logits: str = ""
    head: str = "logits"
    returned: str = ""
    marks: set[str] = field(default_factory=set)
    _built: nn.Module = field(default_factory=nn.Module)
    _values: dict[str, Any] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        image = torch.rand(1, *self.image, generator=torch.Generator().manual_seed(self.seed))
        self._values = _globals(self._built) | {"image": image, "n": 1}

    # Writing a program: each line is executed at once, so that shapes are known.

    def add_module(self, kind: str, expression: str) -> str:
        """Add a module; return its name."""
        name = self._fresh(kind)
        self.modules[name] = expression
        setattr(self._built, name, eval(expression, _globals(self._built)).eval())
        return name

    def call(self, module: str, *arguments: str) -> str:
        """Add a call of a module; return the name of its output."""
        target = self.assign(module, f"self.{module}({', '.join(arguments)})")
        self.module_outputs[module] = target
        return target

    def apply(self, kind: str, expression: str, *arguments: str) -> str:
        """Add a module and its call; return the name of its output."""
        return self.call(self.add_module(kind, expression), *arguments)

    def assign(self, kind: str, expression: str) -> str:
        """Add the assignment of a new value; return its name."""
        target = self._fresh(f"{kind}_")
        self.execute((target,), f"{target} = {expression}")
        return target

    def assign_parts(self, kind: str, count: int, expression: str) -> tuple[str, ...]:
        """Add the assignment of several new values; return their names."""
        targets = tuple(self._fresh(f"{kind}_") for _ in range(count))
        self.execute(targets, f"{', '.join(targets)} = {expression}")
        return targets

    def execute(self, targets: tuple[str, ...], line: str) -> None:
        """Add a line."""
        with torch.no_grad():
            exec(line, self._values)
        self.statements.append(Statement(targets, line))

    def shape(self, value: str) -> tuple[int, ...]:
        """Shape of a value for one image."""
        return tuple(self._values[value].shape)

    def checkpoint(self) -> dict[str, Any]:
        """What `restore` needs to undo all lines that follow."""
        return {
            "modules": dict(self.modules),
            "statements": list(self.statements),
            "module_outputs": dict(self.module_outputs),
            "blocks": list(self.blocks),
            "marks": set(self.marks),
        }

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Undo the lines since a checkpoint."""
        for name, value in checkpoint.items():
            setattr(self, name, value)

    def _fresh(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}{self._counts[kind]}"

    # Using a program

    def line_of(self, value: str) -> str:
        """The line that assigns a value."""
        lines = (statement.line for statement in self.statements if value in statement.targets)
        return next(lines, value)

    def source(self) -> str:
        """The network as runnable code."""
        channels, height, width = self.image
        assignments = [f"self.{name} = {expression}" for name, expression in self.modules.items()]
        lines = ["n = len(image)", *(statement.line for statement in self.statements)]
        return "\n".join(
            [
                "import torch",
                "from torch import nn",
                "from torch.nn import functional as F",
                "from torchvision import ops",
                "",
                "",
                "class Network(nn.Module):",
                "    def __init__(self):",
                *(f"        {line}" for line in ("super().__init__()", *assignments)),
                "",
                "    def forward(self, image):",
                *(f"        {line}" for line in lines),
                f"        return {self.returned}",
                "",
                "",
                f"torch.manual_seed({self.seed})",
                "network = Network().eval()",
                f"images = torch.rand(2, {channels}, {height}, {width})",
            ]
        )

    def build(self) -> nn.Module:
        """The network, with random weights and random statistics of its batch normalizations."""
        namespace: dict[str, Any] = {"__name__": "fuzzed_network"}
        with torch.random.fork_rng():
            exec(self.source(), namespace)
            network: nn.Module = namespace["network"]
            for module in network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and (
                    module.running_mean is not None
                ):
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.5, 1.5)
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, 0, 0.2)
        return network

    def run(
        self, network: nn.Module, images: Tensor, leaves: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Run the statements one by one.

        Args:
            network: from `build`.
            images: `(N, C, H, W)`.
            leaves: names of values that become leaves of the autograd graph.

        Returns:
            Every value by its name, as it was when it was assigned, and what is returned.
        """
        environment = _globals(network) | {"image": images.clone(), "n": len(images)}
        values = {}
        for statement in self.statements:
            exec(statement.line, environment)
            for target in statement.targets:
                value = environment[target]
                if not isinstance(value, Tensor):
                    continue
                if target in leaves:
                    value = value.detach().clone().requires_grad_()
                    environment[target] = value.clone()
                    values[target] = value
                else:
                    values[target] = value.clone()
                    # A clone in the graph: a later in-place operation must not change it.
        values["returned"] = eval(self.returned, environment)
        return values


def _globals(network: nn.Module) -> dict[str, Any]:
    return {"torch": torch, "nn": nn, "F": F, "ops": ops, "self": network}
