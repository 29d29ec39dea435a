"""Classes as tensors that the caller made in another gradient mode."""

from typing import Any

import pytest
import torch
from torch import nn

import convlens


@pytest.mark.parametrize("option", ["target", "classes"])
def test_classes_of_inference_mode_attack_as_others_do(option):
    torch.manual_seed(0)
    model = convlens.wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)), size=8)
    images = torch.rand(2, 3, 8, 8)
    plain: dict[str, Any] = {option: torch.tensor([1, 2])}
    with torch.inference_mode():
        of_inference: dict[str, Any] = {option: torch.tensor([1, 2])}
        inside = convlens.fgsm(model, images, ["4/255"], **of_inference)
    assert of_inference[option].is_inference()
    expected = convlens.fgsm(model, images, ["4/255"], **plain)
    assert torch.equal(inside.adversarial(0), expected.adversarial(0))
    outside = convlens.fgsm(model, images, ["4/255"], **of_inference)
    assert torch.equal(outside.adversarial(0), expected.adversarial(0))
