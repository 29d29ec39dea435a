"""Each kind of change of weights is recognized, and located."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.comparison.weights.tensor_changes import explain_change
from support.compared_networks import (
    Normalization,
    changed,
    model,
    network,
    round_to_int8,
)


def noise(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


WEIGHT = noise(12, 4, 3, 3)
SCALES = torch.linspace(0.5, 2, 12).view(12, 1, 1, 1)


def exchange(weight, dim, one, other):
    order = list(range(weight.shape[dim]))
    order[one], order[other] = other, one
    return weight.index_select(dim, torch.tensor(order))


def with_value(weight, place, value):
    weight = weight.clone()
    weight[place] = value
    return weight


@pytest.mark.parametrize(
    ("after", "kind", "words"),
    [
        (WEIGHT.clone(), "equal", "equal in every bit"),
        (WEIGHT.half(), "precision", "equal when rounded to float16"),
        (WEIGHT.roll(1, 0), "order of filters", "same filters, shifted by 1: 0 is the former 11"),
        (exchange(WEIGHT, 0, 2, 5), "order of filters", "filters 2 and 5 are exchanged"),
        (WEIGHT.flip(1), "order of inputs", "inputs of each filter in reverse order: 3, 2, 1, 0"),
        (with_value(WEIGHT, (7, 1, 2, 0), 9.0), "elements", "1 of 432 values differs: [7, 1,"),
        (with_value(WEIGHT, 7, noise(4, 3, 3)), "filters", "1 of 12 filters differs: 7"),
        (WEIGHT * 3, "scaled", "all values are 3 times"),
        (WEIGHT * SCALES, "scaled", "each filter has a factor of its own, 0.5 to 2"),
        (round_to_int8(WEIGHT), "rounded", "rounded to 8 bits, 255 levels of the tensor"),
        (torch.stack([*map(round_to_int8, WEIGHT)]), "rounded", "255 levels of each filter"),
        (WEIGHT + noise(12, 4, 3, 3, seed=4) / 10, "values", "correlation 0.99"),
        (with_value(WEIGHT, (0, 0, 0, 0), torch.nan), "values", "1 of 432 values are not finite"),
    ],
)  # fmt: skip
def test_a_change_is_explained(after, kind, words):
    explained = explain_change(WEIGHT, after)
    assert explained[0] == kind
    assert words in explained[1]


def test_a_single_changed_weight_is_located():
    def change(module):
        module[4].weight[3, 1, 2, 0] = 0.75

    weights = convlens.compare_weights(model(), model(changed(change)))
    (own,) = weights.changes
    assert (own.name, own.differing, own.kind) == ("4.weight", 1, "elements")
    assert "[3, 1, 2, 0]" in own.change
    assert own.change.endswith("→ 0.75")
    assert weights.compared == 10
    assert convlens.compare_weights(model(), model(network())).identical


def test_tensors_are_paired_behind_a_prefix_and_by_their_order():
    wrapped = nn.Sequential(OrderedDict(net=network()))
    behind = convlens.compare_weights(model(), model(wrapped))
    assert (behind.compared, behind.changes) == (10, ())
    longer = nn.Sequential(Normalization(), *network())
    with torch.no_grad():
        longer[5].bias[2] += 1
    shifted = convlens.compare_weights(model(), model(longer))
    assert shifted.compared == 10
    assert [(own.name, own.second_name) for own in shifted.changes] == [("4.bias", "5.bias")]


def test_tensors_without_a_counterpart_are_named():
    module = copy.deepcopy(network())
    module[4].bias = None
    weights = convlens.compare_weights(model(), model(module))
    assert weights.only_first == ("4.bias",)
    assert not weights.identical
    assert "only the first network has 1 tensor: 4.bias" in weights.summary()


def test_the_networks_are_not_run():
    models = model(), model()
    models[0].network.register_forward_pre_hook(lambda *_: pytest.fail("the network was run"))
    assert convlens.compare_weights(*models).identical
