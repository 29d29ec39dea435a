"""Channels are matched one to one: permutations are found, and unrelated channels are not."""

import math
from itertools import permutations

import pytest
import torch

import convlens
from convlens import ConvlensError
from convlens.analyses.comparison.similarity.channel_matching import (
    match_by_correlation,
    photos_needed,
)
from support.compared_networks import changed, images, model

ORDER = [3, 0, 7, 11, 2, 9, 1, 10, 4, 6, 8, 5]


def reorder(module):
    """Other numbers for the channels of the last convolution; the function stays the same."""
    module[4].weight.copy_(module[4].weight[ORDER])
    module[4].bias.copy_(module[4].bias[ORDER])
    module[8].weight.copy_(module[8].weight[:, ORDER])


def redraw(module):
    generator = torch.Generator().manual_seed(6)
    module[4].weight.copy_(torch.randn(module[4].weight.shape, generator=generator))


def standardized(*shape, seed):
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()
    values -= values.mean(dim=0)
    return values / values.norm(dim=0)


def test_the_assignment_has_the_greatest_sum_of_correlations():
    first, second = standardized(9, 4, seed=1), standardized(9, 5, seed=2)
    partners, correlations = match_by_correlation(first, second)
    best = max(
        sum(float(first[:, row] @ second[:, column]) for row, column in enumerate(choice))
        for choice in permutations(range(5), 4)
    )
    assert float(correlations.sum()) == pytest.approx(best)
    assert len(set(partners.tolist())) == 4
    fewer, alone = match_by_correlation(second, first)
    assert (fewer == -1).sum() == 1
    assert alone[fewer == -1].isnan().all()


def test_a_permutation_of_channels_is_found():
    matching = convlens.match_channels(model(), model(changed(reorder)), images(40))
    alive = ~matching.correlations.isnan()
    expected = torch.tensor([ORDER.index(channel) for channel in range(12)])
    assert (matching.partners == expected)[alive].all()
    assert matching.correlations[alive].min() > 0.999
    assert matching.matched == int(alive.sum()) > 6
    assert (matching.layer, matching.second_layer, matching.second_size) == ("4", "4", 12)
    same = convlens.match_channels(model(), model(), images(40), show=0)
    assert same.in_place >= int(alive.sum())
    assert same.shown == ()


def test_pairs_are_shown_with_the_patches_of_both():
    costs = []
    matching = convlens.match_channels(
        model(), model(changed(reorder)), images(12), show=4, notify=costs.append
    )
    assert len(matching.shown) == 4
    for pair in matching.shown:
        assert pair.second_channel == ORDER.index(pair.channel)
        assert (pair.first_patches.channel, pair.second_patches.channel) == (
            pair.channel, pair.second_channel,
        )  # fmt: skip
        assert torch.equal(pair.first_patches.tiles, pair.second_patches.tiles)
    assert costs[0].startswith("matching 12 with 12 channels: 24 forward passes")
    assert matching.pictures()["patches of matched channels"].shape[2] == 3


def test_other_channels_are_not_better_than_chance():
    matching = convlens.match_channels(model(), model(changed(redraw)), images(40), show=0)
    same = convlens.match_channels(model(), model(), images(40), show=0)
    assert matching.correlations.nanmedian() < 0.95 < same.correlations.nanmedian()


def test_too_few_photos_for_so_many_channels_are_refused():
    """The best of C correlations of n unrelated values is about sqrt(2 ln C / n)."""
    with pytest.raises(
        ConvlensError,
        match="to match 12 with 12 channels: 3 photos, at least 7 are needed",
    ):
        convlens.match_channels(model(), model(), images(3))
    parts = convlens.diff(model(), model(changed(reorder)), images(3), parts=["channels", "cka"])
    assert parts.channels is None
    assert [words.split(":")[0] for words in parts.left_out] == ["cka", "channels"]
    for channels in (12, 200, 1280):
        photos = photos_needed(channels)
        assert math.sqrt(2 * math.log(channels) / photos) <= 0.9
        assert math.sqrt(2 * math.log(channels) / (photos - 1)) > 0.9
    assert photos_needed(2) == 5
