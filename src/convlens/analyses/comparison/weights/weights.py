"""`compare_weights`: which weights of two networks differ, and what was done to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from convlens.analyses.comparison.weights.tensor_changes import explain_change
from convlens.drawing import Bars, bar_figure, render_figure
from convlens.errors import ConvlensError
from convlens.models.model import Model, check_model
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.runtime.guard import unwrap_network
from convlens.text import printable
from convlens.wording import counted, enumerated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tensors = dict[str, Tensor]

_DRAWN = 16  # tensors in a figure
_UNUSED = "num_batches_tracked"  # a counter of batch normalization, which no prediction reads


@dataclass(frozen=True, eq=False)
class TensorChange(Result):
    """A tensor of weights that differs between two networks.

    Attributes:
        name: its name in the first network.
        second_name: its name in the second network.
        shape: its shape.
        differing: number of values that are not equal.
        largest: greatest absolute difference of two values.
        relative: norm of the difference, relative to the norm of the first network's tensor; NaN
            if that is 0 or not finite.
        kind: the simplest change that explains all values: `precision`, `order of filters`,
            `order of inputs`, `elements`, `filters`, `scaled`, `rounded` or `values`.
        change: the change in words.
    """

    name: str
    second_name: str
    shape: tuple[int, ...]
    differing: int
    largest: float
    relative: float
    kind: str
    change: str

    def summary(self) -> str:
        """The tensor and its change, in words."""
        return f"{printable(self.name)}: {self.change}"


@dataclass(frozen=True, eq=False)
class WeightChanges(NetworkResult):
    """The weights and buffers of two networks, compared tensor by tensor.

    Attributes:
        first: name of the first model.
        second: name of the second model.
        compared: number of tensors that have a counterpart of the same shape.
        changes: those that differ, in the order of the first network.
        only_first: names of tensors that only the first network has.
        only_second: names of tensors that only the second network has.
    """

    folder_title: ClassVar[str] = "Weights of two networks"

    first: str
    second: str
    compared: int
    changes: tuple[TensorChange, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether both networks have the same tensors, equal in every bit."""
        return not (self.changes or self.only_first or self.only_second)

    def summary(self) -> str:
        """How many tensors differ, and how, in words."""
        if not self.compared:
            return "no tensor of weights has a counterpart in the other network"
        if self.identical:
            return f"all {counted(self.compared, 'tensor')} of weights are equal in every bit"
        lines = []
        if not self.changes:
            lines.append(f"{counted(self.compared, 'tensor')} of weights are equal in every bit")
        elif len(self.changes) == 1:
            lines.append(
                f"1 of {counted(self.compared, 'tensor')} of weights differs: "
                f"{self.changes[0].summary()}"
            )
        else:
            lines.append(
                f"{len(self.changes):,} of {counted(self.compared, 'tensor')} of weights differ, "
                f"the first of them {self.changes[0].summary()}"
            )
            if kinds := self._common_kind():
                lines.append(kinds)
        for names, ordinal in ((self.only_first, "first"), (self.only_second, "second")):
            if names:
                lines.append(
                    f"only the {ordinal} network has {counted(len(names), 'tensor')}: "
                    f"{enumerated(list(map(printable, names)), 3)}"
                )
        return "\n".join(lines)

    def _common_kind(self) -> str:
        """The kind of change that explains most of several changed tensors; empty for none."""
        kinds = [change.kind for change in self.changes]
        common = max(dict.fromkeys(kinds), key=kinds.count)
        words = {
            "precision": "are equal when rounded to the coarser type",
            "rounded": "are rounded to 8 bits",
            "scaled": "are scaled",
            "order of filters": "have the same filters in another order",
        }.get(common)
        return f"{kinds.count(common):,} of them {words}" if words else ""

    def table(self) -> Table:
        """The tensors that differ, with what was done to them."""
        return Table.of(
            ["tensor", "shape", "values that differ", "change"],
            [
                [
                    change.name,
                    " × ".join(map(str, change.shape)),
                    f"{change.differing:,}",
                    change.change,
                ]
                for change in self.changes
            ],
            most=20,
        )

    def figure(self) -> "Figure":
        """The changes of the first sixteen tensors that differ, relative to their norms.

        Raises:
            ConvlensError: no tensor differs.
        """
        if not self.changes:
            raise ConvlensError("no tensor of weights differs, so there is nothing to draw")
        changes = self.changes[:_DRAWN]
        some = f", {len(changes)} of {len(self.changes)} tensors" * (
            len(changes) < len(self.changes)
        )
        bars = Bars(
            title="norm of the change, relative to that of the tensor",
            names=[change.name for change in changes],
            values=[change.relative if isfinite(change.relative) else 0.0 for change in changes],
            labels=[f"{change.relative:.2g}" for change in changes],
        )
        return bar_figure([bars], title=f"changed weights{some}")

    def pictures(self) -> dict[str, Tensor]:
        """The figure, if a tensor differs."""
        return {"weights": render_figure(self.figure(), dpi=160)} if self.changes else {}


@keep_warnings
def compare_weights(first: Model, second: Model) -> WeightChanges:
    """Compare the weights of two networks, and find the simplest change that explains each tensor.

    A tensor is compared with the one of the same name, of the same name behind a prefix, or at the
    same place in the order of shapes, whichever pairs most of them. Networks are not run.

    Args:
        first: the first model; left untouched.
        second: the second model; left untouched.

    Returns:
        The tensors that differ: by single values, by whole filters, in the order of filters or of
        their inputs (such as BGR for RGB), by a factor, or by rounding to another type or to 8
        bits.

    Example:
        >>> import copy, torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
        >>> changed = copy.deepcopy(network)
        >>> changed[0].weight.data[2, 0, 1, 1] = 5
        >>> models = [convlens.wrap(each, size=8) for each in (network, changed)]
        >>> convlens.compare_weights(*models).changes[0].change
        '1 of 108 values differs: [2, 0, 1, 1] ... → 5'
    """
    check_model(first)
    check_model(second)
    tensors = [dict(_weights_of(unwrap_network(model.network))) for model in (first, second)]
    names = _pair_names(*tensors)
    changes = []
    for name, second_name in names.items():
        before, after = tensors[0][name], tensors[1][second_name]
        kind, words = explain_change(before, after)
        if kind == "equal":
            continue
        difference = (after.detach().cpu().double() - before.detach().cpu().double()).abs()
        changes.append(
            TensorChange(
                name=name,
                second_name=second_name,
                shape=tuple(before.shape),
                differing=int((difference != 0).sum()),
                largest=float(difference.max()),
                relative=_relative(difference, before),
                kind=kind,
                change=words,
            )
        )
    return WeightChanges(
        first=first.name,
        second=second.name,
        compared=len(names),
        changes=tuple(changes),
        only_first=tuple(name for name in tensors[0] if name not in names),
        only_second=tuple(name for name in tensors[1] if name not in set(names.values())),
    )


def _relative(difference: Tensor, before: Tensor) -> float:
    norm = float(before.detach().double().norm())
    return float(difference.norm()) / norm if norm and isfinite(norm) else float("nan")


def _weights_of(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers that a prediction may read, by name."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if not name.endswith(_UNUSED) and tensor.numel() and not tensor.is_complex():
            yield name, tensor


def _pair_names(first: Tensors, second: Tensors) -> dict[str, str]:
    """The name in the second network of each tensor of the first that has a counterpart.

    By the same name, by a name with a prefix (`module.`, or a network inside another one), or by
    the order of shapes, whichever pairs most tensors.
    """
    ways = (_by_name(first, second), _by_prefix(first, second), _by_order(first, second))
    return max(ways, key=len)


def _by_name(first: Tensors, second: Tensors) -> dict[str, str]:
    return {
        name: name
        for name, tensor in first.items()
        if name in second and second[name].shape == tensor.shape
    }


def _by_prefix(first: Tensors, second: Tensors) -> dict[str, str]:
    if not (first and second):
        return {}
    shorter, longer = sorted((first, second), key=lambda names: sum(map(len, names)) / len(names))
    prefixes = {
        name[: len(name) - len(end)] for end in list(shorter)[:1] for name in longer
        if name.endswith(f".{end}")
    }  # fmt: skip
    pairs: dict[str, str] = {}
    for prefix in prefixes:
        prefixed = {
            name: f"{prefix}{name}"
            for name, tensor in shorter.items()
            if f"{prefix}{name}" in longer and longer[f"{prefix}{name}"].shape == tensor.shape
        }
        pairs = max(pairs, prefixed, key=len)
    return pairs if shorter is first else {long_name: name for name, long_name in pairs.items()}


def _by_order(first: Tensors, second: Tensors) -> dict[str, str]:
    names = list(first), list(second)
    shapes = [[tuple(tensor.shape) for tensor in tensors.values()] for tensors in (first, second)]
    return {
        names[0][block.a + step]: names[1][block.b + step]
        for block in SequenceMatcher(a=shapes[0], b=shapes[1], autojunk=False).get_matching_blocks()
        for step in range(block.size)
    }
