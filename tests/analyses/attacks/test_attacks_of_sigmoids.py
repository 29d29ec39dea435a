"""Attacks on networks that end in sigmoids, and on networks with one output, in closed form."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convlens import (
    ConvlensError,
    fgsm,
    find_flip,
    internal_changes,
    pgd,
    robustness,
)
from convlens.models.labels import NEGATIVE, class_name
from support.sigmoid_networks import SIZE, Mapped, images, model

NUMBERS = 3 * SIZE * SIZE


class Linear(nn.Module):
    """Logits that are linear in the image; logits of the first images have both signs."""

    def __init__(self, classes=1, end=None):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.linear = nn.Linear(NUMBERS, classes)
        with torch.no_grad():
            weights = torch.randn(classes, NUMBERS, generator=generator) / 8
            self.linear.weight.copy_(weights)
            logits = images(6).flatten(1) @ weights.T
            self.linear.bias.copy_(-logits.median(dim=0).values - 0.01)
        self.end = end or nn.Identity()

    def forward(self, x):
        return self.end(self.linear(x.flatten(1)))

    def logits(self, x):
        return F.linear(x.flatten(1), self.linear.weight, self.linear.bias).detach()


@pytest.mark.parametrize("end", [nn.Sigmoid(), None])
@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
def test_fgsm_of_one_output_in_closed_form(end, loss):
    network = Linear(1, end)
    batch = images(6)
    logits = network.logits(batch)
    assert bool((logits > 0).any())
    assert bool((logits < 0).any())
    least = logits.abs() / network.linear.weight.detach().abs().sum()  # epsilon of the flip
    middle = float(least.median())
    result = fgsm(model(network), batch, [middle * 0.5, middle * 1.01], loss=loss)
    moved = -logits.sign() * network.linear.weight.detach().abs().sum()
    assert result.adversarial_logits is not None
    assert result.flipped is not None
    for number, size in enumerate(result.epsilons):
        torch.testing.assert_close(
            result.adversarial_logits[number], logits + size * moved, atol=1e-4, rtol=1e-4
        )
        assert result.flipped[number].tolist() == (size > least)[:, 0].tolist()
    assert 0 < int(result.flipped[1].sum()) < 6
    right = (logits > 0).float()
    expected = F.binary_cross_entropy_with_logits(logits, right, reduction="none")[:, 0]
    expected = expected if loss == "cross-entropy" else -logits.abs()[:, 0]
    torch.testing.assert_close(result.losses, expected)
    assert result.names == tuple(
        class_name(None, 0 if positive else NEGATIVE) for positive in right[:, 0].tolist()
    )
    assert bool((result.noise_flipped == (result.noise_predictions != result.predictions)).all())


def test_pgd_of_one_output_ends_in_the_same_corner():
    network = Linear(1, nn.Sigmoid())
    batch = images(6)
    logits, reach = network.logits(batch), network.linear.weight.detach().abs().sum()
    size = float((logits.abs() / reach).median()) * 1.01
    result = pgd(model(network), batch, size, steps=10)
    torch.testing.assert_close(
        result.adversarial_logits, logits - logits.sign() * size * reach, atol=1e-4, rtol=1e-4
    )
    assert result.flipped.tolist() == (size > logits.abs() / reach)[:, 0].tolist()


def test_one_output_is_moved_to_either_side():
    network = Linear(1, nn.Sigmoid())
    dog = model(network, labels=["dog"])
    batch = images(6)
    for target, sign in (("dog", 1), ("not dog", -1), (0, 1), (NEGATIVE, -1)):
        result = fgsm(dog, batch, [0.1], target=target)
        assert result.adversarial_logits is not None
        assert bool((result.adversarial_logits[0] * sign > network.logits(batch) * sign).all())
        assert bool(result.reached.all())
    labels = [0, NEGATIVE, None, 0, NEGATIVE, None]
    result = fgsm(dog, batch, [0.1], labels=labels)
    predicted = [0 if logit > 0 else NEGATIVE for logit in network.logits(batch)[:, 0].tolist()]
    assert result.classes.tolist() == [
        old if target_label is None else target_label
        for target_label, old in zip(labels, predicted, strict=True)
    ]
    with pytest.raises(ConvlensError, match="a label outside -1 to 0"):
        fgsm(dog, batch[:1], labels=[1])
    with pytest.raises(ConvlensError, match="'dog' or 'not dog'"):
        fgsm(dog, batch, target="cat")


def test_curve_of_one_output_counts_signs_of_the_logit():
    network = Linear(1, nn.Sigmoid())
    batch = images(6)
    logits = network.logits(batch)
    least = (logits.abs() / network.linear.weight.detach().abs().sum())[:, 0]
    size = float(least.median()) * 1.01
    result = robustness(model(network), batch, [size], pgd_steps=10)
    stand = int((least > size).sum())
    assert result["FGSM"].correct == (6, stand)
    assert result["PGD"].correct == (6, stand)
    right = [(NEGATIVE,), (0,), (NEGATIVE,), None, (0,), (0, NEGATIVE)]
    predicted = [0 if logit > 0 else NEGATIVE for logit in logits[:, 0].tolist()]
    labeled = robustness(model(network), batch, [size], labels=right, pgd_steps=0)
    assert labeled.images == 5
    assert labeled["FGSM"].correct[0] == sum(
        answer in classes for answer, classes in zip(predicted, right, strict=True) if classes
    )


def test_flips_and_the_inside_of_one_output():
    network = Mapped(1, nn.Sigmoid())
    batch = images(4)
    attack = fgsm(model(network), batch, ["32/255"])
    result = find_flip(model(network), attack, levels=[1, 64])
    with torch.no_grad():
        share = network(batch)[:, 0]
    assert [prediction == 0 for prediction in result.original_predictions.tolist()] == (
        share > 0.5
    ).tolist()
    assert bool((result.confidences >= 0.5).all())  # of the answer that is given
    assert any(result.flip_levels)
    changes = internal_changes(model(network), attack)
    assert changes.before is not None
    assert {name for names in changes.before.names for name in names} == {"class 0"}


def test_fgsm_of_several_sigmoids_minds_the_one_class():
    network = Linear(4, nn.Sigmoid())
    batch = images(5)
    result = fgsm(model(network), batch, [0.01])
    with torch.no_grad():
        output = network(batch)
    top = output.argmax(1)
    assert result.classes.tolist() == top.tolist()
    torch.testing.assert_close(result.losses, -output.amax(1).log())
    signs = -network.linear.weight[top].sign().view(-1, 3, SIZE, SIZE)
    assert torch.equal(result.signs.float(), signs.detach())
    assert "binary cross-entropy" in result.formula
    changed = batch + 0.01 * signs
    with torch.no_grad():
        assert result.flipped is not None
        assert result.flipped[0].tolist() == (network(changed).argmax(1) != top).tolist()


def test_one_class_under_a_softmax_is_refused():
    with pytest.raises(ConvlensError, match="one class, which no attack can change"):
        fgsm(model(Linear(1, nn.Softmax(1))), images())


def test_one_output_without_sigmoid_has_a_caution():
    def names(network):
        return {
            diagnostic.name for diagnostic in fgsm(model(network), images(), [0.01]).diagnostics
        }

    assert names(Linear()) == {"one output"}
    assert names(Linear(1, nn.Sigmoid())) == names(Linear(2)) == set()
