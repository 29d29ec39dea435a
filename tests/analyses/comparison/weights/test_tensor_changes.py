"""Small changes, changes of some values, and values that are not finite, in words."""

import pytest
import torch

from convlens.analyses.comparison.weights.tensor_changes import explain_change


def noise(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


WEIGHT = noise(12, 4, 3, 3)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-7])
def test_a_tiny_change_is_no_factor(size):
    after = WEIGHT + size * noise(12, 4, 3, 3, seed=4)
    kind, words = explain_change(WEIGHT, after)
    assert kind == "values"
    assert "of the tensor's norm" in words


@pytest.mark.parametrize("factor", [3.0, 0.5, 1.001, 1.0001])
def test_a_factor_is_named_with_its_digits(factor):
    kind, words = explain_change(WEIGHT, WEIGHT * factor)
    assert kind == "scaled"
    assert f"{factor:g} times" in words
    factors = torch.linspace(1.001, 1.002, 12).view(12, 1, 1, 1)
    kind, words = explain_change(WEIGHT, WEIGHT * factors)
    assert (kind, words) == ("scaled", "each filter has a factor of its own, 1.001 to 1.002")


def test_the_number_of_values_that_differ_is_stated():
    mask = torch.rand(WEIGHT.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    after = torch.where(mask, WEIGHT + 1, WEIGHT)
    differing = int(mask.sum())
    kind, words = explain_change(WEIGHT, after)
    assert kind == "values"
    assert words.startswith(f"{differing} of 432 values differ")
    assert explain_change(WEIGHT, WEIGHT + noise(12, 4, 3, 3, seed=9))[1].startswith("all values")


def test_values_that_are_not_finite_in_both_are_counted():
    before, after = WEIGHT.clone(), WEIGHT.clone()
    before[0, 0, 0, :2] = torch.nan
    after[0, 0, 0, :1] = torch.nan
    after[5, 0, 0, 0] = torch.inf
    assert explain_change(before, before.clone())[0] == "equal"
    assert explain_change(before, after) == (
        "values", "2 of 432 values are not finite, of the first network 2",
    )  # fmt: skip
    assert explain_change(WEIGHT, after)[1] == "2 of 432 values are not finite"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_on_two_devices_are_compared():
    assert explain_change(WEIGHT, WEIGHT.cuda())[0] == "equal"
    assert explain_change(WEIGHT, (WEIGHT * 3).cuda())[0] == "scaled"
