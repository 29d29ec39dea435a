"""Multiply-adds, against torch.utils.flop_counter, and shapes and parameters of the anatomy."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import convlens
from fuzz.case import Case, Mismatch


def check(case: Case) -> None:
    """Check the totals of the anatomy."""
    anatomy = convlens.anatomy(case.model)
    right = count(case)
    counted = anatomy.multiply_adds
    if counted != right and not (is_lower_bound(anatomy) and counted < right):
        raise Mismatch(f"multiply-adds: {counted}, right {right}")
    parameters = sum(parameter.numel() for parameter in case.network.parameters())
    if anatomy.parameters != parameters:
        raise Mismatch(f"parameters: {anatomy.parameters}, right {parameters}")
    for layer in anatomy.layers:
        name = case.program.module_outputs.get(layer.name)
        if name is None:
            continue
        shape = tuple(case.program.shape(name))
        # Networks that squeeze the dimension of a single image are traced on two.
        allowed = {shape, (1, *shape)} if "squeezed batch" in case.program.marks else {shape}
        if layer.output not in allowed:
            raise Mismatch(f"output of {layer.name}: {layer.output}, right {shape}")


def is_lower_bound(anatomy: convlens.Result) -> bool:
    """Whether the anatomy says that its total is "at least"."""
    return bool(getattr(anatomy, "not_counted", ()))


def count(case: Case) -> int:
    """Multiply-adds of one image, by torch's counter and, where it has no formula, by hand."""
    by_hand = []
    handles = [
        module.register_forward_hook(
            lambda module, inputs, output: by_hand.append(_deformable(module, output))
        )
        for module in case.network.modules()
        if type(module).__name__ == "DeformConv2d"
    ]
    # Without gradients, attention and recurrent modules run as one fused operation, which torch's
    # counter does not know.
    try:
        with (
            torch.enable_grad(),
            torch.backends.mkldnn.flags(enabled=False),
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
        ):
            case.network(case.images[:1].clone())
    finally:
        for handle in handles:
            handle.remove()
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2 + sum(by_hand)


def _deformable(module: nn.Module, output: torch.Tensor) -> int:
    weight = module.weight
    return weight.numel() * output.shape[2] * output.shape[3]
