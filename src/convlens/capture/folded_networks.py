"""Copies of networks in which batch normalizations are folded into the convolutions before them.

In evaluation mode a batch normalization multiplies each channel by one number and adds another, so
that a convolution with other weights computes both at once. A pass of EfficientNet-Lite0 then takes
three quarters of the time, and a pass forward and back to the image two thirds. The values are the
same up to rounding. Folded convolutions also pad without copies (`same_padding`).
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import handle_torch_function, has_torch_function_unary

from convlens.capture.forward_pass import Capture
from convlens.capture.same_padding import pad_inside
from convlens.models.model import Model
from convlens.runtime.clone import clone_network
from convlens.runtime.guard import GuardedClone, preserve_network, unwrap_network
from convlens.tracing.batch_norm_pairs import BatchNormPair
from convlens.tracing.trace import Trace

_NOISE_SIDE = 64  # pixels of the image on which the two are compared, where the network takes it
# The largest difference of the logits, relative to the largest logit, that rounding may make. In
# ResNet-50 with random weights another memory format changes them by 1.5e-5, and float32 is 3e-5
# from float64.
_ROUNDING = 1e-4
# That of the maps after a batch normalization. Logits do not show what a branch computes that ends
# in zeros, as a new residual block may.
_ROUNDING_OF_MAPS = 1e-3
_SAMPLED = 2**16  # values of a node that are compared
_PLAIN_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")

_Paths = tuple[tuple[str, str], ...]


@dataclass
class _FoldedNetworks:
    """The copies of the networks that run in a block, by the modules that are folded.

    Attributes:
        clones: for each network, and for the paths of its pairs, a copy; None where the network
            itself has to run.
        active: whether copies run at this moment.
    """

    clones: dict[nn.Module, dict[_Paths, GuardedClone | None]] = field(default_factory=dict)
    active: bool = False


_current: ContextVar[_FoldedNetworks | None] = ContextVar("folded networks", default=None)


@contextmanager
def fold_batch_norms() -> Iterator[None]:
    """Run networks with folded batch normalizations inside the block.

    The first pass of a network in the outermost block copies it, and runs the copy on a small image
    of noise before and after folding. That takes as long as a few passes of one image, so this is
    for many passes. The weights of the network must not change inside the block.
    """
    with keep_folded_networks():
        folded = _current.get()
        assert folded is not None
        previous, folded.active = folded.active, True
        try:
            yield
        finally:
            folded.active = previous


@contextmanager
def keep_folded_networks() -> Iterator[None]:
    """Copy a network only once for all blocks of `fold_batch_norms` inside this block.

    The weights of the network must not change inside the block.
    """
    if _current.get() is not None:
        yield
        return
    token = _current.set(_FoldedNetworks())
    try:
        yield
    finally:
        _current.reset(token)


def guard_network(model: Model, trace: Trace, nodes: set[int]) -> AbstractContextManager[nn.Module]:
    """The guard of the network that computes nodes: the model's own, or a copy of it.

    Args:
        model: the model.
        trace: its trace for the images that will run.
        nodes: indices of the nodes that will be captured.

    Returns:
        The guard of a copy with folded batch normalizations inside `fold_batch_norms`, if there is
        one and no node lies between a convolution and its batch normalization; else that of the
        model's network.
    """
    folded = _current.get()
    if folded is not None and folded.active and _is_foldable(trace, nodes):
        clones = folded.clones.setdefault(unwrap_network(model.network), {})
        paths = tuple((pair.convolution, pair.batch_norm) for pair in trace.batch_norm_pairs)
        if paths not in clones:
            clones[paths] = _make_clone(model, trace)
        clone = clones[paths]
        if clone is not None:
            return clone.guard()
    return preserve_network(model.network)


def _is_foldable(trace: Trace, nodes: set[int]) -> bool:
    """Whether a copy computes the nodes, and can be compared with the network."""
    recording = trace.recording
    if not trace.takes_batches or recording.ends_early or recording.images != 1:
        return False
    return bool(trace.batch_norm_pairs) and nodes.isdisjoint(_missing_nodes(trace))


def _missing_nodes(trace: Trace) -> Iterator[int]:
    """The nodes that a copy does not compute."""
    producers = trace.structure.producers
    for pair in trace.batch_norm_pairs:
        yield pair.node
        source = producers[pair.node].arguments["input"].node
        producer = producers.get(source)
        # The convolution's own module computes its input only to pad it, see `same_padding`.
        if producer is not None and producer.call and producer.call.path == pair.convolution:
            yield source


def _make_clone(model: Model, trace: Trace) -> GuardedClone | None:
    """A copy with folded batch normalizations, if it computes the same for an image of noise."""
    if any(getattr(torch_module, name) for name in _GLOBAL_HOOKS):
        return None
    with torch.inference_mode(mode=False), torch.no_grad():
        with preserve_network(model.network) as network:
            pairs = [pair for pair in trace.batch_norm_pairs if _holds_plain_modules(network, pair)]
            if not pairs:
                return None
            copy = clone_network(network)
        small = tuple(min(side, _NOISE_SIDE) for side in trace.image_size)
        values = None
        for size in dict.fromkeys((small, trace.image_size)):
            # Nothing is folded yet, so that the copy computes what the network does.
            values = _values_of_noise(model, trace, copy, pairs, size)
            if values is not None:
                break
        for pair in pairs:
            _fold(copy.get_submodule(pair.convolution), copy.get_submodule(pair.batch_norm))
            pad_inside(copy.get_submodule(pair.convolution))
        folded_values = _values_of_noise(model, trace, copy, pairs, size)
    if values is None or folded_values is None:
        return None
    agree = all(
        _agree(folded, of_network, _ROUNDING if number == 0 else _ROUNDING_OF_MAPS)
        for number, (folded, of_network) in enumerate(zip(folded_values, values, strict=True))
    )
    return GuardedClone(copy) if agree else None


def _agree(values: Tensor, others: Tensor, rounding: float) -> bool:
    return bool((values - others).abs().max() <= rounding * others.abs().max())


def _values_of_noise(
    model: Model,
    trace: Trace,
    network: nn.Module,
    pairs: Sequence[BatchNormPair],
    size: tuple[int, ...],
) -> list[Tensor] | None:
    """The logits of a network for one image of noise, and values that batch normalizations return.

    Returns:
        The logits, and some values of each pair; None if the network does not run on this size.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, model.channels, *size, generator=generator, dtype=torch.float32)
    image = (noise * model.span + model.bounds[0]).to(model.device)
    values: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        flat = output.flatten()
        values.append(flat[:: max(1, len(flat) // _SAMPLED)].clone())

    with suppress(Exception), preserve_network(network):  # networks raise what they like
        for pair in pairs:
            network.get_submodule(pair.batch_norm).register_forward_hook(keep)
        capture = Capture(trace, 1, {trace.logits}, set())
        capture.run(model, network, model.normalize(image))
        return [capture.activations[trace.logits], *values]
    return None


def _holds_plain_modules(network: nn.Module, pair: BatchNormPair) -> bool:
    """Whether the modules of a pair compute nothing else that depends on the convolution."""
    convolution = network.get_submodule(pair.convolution)
    batch_norm = network.get_submodule(pair.batch_norm)
    if type(batch_norm) not in (*_PLAIN_BATCH_NORMS, *_batch_norms_with_activation()):
        return False
    for module in (convolution, batch_norm):
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            return False
    weight = convolution._parameters.get("weight")
    statistics = [batch_norm._buffers.get(name) for name in ("running_mean", "running_var")]
    if weight is None or any(tensor is None for tensor in statistics):
        return False
    factors = [batch_norm._parameters.get(name) for name in ("weight", "bias")]
    bias = convolution._parameters.get("bias")
    tensors: list[Tensor | None] = [weight, bias, *factors, *statistics]
    return all(
        tensor is None
        or (
            type(tensor) in (Tensor, nn.Parameter)
            and tensor.dtype in (torch.float32, torch.float64)
            and tensor.dtype == weight.dtype
            and tensor.layout is torch.strided
            and not tensor.is_inference()
        )
        for tensor in tensors
    )


def _batch_norms_with_activation() -> tuple[type[nn.Module], ...]:
    """The class of timm that normalizes, drops out and applies its activation."""
    timm_module = sys.modules.get("timm.layers.norm_act")  # loaded if a network uses it
    return () if timm_module is None else (timm_module.BatchNormAct2d,)


def _fold(convolution: Any, batch_norm: Any) -> None:
    """Give a convolution of a copy the weights that compute its batch normalization, too.

    Args:
        convolution: module of the copy that `_holds_plain_modules` has checked.
        batch_norm: that of the batch normalization.
    """
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, batch_norm.running_mean, batch_norm.running_var,
        batch_norm.eps, batch_norm.weight, batch_norm.bias,
    )  # fmt: skip
    # The module stays where it is, with its name and its attributes.
    has_activation = type(batch_norm) not in _PLAIN_BATCH_NORMS
    forward = _run_activation if has_activation else _run_nothing
    batch_norm.forward = MethodType(forward, batch_norm)


def _run_nothing(module: nn.Module, images: Tensor) -> Tensor:
    return batch_norm(images)


def _run_activation(module: Any, images: Tensor) -> Tensor:
    normalized: Tensor = module.act(module.drop(batch_norm(images)))
    return normalized


def batch_norm(images: Tensor) -> Tensor:
    """The images as they are, under the name by which nodes of the original are captured."""
    if has_torch_function_unary(images):
        return handle_torch_function(batch_norm, (images,), images)
    return images
