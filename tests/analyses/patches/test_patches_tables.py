"""The tables of top patches against a sort of all activations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convlens import ConvlensError, patches, trace, wrap
from convlens.analyses.patches import activation_statistics, top_k
from convlens.analyses.patches.selectivity import roc_area
from convlens.analyses.patches.spatial_max import spatial_max
from convlens.analyses.patches.top_patches import TopPatchesReducer
from convlens.capture.nodes import capture_nodes
from convlens.passes.options import PassOptions
from convlens.tracing.selection import find_channel_sources
from support.branches import SIZE, by_hand, images, network


class TestTables:
    def test_against_everything_kept_and_sorted(self):
        model = wrap(network(), size=SIZE)
        batch = images()
        result = patches(model, batch, top=5, pass_options=PassOptions(batch_size=7), show=0)
        assert [layer.layer for layer in result.layers] == ["stem", "left", "last"]
        assert [layer.post for layer in result.layers] == [True, True, False]
        for layer in result.layers:
            maps = by_hand(model, batch, layer.layer)
            width = maps.shape[3]
            for channel in range(maps.shape[1]):
                every = sorted(
                    (-float(maps[n, channel].max()), n, int(maps[n, channel].argmax()))
                    for n in range(len(batch))
                )[:5]
                expected = torch.tensor([-value for value, _, _ in every])
                torch.testing.assert_close(layer.values[channel], expected)
                assert layer.images[channel].tolist() == [n for _, n, _ in every]
                where = layer.rows[channel] * width + layer.columns[channel]
                assert where.tolist() == [position for _, _, position in every]

    def test_several_of_one_image(self):
        model = wrap(network(), size=SIZE)
        batch = images(6)
        layer = patches(model, batch, layers="last", top=7, per_image=3, show=0)["last"]
        maps = by_hand(model, batch, "last")
        for channel in range(5):
            entries = []
            for n in range(6):
                flat = maps[n, channel].flatten().tolist()
                ranked = sorted(range(len(flat)), key=lambda at: (-flat[at], at))[:3]
                entries += [(-flat[at], n, at) for at in ranked]
            entries.sort()
            expected = torch.tensor([-value for value, _, _ in entries[:7]])
            torch.testing.assert_close(layer.values[channel], expected)
            assert layer.images[channel].tolist() == [n for _, n, _ in entries[:7]]

    def test_statistics_against_loops(self):
        model = wrap(network(), size=SIZE)
        batch = images(30)
        result = patches(model, batch, show=0, pass_options=PassOptions(batch_size=4))
        for layer in result.layers:
            maps = by_hand(model, batch, layer.layer)
            greatest = maps.amax((2, 3))
            assert torch.equal(layer.images_fired, (greatest > 0).sum(0))
            assert torch.equal(layer.positions_fired, (maps > 0).sum((0, 2, 3)))
            assert torch.equal(layer.histogram.sum(1), torch.full((maps.shape[1],), 30))
            for channel in range(maps.shape[1]):
                for share, value in zip(
                    (0.5, 0.9), layer.quantiles(torch.tensor([0.5, 0.9]))[channel], strict=True
                ):
                    exact = greatest[:, channel].sort().values[int(np.ceil(share * 30)) - 1]
                    if exact > 2**-12:
                        assert abs(torch.log2(value / exact)) <= 0.25 + 1e-6
                    else:
                        assert value == 0
                level = float(greatest[:, channel].median())
                lower = max(
                    (edge for edge in activation_statistics.BIN_EDGES.tolist() if edge < level),
                    default=-1e9,
                )
                share = float((greatest[:, channel] <= lower).double().mean())
                assert layer.percentile(channel, level) == pytest.approx(share)

    def test_samples_lie_in_their_octaves_and_are_spread(self):
        model = wrap(network(), size=SIZE)
        batch = images(60)
        layer = patches(model, batch, layers="stem", show=0)["stem"]
        greatest = by_hand(model, batch, "stem").amax((2, 3))
        there = layer.band_images >= 0
        for channel, band in there.nonzero().tolist():
            value, image = layer.band_values[channel, band], layer.band_images[channel, band]
            assert value == greatest[image, channel]
            assert 2.0 ** (band - 12) <= value < 2.0 ** (band - 11)
        octaves = torch.log2(greatest).floor()
        for channel in range(6):
            assert int(there[channel].sum()) == len(torch.unique(octaves[:, channel]))
        drawn = {
            int(
                patches(model, batch, layers="stem", show=0, seed=seed)["stem"].band_images[0].max()
            )
            for seed in range(8)
        }
        assert len(drawn) > 3

    def test_two_names_of_one_node(self):
        """A block's last convolution and its shortcut are read at the same sum."""
        result = patches(
            wrap(network(), size=SIZE), images(4), layers=["left", "right"],
            show={"left": [1], "right": [3, 1]},
        )  # fmt: skip
        (layer,) = result.layers
        assert (layer.layer, layer.also) == ("left", ("right",))
        assert [shown.channel for shown in layer.shown] == [1, 3]
        assert result["right"] is layer

    def test_dead_channels(self):
        net = network()
        with torch.no_grad():
            net.stem.bias[2] = -100
        layer = patches(wrap(net, size=SIZE), images(4), layers="stem", show=8)["stem"]
        assert layer.dead == (2,)
        assert sorted(channel.channel for channel in layer.shown) == [0, 1, 3, 4, 5]

    def test_without_a_non_linearity_no_channel_is_dead(self):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
        with torch.no_grad():
            net[0].bias[2] = -100
        layer = patches(wrap(net, size=SIZE), images(4), layers="0", show=0)["0"]
        assert not layer.post and layer.images_fired[2] == 0
        assert layer.dead == ()

    def test_ties_go_to_the_lower_image_and_the_first_position(self):
        same = torch.rand(1, 1, 8, 8).tile(1, 1, 1, 2).expand(6, -1, -1, -1)
        net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
        with torch.no_grad():
            net[0].bias.fill_(5)
        layer = patches(
            wrap(net, channels=1, size=8),
            same,
            layers="0",
            top=3,
            pass_options=PassOptions(batch_size=2),
            show=0,
        )["0"]
        assert layer.images.tolist() == [[0, 1, 2], [0, 1, 2]]
        assert int(layer.columns.max()) < 8

    @given(
        st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=12),
        st.randoms(use_true_random=False),
        st.integers(1, 4),
    )
    @settings(max_examples=150, deadline=None)
    def test_any_split_and_order_gives_the_same_table(self, values, dice, top):
        """Activations are integers, so that there are ties; parts are merged in any order."""
        activations = torch.tensor(values, dtype=torch.float32)
        count = len(values)

        def table(part_numbers):
            part = top_k.empty_table(3, top)
            ids = torch.tensor(part_numbers)
            top_k.insert(part, activations[ids], ids, ids[:, None].expand(-1, 3) * 7)
            return part

        cuts = sorted(dice.choices(range(count + 1), k=3))
        numbers = list(range(count))
        dice.shuffle(numbers)
        pieces = [numbers[a:b] for a, b in zip([0, *cuts], [*cuts, count], strict=True)]
        tables = [table(piece) for piece in pieces if piece]
        dice.shuffle(tables)
        merged = tables[0]
        for part_table in tables[1:]:
            merged = top_k.merge(merged, part_table)
        for channel in range(3):
            expected = sorted((-values[n][channel], n) for n in range(count))[:top]
            assert merged["images"][channel, : len(expected)].tolist() == [n for _, n in expected]
            actual = merged["values"][channel, : len(expected)].tolist()
            assert actual == [-value for value, _ in expected]
            assert merged["positions"][channel, : len(expected)].tolist() == [
                7 * n for _, n in expected
            ]

    @pytest.mark.parametrize("seed", range(4))
    def test_states_of_parts_merge_to_the_state_of_the_whole(self, seed):
        model = wrap(network(), size=SIZE)
        batch = images(12)
        model_trace = trace(model, batch)
        reducer = TopPatchesReducer(find_channel_sources(model_trace, None), top=3)
        maps = {
            node: capture_nodes(model, model_trace, batch, [node])[node] for node in reducer.nodes
        }
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))

        def state(ids):
            part = reducer.initial_state()
            for node in reducer.nodes:
                reducer.update(part, node, maps[node][ids], ids)
            return part

        whole = state(torch.arange(12))
        a, b, c = (state(ids) for ids in (order[:5], order[5:6], order[6:]))
        for merged in (
            reducer.merge(reducer.merge(a, b), c), reducer.merge(c, reducer.merge(b, a)),
        ):  # fmt: skip
            assert merged.keys() == whole.keys()
            for name, tensor in whole.items():
                assert torch.equal(merged[name], tensor), name

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_peaks_in_either_layout(self, layout):
        maps = torch.randint(0, 4, (3, 5, 6, 7)).float().contiguous(memory_format=layout)
        greatest, positions = spatial_max(maps)
        assert torch.equal(greatest, maps.flatten(2).max(2).values)
        entries, channels = torch.cartesian_prod(torch.arange(3), torch.arange(5)).T
        expected = [maps[n, c].flatten().tolist().index(maps[n, c].max())
                    for n, c in zip(entries, channels, strict=True)]  # fmt: skip
        assert positions(entries, channels).tolist() == expected

    def test_not_a_number(self):
        net = network()
        with torch.no_grad():
            net.left.weight[0] = torch.nan
        with pytest.raises(ConvlensError, match="NaN or infinity for image 0"):
            patches(wrap(net, size=SIZE), images(3))


class TestSelectivity:
    def test_area_against_all_pairs(self):
        inside, outside = torch.randint(0, 5, (2, 4, activation_statistics.BIN_COUNT))
        areas = roc_area(inside, outside)
        for channel in range(4):
            won = sum(
                int(inside[channel, a] * outside[channel, b]) * ((a > b) + 0.5 * (a == b))
                for a in range(activation_statistics.BIN_COUNT)
                for b in range(activation_statistics.BIN_COUNT)
            )
            total = int(inside[channel].sum() * outside[channel].sum())
            assert float(areas[channel]) == pytest.approx(won / total, abs=1e-6)

    def test_a_channel_for_a_class(self):
        """Red images are class 7: a channel that measures red is selective, the other is not."""
        net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU())
        with torch.no_grad():
            net[0].weight[:] = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]).view(2, 3, 1, 1)
        batch = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5
        labels = [(7,) if n % 2 else (3,) for n in range(39)] + [None]
        batch[1:39:2, 0] += 0.5
        batch[39] = 1
        layer = patches(wrap(net, size=8), batch, layers="0", labels=labels, show=0)["0"]
        assert layer.preferred_class[0] == 7
        assert layer.selectivity[0] == 1
        assert 0.3 < layer.selectivity[1] < 0.8

    def test_classes_with_few_photos_do_not_count(self):
        with pytest.raises(ConvlensError, match="at least 5 labeled photos"):
            patches(wrap(network(), size=SIZE), images(6), labels=[(n,) for n in range(6)])
        with pytest.raises(ConvlensError, match="5 labels for 6 photos"):
            patches(wrap(network(), size=SIZE), images(6), labels=[(1,)] * 5)


def test_layers_that_cannot_be_watched():
    model = wrap(network(), size=SIZE)
    for layers, words in (
        (["stm"], "no layer 'stm' .* nearest: stem"),
        (["head"], "not maps"),
    ):
        with pytest.raises(ConvlensError, match=words):
            patches(model, images(2), layers=layers)
    with pytest.raises(ConvlensError, match="top 0"):
        patches(model, images(2), top=0)
    with pytest.raises(ConvlensError, match="has 6 channels, 0 to 5; given 6"):
        patches(model, images(2), layers="stem", show={"stem": [6]})
    with pytest.raises(ConvlensError, match="no convolution that gives maps"):
        patches(wrap(nn.Flatten(), size=8), images(2, 8))
