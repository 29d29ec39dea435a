"""The network, the images and the random state, before and after all calls."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fuzz.case import Case, Mismatch


def snapshot(case: Case) -> dict[str, Any]:
    """Everything that has to stay as it is."""
    state: dict[str, Any] = {
        "images": case.images.clone(),
        "random state of torch": torch.get_rng_state(),
        "random state of numpy": np.random.get_state()[1],
        "random state of Python": random.getstate(),
    }
    for path, module in case.network.named_modules():
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers"):
                for key, tensor in value.items():
                    if tensor is None:
                        continue
                    state[f"{path}.{key}"] = tensor.detach().clone()
                    state[f"{path}.{key} object"] = id(tensor)
                    state[f"{path}.{key} requires_grad"] = tensor.requires_grad
                    state[f"{path}.{key} grad"] = tensor.grad
            elif isinstance(value, dict):
                state[f"{path}.{name}"] = list(value.items()) if name != "_modules" else list(value)
            elif not isinstance(value, (nn.Module, Tensor)):
                state[f"{path}.{name}"] = repr(value)
    return state


def compare(case: Case, before: dict[str, Any]) -> None:
    """Raise Mismatch if something has changed since `snapshot`."""
    after = snapshot(case)
    changed = [
        name for name in {*before, *after}
        if not _equal(before.get(name), after.get(name))
    ]  # fmt: skip
    if changed:
        raise Mismatch(f"not left untouched: {', '.join(sorted(changed))}")


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, (Tensor, np.ndarray)):
        return isinstance(second, type(first)) and bool((first == second).all())
    return bool(first == second)
