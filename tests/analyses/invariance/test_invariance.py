"""Invariance of channels, tested on networks with known invariances and by plain loops."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError, Result, invariance, wrap
from convlens.analyses.invariance.reducers import VariantReducer
from convlens.analyses.invariance.variants import LIGHTS, PLACES, SCALES, make_variants
from convlens.analyses.patches.selectivity import roc_area
from convlens.passes.options import PassOptions

SIZE = 32


def images(count=12, seed=0):
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=False).clamp(0, 1)


def network(mode="circular"):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, padding_mode=mode, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    ).eval()  # fmt: skip


def test_place_costs_nothing_with_circular_padding_and_light_is_linear():
    measured = invariance(wrap(network(), size=SIZE), images(), layer="0", top=4)
    torch.testing.assert_close(measured.place, torch.ones(5, len(PLACES)), rtol=0, atol=1e-5)
    # Without a bias the activation grows as the light does, up to the upper bound.
    expected = torch.tensor(LIGHTS[:2]).expand(5, -1)
    torch.testing.assert_close(measured.light[:, :2], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(measured.remaining("place"), torch.ones(5), rtol=0, atol=1e-5)
    assert (measured.typical > 0).all() and (measured.typical <= 1).all()


def test_shares_are_those_of_a_plain_loop():
    net = network("zeros")
    model = wrap(net, size=SIZE)
    batch = images()
    measured = invariance(
        model, batch, layer="0", channels=[3, 1], top=3, pass_options=PassOptions(batch_size=5)
    )
    with torch.no_grad():
        peaks = net[:2](batch).amax((2, 3))
        for row, channel in enumerate((3, 1)):
            best = peaks[:, channel].argsort(descending=True)[:3]
            sums = sum(
                net[:2](make_variants(batch[k], (0, 1)))[:, channel].amax((1, 2)) for k in best
            )
            expected = sums[1:] / sums[0]
            ours = torch.cat([measured.place[row], measured.scale[row], measured.light[row]])
            torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
            assert measured.activations[row] == pytest.approx(float(sums[0] / 3), rel=1e-5)
            typical = float(peaks[:, channel].mean() / (sums[0] / 3))
            assert measured.typical[row] == pytest.approx(typical, rel=1e-5)
    assert measured.channels.tolist() == [3, 1] and measured.grandmother_score.isnan().all()


def test_changes_are_what_they_are_called():
    image = images(1)[0]
    variants = make_variants(image, (0.0, 1.0))
    assert variants.shape == (1 + len(PLACES) + len(SCALES) + len(LIGHTS), 3, SIZE, SIZE)
    assert torch.equal(variants[0], image)
    assert torch.equal(variants[3], torch.roll(image, (4, 4), (1, 2)))  # an eighth
    halved, doubled = variants[5], variants[8]
    small = F.interpolate(image[None], (16, 16), mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(halved[:, 8:24, 8:24], small)
    assert torch.equal(halved[:, 0, 0], image.mean((1, 2)))
    large = F.interpolate(image[None], (64, 64), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(doubled, large[:, 16:48, 16:48])
    torch.testing.assert_close(variants[-4], image * 0.25)
    torch.testing.assert_close(variants[-1], (image * 2).clamp(max=1))


def test_a_grandmother_cell_is_found_by_its_selectivity_and_invariances():
    """Channel 0 sees one color anywhere; channel 1 the same in one corner only."""

    class Cells(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = nn.Conv2d(3, 2, 1, bias=False)
            with torch.no_grad():
                self.seen.weight.copy_(torch.tensor([[1.0, -1, -1], [1, -1, -1]])[..., None, None])
            self.act = nn.ReLU()
            self.head = nn.Linear(2, 2)
            corner = torch.ones(1, 2, SIZE, SIZE)
            corner[:, 1, 8:] = corner[:, 1, :, 8:] = 0
            self.register_buffer("corner", corner)

        def forward(self, x):
            return self.head(self.act(self.seen(x) * self.corner).amax((2, 3)))

    batch = torch.rand(24, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 0.2
    batch[:12, 0, 2:6, 2:6] += 0.7  # red things in the corner
    labels = [[int(number < 12)] for number in range(24)]
    measured = invariance(wrap(Cells(), size=SIZE), batch, layer="act", labels=labels)
    assert measured.preferred.tolist() == [1, 1]
    assert (measured.selectivity > 0.99).all()
    everywhere, corner = measured.place
    assert (everywhere > 0.99).all() and (corner < 0.6).any()
    assert measured.rank_channels() == [0, 1]
    assert measured.grandmother_score[0] > 1.2 * measured.grandmother_score[1]


def test_selectivity_is_that_of_patches():
    from convlens import patches

    labels = [[number % 2] for number in range(12)]
    model = wrap(network(), size=SIZE)
    ours = invariance(model, images(), layer="0", labels=labels)
    theirs = patches(model, images(), layers=["0"], labels=labels)["0"]
    assert torch.equal(ours.preferred, theirs.preferred_class)
    assert torch.equal(ours.selectivity, theirs.selectivity)
    assert roc_area(torch.tensor([[0, 1]]), torch.tensor([[1, 0]])).tolist() == [1.0]


def test_parts_of_a_data_set_add_up():
    from convlens.tracing.selection import find_channel_sources
    from convlens.tracing.tracer import trace

    model = wrap(network(), size=SIZE)
    channel_source = find_channel_sources(trace(model), ["0"])[0]
    work = VariantReducer(
        model, channel_source, torch.tensor([[0, 5], [1, 2], [3, 9], [4, 4], [7, 0]])
    )
    first, second, whole = (work.initial_state() for _ in range(3))
    work.process_batch(first, images()[:5], torch.arange(5))
    work.process_batch(second, images()[5:], torch.arange(5, 12))
    work.process_batch(whole, images(), torch.arange(12))
    assert torch.equal(work.merge(second, first)["activations"], whole["activations"])
    assert whole["activations"].dtype == torch.int64 and whole["activations"].all()


def test_a_saved_result_is_equal_when_loaded_and_has_a_picture(tmp_path):
    measured = invariance(wrap(network(), size=SIZE), images(), layer="0", channels=[2])
    measured.save(tmp_path / "out")
    assert Result.load(tmp_path / "out") == measured
    assert (tmp_path / "out" / "invariance_of_0.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layer": "9"}, "no layer"), ({"layer": "0", "channels": [5]}, "0 to 4; given 5"),
     ({"layer": "0", "labels": [[1]]}, "1 labels for 12"),
     ({"layer": "0", "labels": [[1]] * 12}, "selectivity needs two"), ({"layer": "4"}, "not maps")],
)  # fmt: skip
def test_input_that_cannot_be_used_is_refused(options, message):
    with pytest.raises(ConvlensError, match=message):
        invariance(wrap(network(), size=SIZE), images(), **options)
