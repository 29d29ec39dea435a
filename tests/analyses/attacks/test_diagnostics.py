"""Diagnostics of attacks: each kind of trouble is named, and a sound network has none."""

import numpy as np
import pytest
import torch
from torch import nn

from convlens import ConvlensError, ConvlensWarning, fgsm, robustness, wrap
from convlens.analyses.attacks.diagnostics import diagnose_pgd
from convlens.analyses.attacks.robustness import FGSM, PGD
from support.attacked_networks import SIZE, Linear, easy, images, small


class Stepped(nn.Module):
    """A linear network behind pixels that are flat around every tenth: no gradient at the image."""

    def __init__(self):
        super().__init__()
        self.inner = Linear()

    def forward(self, x):
        tenths = (x * 10).round() / 10
        return self.inner(torch.where((x - tenths).abs() < 0.004, tenths, x))


# the curve


def test_masked_gradients_fool_fgsm_and_not_pgd():
    network = Stepped()
    batch = easy(network.inner)[0].mul(10).round().div(10)
    batch += (torch.rand(batch.shape, generator=torch.Generator().manual_seed(0)) > 0.5) * 0.1
    network.inner.weight.data.mul_(0.2)
    result = robustness(wrap(network, size=4), batch, [0.05])
    assert result[FGSM].accuracies == (1.0, 1.0)
    assert result[PGD].accuracies[1] < 0.5
    assert result.zero_gradients == 1
    names = [diagnostic.name for diagnostic in result.diagnostics]
    assert names == ["zero gradients", "masked gradients"]
    broken = result.pgd_only[0]
    assert f"PGD changes {broken} of 40 predictions" in result.diagnostics[1].message


def test_pgd_breaks_more_than_fgsm_and_says_so():
    class Bowl(nn.Module):
        """The gradient at the image leads into a local minimum; the way out lies elsewhere."""

        def forward(self, x):
            u = (x - 0.5).flatten(1).mean(1) * 20
            margin = 1 + 0.2 * u - 1.5 * (u.clamp(min=-1, max=1).square())
            return torch.stack([margin, torch.zeros_like(margin)], 1)

    batch = torch.full((6, 3, 4, 4), 0.5)
    result = robustness(wrap(Bowl(), size=4), batch, [0.02, 0.05], pgd_steps=20)
    assert result[PGD].correct[2] == 0
    assert all(a >= b for a, b in zip(result[FGSM].correct, result[PGD].correct, strict=True))


def test_with_labels_pgd_makes_right_predictions_wrong():
    words = [
        diagnose_pgd(pgd_only, 0, standing, "1/255", labeled=labeled, fgsm_like_noise=False).message
        for pgd_only, standing, labeled in ((6, 9, True), (1, 1, True), (6, 9, False))
    ]
    assert words[0].startswith(
        "PGD makes 6 of 9 predictions wrong that stay right under FGSM at 1/255, so FGSM alone"
    )
    assert "1 of 1 prediction wrong that stays right under" in words[1]
    assert words[2].startswith("PGD changes 6 of 9 predictions that FGSM at 1/255 does not change,")


@pytest.mark.parametrize(
    ("pgd_only", "fgsm_only", "name"),
    [
        (1, 0, "FGSM and PGD disagree"),
        (4, 0, "FGSM and PGD disagree"),  # heads four times in a row: 1 of 16
        (5, 0, "stronger under FGSM than under PGD"),  # five times: 1 of 32
        (8, 6, "FGSM and PGD disagree"),
        (80, 6, "stronger under FGSM than under PGD"),
    ],
)
@pytest.mark.parametrize("labeled", [True, False])
def test_few_predictions_do_not_show_that_fgsm_overstates(pgd_only, fgsm_only, name, labeled):
    diagnostic = diagnose_pgd(
        pgd_only, fgsm_only, 100, "1/255", labeled=labeled, fgsm_like_noise=False
    )
    assert diagnostic.name == name
    assert ("overstates" in diagnostic.message) == name.startswith("stronger")


def test_one_prediction_does_not_show_that_gradients_are_masked():
    assert diagnose_pgd(1, 0, 1, "1/255", labeled=False, fgsm_like_noise=True).name == (
        "FGSM and PGD disagree"
    )
    assert diagnose_pgd(9, 0, 9, "1/255", labeled=False, fgsm_like_noise=True).name == (
        "masked gradients"
    )


# diagnostics


def names(network, batch=None, **options):
    model = wrap(network, size=SIZE, **options)
    batch = images() if batch is None else batch
    single = {diagnostic.name for diagnostic in fgsm(model, batch, ["1/255"]).diagnostics}
    other = {
        diagnostic.name
        for diagnostic in robustness(model, batch, ["1/255"], pgd_steps=0).diagnostics
    }
    assert single == other
    return single


class Probabilities(nn.Module):
    """Probabilities with powers of 2 instead of e: no node holds their logits."""

    def forward(self, logits):
        return 2**logits / (2**logits).sum(1, keepdim=True)


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.3 * torch.randn_like(x)


class NumpyNoise(nn.Module):
    def forward(self, x):
        return x + 0.3 * torch.from_numpy(np.random.rand(*x.shape)).to(x)


def test_a_sound_network_gives_no_diagnostics():
    assert names(small()) == set()
    assert names(nn.Sequential(small(), nn.Softmax(1))) == set()  # known, and left out


def test_each_trouble_has_its_name():
    with pytest.warns(ConvlensWarning, match="read as probabilities"):
        diagnosed = names(nn.Sequential(small(), Probabilities()))
    assert diagnosed == {"outputs that are no logits"}
    with pytest.warns(ConvlensWarning, match="draws random numbers in evaluation mode"):
        diagnosed = names(nn.Sequential(Noise(), small()))
    assert diagnosed == {"randomness in the network"}
    assert names(nn.Sequential(NumpyNoise(), small())) == {"randomness in the network"}
    assert names(nn.Sequential(nn.Dropout(), small()).train()) == {"training mode"}
    assert names(small().train()) == set()  # nothing in it minds its mode
    assert names(small(), bounds=(0, 255)) == {"images that fill little of the bounds"}
    with pytest.raises(ConvlensError, match="outside the model's bounds"):
        fgsm(wrap(small(), size=SIZE), images() * 2)
