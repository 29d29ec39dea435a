"""Linear CKA against its definition in loops, sampled positions, and the null."""

import pytest
import torch

import convlens
from convlens import ConvlensError
from convlens.analyses.comparison.similarity.centered_kernel_alignment import (
    cka_matrix,
    gram_matrix,
)
from convlens.analyses.comparison.similarity.sampled_features import (
    sample_features,
    unrelated_orders,
)
from convlens.tracing.selection import find_channel_sources
from support.compared_networks import changed, images, model, network


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_definition(first, second):
    """CKA as the sum over pairs of channels of squared covariances, in loops."""

    def centered(features):
        columns = [[float(value) for value in column] for column in features.T]
        return [[value - sum(column) / len(column) for value in column] for column in columns]

    def sum_of_squares(x, y):
        return sum(
            sum(a * b for a, b in zip(left, right, strict=True)) ** 2
            for left in x for right in y
        )  # fmt: skip

    x, y = centered(first), centered(second)
    norm = (sum_of_squares(x, x) * sum_of_squares(y, y)) ** 0.5
    return sum_of_squares(x, y) / norm


def linear_cka(first, second):
    return float(cka_matrix([gram_matrix(first)], [gram_matrix(second)]))


@pytest.mark.parametrize(("first", "second"), [((9, 4), (9, 6)), ((12, 20), (12, 3))])
def test_linear_cka_is_that_of_the_definition(first, second):
    x, y = noise(*first), noise(*second, seed=1)
    assert linear_cka(x, y) == pytest.approx(by_definition(x, y))
    rotation = torch.linalg.qr(noise(first[1], first[1], seed=2)).Q
    assert linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1, abs=1e-5)
    assert linear_cka(x, torch.ones(second)) == 0


def test_features_are_activations_at_the_same_points_of_the_photos():
    own, batch = model(), images(5)
    trace = convlens.trace(own)
    sources = find_channel_sources(trace, None)
    features = sample_features(own, trace, batch, torch.arange(5), sources, positions=3, seed=0)
    assert [tuple(values.shape) for values in features] == [(15, 8), (15, 12)]
    maps = network()[:6](own.normalize(batch)).detach()
    cells = maps[4].flatten(1).T  # of the last photo
    for row in features[1][12:]:
        assert (cells - row).abs().amax(dim=1).min() < 1e-5
    again = sample_features(own, trace, batch[2:], torch.arange(2, 5), sources, positions=3, seed=0)
    assert torch.allclose(again[0], features[0][6:], atol=1e-6)


def test_no_photo_is_at_its_own_place_in_another_order():
    orders = unrelated_orders(photos=6, positions=4, draws=20, seed=0)
    assert len(orders) == 5  # one for each number of places by which a circle is turned
    for order in orders:
        assert sorted(order.tolist()) == list(range(24))
        assert not (order // 4 == torch.arange(24) // 4).any()
        assert (order % 4 == torch.arange(24) % 4).all()


def test_the_same_network_is_on_the_diagonal_and_above_other_photos():
    costs = []
    result = convlens.cka(model(), model(network()), images(30), notify=costs.append)
    assert torch.allclose(result.values.diagonal(), torch.ones(2))
    assert (result.values > result.null_high).all()
    assert (result.null_mean <= result.null_high).all()
    (cost,) = costs
    assert cost.startswith("CKA of 2 by 2 layers: 30 forward passes of each network (")
    assert "multiply-adds together) and about" in cost


def test_unrelated_networks_are_less_alike():
    def redraw(module):
        for layer in (module[0], module[4]):
            layer.weight.copy_(noise(*layer.weight.shape, seed=8))

    result = convlens.cka(model(), model(changed(redraw)), images(30), positions=4)
    assert (result.values < 0.999).all()
    assert result.table().heads[2] == "CKA"


def test_few_photos_are_refused():
    with pytest.raises(ConvlensError, match="CKA: 3 photos, at least 5 are needed"):
        convlens.cka(model(), model(), images(3))
    with pytest.raises(ConvlensError, match="1 photos with 8 positions"):
        convlens.cka(model(), model(), images(8), most_photos=1)
