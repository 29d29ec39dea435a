"""Gradients of captured tensors, and the messages where a network has none."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from convlens.errors import ConvlensError, first_line
from convlens.tracing.gradient_stops import explain_missing_gradient
from convlens.tracing.trace import Trace


def compute_gradients(
    outputs: Tensor, inputs: Sequence[Tensor], grad_outputs: Tensor
) -> tuple[Tensor, ...]:
    """Compute the gradients of several weighted sums of `outputs` in one backward pass.

    Args:
        outputs: `(N, ...)`, computed from `inputs`.
        inputs: tensors `(N, ...)` from `capture_nodes(gradient_nodes=...)`.
        grad_outputs: `(K, N, ...)`, the weights of the K sums over `outputs`.

    Returns:
        For each input the gradients `(K, N, ...)`; zero where the outputs do not depend on it.

    Raises:
        ConvlensError: no gradient can be taken through the network.
    """
    if not outputs.requires_grad:
        return tuple(torch.zeros(len(grad_outputs), *tensor.shape).to(tensor) for tensor in inputs)
    with convert_gradient_errors(), _match_memory_format(outputs, inputs):
        try:
            return _batched_gradients(outputs, inputs, grad_outputs)
        except CheckpointError:
            raise
        except RuntimeError:  # an operation that torch cannot batch, such as a custom Function
            rows = [
                _batched_gradients(outputs, inputs, weights.unsqueeze(0))
                for weights in grad_outputs
            ]
            return tuple(torch.cat(column) for column in zip(*rows, strict=True))


@contextmanager
def convert_gradient_errors(trace: Trace | None = None) -> Iterator[None]:
    """Turn what a network raises in a backward pass into a ConvlensError with that cause.

    Args:
        trace: of the network, if the gradient is taken to the image: the operations that have none
            are named. Default: the error's own words.
    """
    try:
        yield
    except CheckpointError as error:
        raise ConvlensError(
            "the network computes this layer again in the backward pass (activation "
            "checkpointing); switch that off, or choose a layer outside it"
        ) from error
    except (ConvlensError, MemoryError):
        raise
    except Exception as error:
        reason = ""
        if "does not require grad" in str(error):
            reason = explain_missing_gradient(trace, [0]) if trace is not None else ""
            reason = (
                reason
                or "it computes without recording how (torch.no_grad, torch.inference_mode, detach)"
            )
        raise ConvlensError(
            f"no gradient can be taken through the network: {reason or first_line(error)}"
        ) from error


@contextmanager
def enable_gradients() -> Iterator[None]:
    """Enable gradients inside the block, also if the caller disabled them (inference mode)."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


@contextmanager
def _match_memory_format(outputs: Tensor, inputs: Sequence[Tensor]) -> Iterator[None]:
    """Give gradients the memory format of channels-last inputs before a ReLU's backward pass.

    The gradient of a mean over positions is contiguous. With it, the backward pass of a ReLU whose
    maps are channels-last takes twenty times as long. That of ReLU6 gains less than the conversion
    takes.
    """
    shapes = {tensor.shape for tensor in inputs if _is_channels_last(tensor)}

    def convert(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        return tuple(
            gradient
            if gradient is None or gradient.shape not in shapes
            # Inside the vmap of batched gradients, torch converts to contiguous memory only.
            else gradient.movedim(1, -1).contiguous().movedim(-1, 1)
            for gradient in gradients
        )

    with ExitStack() as hooks:
        if shapes:
            relus = (node for node in _nodes_of_graph(outputs) if node.name() == "ReluBackward0")
            for node in relus:
                hooks.callback(node.register_prehook(convert).remove)
        yield


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.movedim(1, -1).is_contiguous() and not tensor.is_contiguous()


def _nodes_of_graph(outputs: Tensor) -> set[Any]:
    """The functions of the autograd graph of a tensor, without the leaves at which it starts."""
    nodes: set[Any] = set()
    pending: list[Any] = [outputs.grad_fn]
    while pending:
        node = pending.pop()
        if node is not None and node not in nodes and node.next_functions:
            nodes.add(node)
            pending += [function for function, _ in node.next_functions]
    return nodes


def _batched_gradients(
    outputs: Tensor, inputs: Sequence[Tensor], grad_outputs: Tensor
) -> tuple[Tensor, ...]:
    batched = len(grad_outputs) > 1
    gradients = torch.autograd.grad(
        outputs,
        inputs,
        grad_outputs if batched else grad_outputs[0],
        is_grads_batched=batched,
        retain_graph=True,
        allow_unused=True,
    )
    return tuple(
        torch.zeros(len(grad_outputs), *tensor.shape).to(tensor)
        if gradient is None
        else gradient.reshape(len(grad_outputs), *tensor.shape)
        for gradient, tensor in zip(gradients, inputs, strict=True)
    )
