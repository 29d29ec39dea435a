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
        diagnose_pgd(1, standing, "1/255", labeled=labeled, fgsm_like_noise=False).message
        for standing, labeled in ((2, True), (1, True), (2, False))
    ]
    assert words[0].startswith(
        "PGD makes 1 of 2 predictions wrong that stay right under FGSM at 1/255, so FGSM alone"
    )
    assert "1 of 1 prediction wrong that stays right under" in words[1]
    assert words[2].startswith("PGD changes 1 of 2 predictions that FGSM at 1/255 does not change,")


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


def test_a_sound_network_gives_no_cautions():
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
