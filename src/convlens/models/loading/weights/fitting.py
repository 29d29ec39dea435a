"""Load a weight file into a network: torch's own `load_state_dict` decides, on a copy.

The network's load hooks and tied tensors therefore take effect. Where the keys of the file do not
fit as they are, common prefixes, wrappers and old names are tried; what was done is returned.
"""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from convlens.errors import ConvlensError, describe_error
from convlens.models.loading.weights.classifier import find_resized_layers, resize_layers
from convlens.models.loading.weights.misfits import (
    count_keys,
    describe_content,
    describe_misfit,
    describe_unusable_tensor,
    list_some,
)
from convlens.models.loading.weights.old_names import rename_old_keys
from convlens.models.loading.weights.state_dicts import Candidate, candidates, find_state_dicts
from convlens.models.loading.weights.weight_files import WeightFile
from convlens.runtime.guard import unwrap_network
from convlens.wording import counted

# Counters that tools leave in state dicts: averaging (torch, EMA), thop, batch normalization.
_COUNTERS = frozenset(
    {"n_averaged", "num_updates", "total_ops", "total_params", "num_batches_tracked"}
)
# Classifiers of torchvision's networks that take part in the training only.
AUXILIARY = ("aux1", "aux2", "AuxLogits", "aux_classifier")
_MOST_ATTEMPTS = 16


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded into a network.

    Attributes:
        entry: dotted name of the entry of the file that held the weights; empty for the whole file.
        prefix: prefix that was removed from the keys.
        renamed: whether a filter of the network's library translated old names or shapes.
        left_out: keys of the entry that the network does not have and does not need.
        unused: names of other weights in the file that would fit too.
        dropped: auxiliary classifiers that the file lacks and that were removed from the network.
        classes: number of outputs of the classifier if the file changed it, else None.
    """

    entry: str
    prefix: str
    renamed: bool
    left_out: tuple[str, ...]
    unused: tuple[str, ...]
    dropped: tuple[str, ...]
    classes: int | None

    def summary(self) -> str:
        """What was done, beginning with a comma; empty if the file fits as it is.

        Example:
            >>> LoadedWeights("model_ema", "module.", False, ("n_averaged",), (), (), 10).summary()
            ", from its entry 'model_ema', without the prefix 'module.' (left out: n_averaged; the \
classifier has 10 outputs as in the file)"
        """
        text = f", from its entry {self.entry!r}" if self.entry else ""
        text += f", without the prefix {self.prefix!r}" if self.prefix else ""
        text += ", translated by the filter of the network's library" if self.renamed else ""
        notes = [
            f"left out: {list_some(self.left_out)}" if self.left_out else "",
            f"not used: {list_some(self.unused)}" if self.unused else "",
            f"without {', '.join(self.dropped)}, which only a training needs"
            if self.dropped
            else "",
            f"the classifier has {counted(self.classes, 'output')} as in the file"
            if self.classes
            else "",
        ]
        text += f" ({'; '.join(filter(None, notes))})" if any(notes) else ""
        return text


def load_weights(network: nn.Module, file: WeightFile) -> LoadedWeights:
    """Load a weight file into a network, all of it or nothing.

    Args:
        network: changed in place. A classifier of another size takes the size in the file.
        file: from `read_weight_file`: a state dict, also inside mappings.

    Returns:
        What was done.

    Raises:
        ConvlensError: no weights in the file, weights that do not fit the network, or two that
            fit equally well.
    """
    network = unwrap_network(network)
    mappings = find_state_dicts(file.content)
    if not mappings:
        raise ConvlensError(describe_content(file))
    attempts = _attempts(network, mappings)
    if not any(attempt.fits for attempt in attempts):
        attempts += _attempts_with_old_names(network, attempts)
    fitting = sorted((a for a in attempts if a.fits), key=lambda a: a.candidate.rank)
    if not fitting:
        closest = max(attempts, key=lambda attempt: attempt.candidate.matching)
        raise ConvlensError(describe_misfit(network, closest.candidate, closest.problem, file))
    best, distinct = fitting[0], _without_duplicates(fitting)
    equally_likely = [
        attempt for attempt in distinct if attempt.candidate.rank == best.candidate.rank
    ]
    if len(equally_likely) > 1:
        raise ConvlensError(
            f"{file.path} holds several weights that fit: "
            f"{list_some([attempt.candidate.name for attempt in equally_likely])}; "
            f"save the state dict of one of them alone"
        )
    best.apply(network)
    return LoadedWeights(
        entry=best.candidate.entry,
        prefix=best.candidate.prefix,
        renamed=best.renamed,
        left_out=(*best.candidate.left_out, *best.ignored),
        unused=tuple(attempt.candidate.name for attempt in distinct if attempt is not distinct[0]),
        dropped=best.dropped,
        classes=next(iter(best.resized.values()), None),
    )


@dataclass(frozen=True)
class _Attempt:
    """A candidate, and what loading it into a copy of the network gave.

    Attributes:
        candidate: the state dict.
        problem: why it does not fit; empty if it fits.
        resized: number of outputs of each layer of the classifier that has another size in it.
        ignored: keys that the network does not have and does not need.
        dropped: auxiliary classifiers that it lacks.
        renamed: whether a filter of the network's library translated old names or shapes.
    """

    candidate: Candidate
    problem: str
    resized: Mapping[str, int]
    ignored: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: bool = False

    @property
    def fits(self) -> bool:
        return not self.problem

    def apply(self, network: nn.Module) -> "tuple[list[str], list[str]]":
        """Load the candidate; the missing and the unexpected keys, as torch counts them."""
        resize_layers(network, self.resized)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            missing, unexpected = network.load_state_dict(self.candidate.state, strict=False)
        for name in self.dropped:
            setattr(network, name, None)
        return missing, unexpected


def _attempts(
    network: nn.Module, mappings: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[_Attempt]:
    """Attempts with the most promising candidates of some mappings."""
    every = [
        candidate
        for entry, mapping in mappings
        for candidate in candidates(entry, mapping, network)
    ]
    promising = sorted(every, key=lambda candidate: -candidate.matching)
    attempts: list[_Attempt] = []
    settled = set()  # entries that fit as a whole
    for candidate in promising[:_MOST_ATTEMPTS]:
        if candidate.entry not in settled:
            attempts.append(_attempt(network, candidate))
            if attempts[-1].fits and not candidate.prefix:
                settled.add(candidate.entry)
    return attempts


def _attempt(network: nn.Module, candidate: Candidate) -> _Attempt:
    """Load a candidate into a copy of the network."""
    resized = find_resized_layers(network, candidate.state)
    attempt = _Attempt(candidate, "", resized)
    if problem := describe_unusable_tensor(network, candidate.state):
        return replace(attempt, problem=problem)
    try:
        clone = _copy(network)
        missing, unexpected = attempt.apply(clone)
    except Exception as error:  # of torch, or of the network's own load hooks
        return replace(attempt, problem=describe_error(error))
    missing = _without_tied(clone, missing)
    # Batch normalization's step counter came with PyTorch 0.4.1; only a training uses it.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    dropped = sorted({key.partition(".")[0] for key in missing}) if missing else []
    if dropped and _are_auxiliary(network, dropped):
        missing = []
    else:
        dropped = []
    ignored = [key for key in unexpected if _is_ignorable(clone, key, candidate.state)]
    problem = "; ".join(
        filter(
            None,
            [
                count_keys("missing", missing),
                count_keys("unexpected", [key for key in unexpected if key not in ignored]),
            ],
        )
    )
    return replace(attempt, problem=problem, ignored=tuple(ignored), dropped=tuple(dropped))


def _attempts_with_old_names(
    network: nn.Module, attempts: Sequence[_Attempt]
) -> Iterator[_Attempt]:
    """Attempts with the keys that the network's library makes of each candidate."""
    for attempt in attempts:
        for state in rename_old_keys(network, attempt.candidate.state):
            matching = sum(key in state for key in network.state_dict())
            candidate = replace(attempt.candidate, state=OrderedDict(state), matching=matching)
            yield replace(_attempt(network, candidate), renamed=True)


def _copy(network: nn.Module) -> nn.Module:
    """A deep copy, also of networks with attributes that autograd computed."""
    values = (value for module in network.modules() for value in vars(module).values())
    computed = (value for value in values if isinstance(value, Tensor) and not value.is_leaf)
    memo: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in computed}
    for buffer in filter(is_lazy, network.buffers()):  # torch copies lazy parameters only
        memo[id(buffer)] = UninitializedBuffer(  # its base class has no types
            device=buffer.device,
            dtype=buffer.dtype,  # type: ignore[call-arg]
        )
    return copy.deepcopy(network, memo)


def _without_tied(network: nn.Module, missing: Sequence[str]) -> list[str]:
    """The missing keys whose tensors share no memory with a tensor that was loaded.

    safetensors saves one name of tensors that share memory.
    """
    if not missing:
        return []
    state = network.state_dict()
    loaded = [tensor for key, tensor in state.items() if key not in missing]
    return [
        key
        for key in missing
        if not isinstance(state.get(key), Tensor)
        or not any(_covers(tensor, state[key]) for tensor in loaded)
    ]


def _covers(tensor: Any, other: Tensor) -> bool:
    """Whether all of another tensor's memory belongs to a tensor."""
    if not isinstance(tensor, Tensor) or is_lazy(tensor) or is_lazy(other) or not other.numel():
        return False
    storage, other_storage = tensor.untyped_storage(), other.untyped_storage()
    if storage.data_ptr() != other_storage.data_ptr() or storage.nbytes() == 0:
        return False
    whole = bool(tensor.numel() * tensor.element_size() == storage.nbytes())
    return whole or bool(
        tensor.storage_offset() == other.storage_offset()
        and tensor.shape == other.shape
        and tensor.stride() == other.stride()
    )


def _are_auxiliary(network: nn.Module, names: Sequence[str]) -> bool:
    zoo = type(network).__module__.startswith("torchvision.")
    return zoo and all(name in AUXILIARY for name in names)


def _is_ignorable(network: nn.Module, key: str, state: Mapping[str, Any]) -> bool:
    """Whether a key that the network does not have can be left out without a change of it."""
    parent, _, name = key.rpartition(".")
    value = state.get(key)
    if name in _COUNTERS and isinstance(value, Tensor) and value.numel() == 1:
        return True
    if _are_auxiliary(network, [key.partition(".")[0]]):
        return True
    try:  # a constant that the network computes itself
        buffer = network.get_submodule(parent)._buffers.get(name)
    except AttributeError:
        return False
    return isinstance(buffer, Tensor) and isinstance(value, Tensor) and _equal(buffer, value)


def _equal(tensor: Tensor, other: Tensor) -> bool:
    return tensor.dtype == other.dtype and torch.equal(tensor, other)


def _without_duplicates(attempts: Sequence[_Attempt]) -> list[_Attempt]:
    """The attempts without those that load the same values as an earlier one."""
    different: list[_Attempt] = []
    for attempt in attempts:
        state = attempt.candidate.state
        if not any(_same_values(state, other.candidate.state) for other in different):
            different.append(attempt)
    return different


def _same_values(state: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    shared = [key for key in state if isinstance(state[key], Tensor) and key in other]
    return bool(shared) and all(
        isinstance(other[key], Tensor) and _equal(state[key], other[key]) for key in shared
    )
