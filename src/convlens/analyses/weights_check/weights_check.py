"""`check_weights`: do the weights of a network look as they were before any training?

A network that was never trained predicts classes and has maps like any other, and checks of its
preprocessing or of its maps return findings that mean nothing. This check therefore comes first; it
reads the weights alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convlens.analyses.weights_check.initializations import SMALLEST, match_initialization
from convlens.models.model import Model, check_model
from convlens.results import Table
from convlens.results.network_result import NetworkResult, keep_warnings
from convlens.runtime.guard import unwrap_network
from convlens.wording import counted, enumerated

_FEWEST_WEIGHTS = 400  # that are compared; of fewer, any distribution may fit by chance
_ALLOWED = 0.02  # share of weight tensors that may differ from every known initialization

_NORMALIZATIONS = (
    nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm,
    nn.LayerNorm,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class WeightsCheck(NetworkResult):
    """Whether the weights of a network look as an initialization leaves them.

    Attributes:
        untrained: whether the network looks untrained.
        initial: names of the weight tensors that look drawn from a usual initialization.
        changed: names of those that do not. The comparison ends when there are enough of them to
            tell that the network was trained.
        initializations: the initializations that fit, in words, the most frequent first.
        normalizations: names of the normalization layers whose scales, shifts or running statistics
            are not the constants that they start with. If there is one, weights are not compared.
    """

    untrained: bool
    initial: tuple[str, ...]
    changed: tuple[str, ...]
    initializations: tuple[str, ...]
    normalizations: tuple[str, ...]

    def table(self) -> Table:
        """How many weight tensors and normalization layers look as before any training."""
        return Table.of(
            ["compared", "number"],
            [
                ["weight tensors that look drawn from an initialization", str(len(self.initial))],
                ["weight tensors that do not", str(len(self.changed))],
                ["normalizations with learned values", str(len(self.normalizations))],
            ],
        )

    def summary(self) -> str:
        """The result in words."""
        compared = counted(len(self.initial) + len(self.changed), "weight tensor")
        if self.untrained:
            return (
                f"the weights look untrained: {len(self.initial)} of {compared} look drawn from a "
                f"usual initialization ({' or '.join(self.initializations[:2])}), and no "
                f"normalization layer has changed"
            )
        if self.normalizations:
            return (
                f"the weights look trained: {counted(len(self.normalizations), 'normalization')} "
                f"with other values than at the start"
            )
        if self.changed:
            return (
                f"the weights look trained, or have an unusual initialization: "
                f"{enumerated(self.changed[:2])} fit none of the usual ones"
            )
        return f"too few weights to tell whether they were trained: {compared}"


@keep_warnings
def check_weights(model: Model) -> WeightsCheck:
    """Compare the weights of a network with what usual initializations give.

    The network looks untrained if at most 2 % of its weight tensors differ from every usual
    initialization, and all normalization layers have the scales, shifts and running statistics that
    they start with. Tensors with fewer than 64 elements are not compared. A network with an unusual
    initialization is not recognized.

    Args:
        model: the model; left untouched. It is not run.

    Returns:
        Whether the network looks untrained, and by which weights.

    References:
        Distributions: Glorot & Bengio 2010, He et al. 2015, and the defaults of PyTorch,
        torchvision and timm, each compared by a Kolmogorov-Smirnov test.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> convlens.check_weights(convlens.wrap(network, size=8)).untrained
        True
    """
    check_model(model)
    network = unwrap_network(model.network)
    normalizations = tuple(name for name, module in network.named_modules() if _changed(module))
    weights = {} if normalizations else dict(_list_weights(network))
    allowed = _ALLOWED * len(weights)
    matches: dict[str, str] = {}
    changed: list[str] = []
    for name, weight in weights.items():
        initialization = match_initialization(weight)
        if initialization is not None:
            matches[name] = initialization.name
            continue
        changed.append(name)
        if len(changed) > allowed:
            break
    enough = sum(weight.numel() for weight in weights.values()) >= _FEWEST_WEIGHTS
    names = list(matches.values())
    return WeightsCheck(
        untrained=enough and len(changed) <= allowed,
        initial=tuple(matches),
        changed=tuple(changed),
        initializations=tuple(sorted(set(names), key=lambda name: (-names.count(name), name))),
        normalizations=normalizations,
    )


def _list_weights(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights of convolutions and fully connected layers that are large enough to compare."""
    for name, parameter in network.named_parameters():
        if (
            parameter.ndim >= 2
            and name.rpartition(".")[2].endswith("weight")
            and parameter.is_floating_point()
            and parameter.numel() >= SMALLEST
            and not _is_constant(parameter)
        ):
            yield name, parameter


def _changed(module: nn.Module) -> bool:
    """Whether a normalization layer has other values than the constants that it starts with."""
    if not isinstance(module, _NORMALIZATIONS):
        return False
    values = (
        getattr(module, name, None) for name in ("weight", "bias", "running_mean", "running_var")
    )
    return any(isinstance(value, Tensor) and not _is_constant(value) for value in values)


def _is_constant(tensor: Tensor) -> bool:
    with torch.no_grad():
        return tensor.is_meta or bool((tensor == tensor.flatten()[0]).all())
