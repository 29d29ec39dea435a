"""PGD against torchattacks and the worst case of a linear network."""

import pytest
import torch
import torchattacks

from convlens import ConvlensError, pgd, wrap
from support.attacked_networks import SIZE, Linear, easy, images, small


@pytest.mark.parametrize("epsilon", [2 / 255, 0.1])
def test_pgd_bit_for_bit_what_torchattacks_makes(epsilon):
    network, batch = small(), images()
    labels = torch.tensor([0, 3, 2, 4])
    result = pgd(wrap(network, size=SIZE), batch, epsilon, classes=labels, steps=7,
                step_size=epsilon / 3, random_start=False)  # fmt: skip
    attack = torchattacks.PGD(network, eps=epsilon, alpha=epsilon / 3, steps=7, random_start=False)
    attack.set_device("cpu")
    assert torch.equal(result.adversarial, attack(batch, labels))
    attack.set_mode_targeted_by_label(quiet=True)
    result = pgd(wrap(network, size=SIZE), batch, epsilon, target=labels, steps=7,
                step_size=epsilon / 3, random_start=False)  # fmt: skip
    assert torch.equal(result.adversarial, attack(batch, labels))


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_pgd_keeps_to_epsilon_and_bounds_and_is_seeded(bounds):
    span = bounds[1] - bounds[0]
    batch = images() * span + bounds[0]
    batch[0, :, :8], batch[0, :, 8:] = bounds
    model = wrap(small(), size=SIZE, bounds=bounds, std=span)
    first, same, second = (pgd(model, batch, "8/255", seed=seed) for seed in (0, 0, 1))
    assert first == same
    assert not torch.equal(first.adversarial, second.adversarial)
    apart = (first.adversarial - batch).abs().amax((1, 2, 3))
    assert torch.equal(apart, first.largest_changes)
    assert first.epsilon == pytest.approx(8 / 255 * span)
    assert (apart <= first.epsilon * (1 + 1e-6) + 1.2e-7 * max(map(abs, bounds))).all()
    assert (apart >= first.epsilon * 0.99).all()
    assert first.adversarial.min() >= bounds[0] and first.adversarial.max() <= bounds[1]


def test_pgd_reaches_the_worst_case_of_a_linear_network():
    network = Linear()
    batch, margins = easy(network, 6)
    result = pgd(wrap(network, size=4), batch, 0.05, classes=1)
    worst = margins - 0.05 * network.weight.abs().sum()
    after = result.adversarial_logits[:, 1].double()
    torch.testing.assert_close(after, worst.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"steps": 0}, "steps"), ({"step_size": -1.0}, "a step of"), ({"loss": "hinge"}, "loss"),
     ({"classes": 1, "target": 2}, "more than one")],
)  # fmt: skip
def test_pgd_refuses(options, message):
    with pytest.raises(ConvlensError, match=message):
        pgd(wrap(small(), size=SIZE), images(), **options)
