"""FGSM, compared with torchattacks and closed forms."""

import pytest
import torch
import torchattacks
import torchvision
from torch import nn
from torch.nn import functional as F

from convlens import ConvlensError, fgsm, trace, wrap
from convlens.analyses.attacks.fgsm_result import Fgsm
from support.attacked_networks import small

SIZE = 32


def images(count=2, size=SIZE, bounds=(0.0, 1.0), seed=0):
    drawn = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return drawn * (bounds[1] - bounds[0]) + bounds[0]


def ulp(bound):
    """The rounding error of float32 at values of this size."""
    return torch.finfo(torch.float32).eps * bound


# against torchattacks


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None, num_classes=10).eval()


@pytest.mark.parametrize("count", [1, 4])
def test_bit_for_bit_what_torchattacks_makes(resnet, count):
    network, batch = resnet, images(count, 64)
    with torch.no_grad():
        answers = network(batch).argmax(1)
    for classes, target in ((None, answers), (torch.arange(count) + 3, torch.arange(count) + 3)):
        result = fgsm(
            wrap(network, size=64), batch, ["1/255", 0.03, "8/255"], classes=classes, score=False
        )
        assert torch.equal(result.classes, target)
        for index, epsilon in enumerate((1 / 255, 0.03, 8 / 255)):
            attack = torchattacks.FGSM(network, eps=epsilon)
            attack.set_device("cpu")
            assert torch.equal(result.adversarial(index), attack(batch, target))
    assert result.class_origins == ("given",) * count


def test_bit_for_bit_with_normalization_inside():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    network = small()
    result = fgsm(wrap(network, mean=mean, std=std, size=SIZE), images(), ["4/255"], score=False)
    attack = torchattacks.FGSM(network, eps=4 / 255)
    attack.set_device("cpu")
    attack.set_normalization_used(mean=mean, std=std)
    # torchattacks takes normalized images and gives normalized ones back.
    shape = (1, 3, 1, 1)
    shift, scale = torch.tensor(mean).view(shape), torch.tensor(std).view(shape)
    theirs = attack((images() - shift) / scale, result.classes) * scale + shift
    torch.testing.assert_close(result.adversarial(0), theirs, rtol=0, atol=1e-6)


# closed form: softmax regression


class Regression(nn.Module):
    def __init__(self, classes, count):
        super().__init__()
        torch.manual_seed(1)
        self.linear = nn.Linear(count, classes).double()

    def forward(self, x):
        return self.linear(x.flatten(1))


def test_two_classes_move_by_epsilon_times_the_one_norm():
    """The worst case of a linear network: the margin shrinks by epsilon times |w1 - w0|_1."""
    network = Regression(2, 3 * 4 * 4)
    batch = images(5, 4) * 0.5 + 0.25
    result = fgsm(wrap(network, size=4), batch, [0.05, 0.2], classes=1)
    weight = network.linear.weight[1] - network.linear.weight[0]
    assert torch.equal(result.signs.flatten(1), -weight.sign().expand(5, -1).to(torch.int8))
    margin = result.logits[:, 1] - result.logits[:, 0]
    for index, epsilon in enumerate((0.05, 0.2)):
        attacked = result.adversarial_logits[index]
        after = attacked[:, 1] - attacked[:, 0]
        expected = margin - epsilon * weight.abs().sum().float()
        torch.testing.assert_close(after, expected, rtol=0, atol=1e-5)
        # No change of that size does worse: try random corners of the cube.
        corners = torch.rand(200, 48).sub(0.5).sign() * epsilon
        moved = batch[0].flatten() + corners
        others = network.linear(moved.double()).float()
        assert (others[:, 1] - others[:, 0] >= after[0] - 1e-5).all()


def test_gradient_of_softmax_regression_in_closed_form():
    network = Regression(4, 3 * 4 * 4)
    batch = images(3, 4)
    target = torch.tensor([2, 0, 3])
    result = fgsm(wrap(network, size=4), batch, ["1/255"], classes=target)
    with torch.no_grad():
        probabilities = network(batch.double()).softmax(1)
        slope = (probabilities - F.one_hot(target, 4)) @ network.linear.weight
    assert torch.equal(result.signs.flatten(1), slope.sign().to(torch.int8))
    expected = -probabilities[range(3), target].log()
    torch.testing.assert_close(result.losses, expected.float())


# sizes and bounds


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)])
def test_change_is_at_most_epsilon_and_stays_in_the_bounds(bounds):
    model = wrap(small(), size=SIZE, bounds=bounds, std=bounds[1] - bounds[0])
    batch = images(4, bounds=bounds)
    batch[0, :, :8], batch[0, :, 8:16] = bounds  # already at the ends
    result = fgsm(model, batch, ["1/255", "8/255", "128/255"])
    span = bounds[1] - bounds[0]
    assert result.fractions == pytest.approx((1 / 255, 8 / 255, 128 / 255), rel=1e-12)
    for index, epsilon in enumerate(result.epsilons):
        assert epsilon == pytest.approx(result.fractions[index] * span)
        after = result.adversarial(index)
        assert after.min() >= bounds[0] and after.max() <= bounds[1]
        # Written out: unchanged, or by epsilon, or as far as the bounds let it.
        expected = (batch.double() + epsilon * result.signs.double()).clamp(*bounds)
        torch.testing.assert_close(
            after.double(), expected, rtol=0, atol=ulp(max(map(abs, bounds)))
        )
        measured = (after - batch).abs().amax((1, 2, 3))
        assert torch.equal(result.largest_changes[index], measured)
        assert (measured <= epsilon * (1 + 1e-6) + ulp(max(map(abs, bounds)))).all()
        assert (measured >= epsilon * (1 - 1e-3)).all()


def test_largest_change_keeps_to_epsilon_to_a_millionth():
    result = fgsm(wrap(small(), size=SIZE), images(8), ["1/255", "2/255", "4/255", "8/255"])
    limits = torch.tensor(result.epsilons, dtype=torch.float64)[:, None]
    # Float32 near 1 is in steps of 6e-8, which 1/255 feels as a hundred-thousandth.
    assert (result.largest_changes.double() <= limits * (1 + 1e-6) + 6e-8).all()


def test_epsilon_zero_is_the_identity():
    result = fgsm(wrap(small(), size=SIZE), images(), [0, "0/255"])
    assert torch.equal(result.adversarial(0), images())
    assert torch.equal(result.adversarial(1), images())
    assert not result.largest_changes.any()
    assert torch.equal(result.adversarial_logits[0], result.logits)
    assert not result.flipped.any() and not result.noise_flipped.any()


def test_fraction_and_number_are_the_same_where_the_span_is_one():
    model = wrap(small(), size=SIZE)
    first, second = (fgsm(model, images(), [epsilon]) for epsilon in ("8/255", 8 / 255))
    assert first == second
    wide = wrap(small(), size=SIZE, bounds=(0, 255), std=255.0)
    result = fgsm(wide, images(bounds=(0, 255)), ["8/255", 8, "8"])
    assert result.epsilons == (8.0, 8.0, 8.0)
    assert result.fractions == (8 / 255,) * 3


@pytest.mark.parametrize(
    "epsilon", ["eight", "8/0", "8/255/2", -0.1, "-1/255", 1.5, "256/255", float("nan"),
                float("inf"), ""]
)  # fmt: skip
def test_epsilon_that_cannot_be_used(epsilon):
    with pytest.raises(ConvlensError, match="epsilon"):
        fgsm(wrap(small(), size=SIZE), images(), [epsilon])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (images() + 0.01, "outside the model's bounds"),
        (images() * 255, "outside the model's bounds 0 to 1"),
        (images() - 1, "outside the model's bounds"),
        (images() * torch.nan, "outside the model's bounds"),
        (images()[:, :2], "images of shape"),
        (images()[0, 0], "images of shape"),
        (images()[:0], "images of shape"),
    ],
)
def test_images_that_cannot_be_used(batch, message):
    model = wrap(small(), size=SIZE)
    with pytest.raises(ConvlensError, match=message):
        fgsm(model, batch)
    assert fgsm(model, images(), score=False).signs.any()


def test_images_of_whole_numbers():
    model = wrap(small(), size=SIZE, bounds=(0, 255), std=255.0)
    whole = (images() * 255).round()
    try:
        result = fgsm(model, whole.to(torch.uint8), ["8/255"])
    except ConvlensError:
        return  # refused in words
    assert torch.equal(result.adversarial(0), fgsm(model, whole, ["8/255"]).adversarial(0))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (torch.tensor([0, 5]), "class outside 0 to 4"),
        (torch.tensor([-1, 0]), "class outside 0 to 4"),
        (torch.tensor([0]), r"classes of shape \(1,\) for 2 images"),
        (5, "class 5 of 5"),
        ("dog", "no labels"),
    ],
)
def test_class_that_cannot_be_used(classes, message):
    with pytest.raises(ConvlensError, match=message):
        fgsm(wrap(small(), size=SIZE), images(), classes=classes)


# cost


def test_one_forward_and_one_backward_pass_for_all_epsilons():
    network = small()
    model = wrap(network, size=SIZE)
    trace(model)  # made once, on a copy
    counted = {"forward": 0, "images": 0, "backward": 0}

    def forward(module, inputs, output):
        counted["forward"] += 1
        counted["images"] += len(inputs[0])
        if output.requires_grad:
            output.register_hook(backward)

    def backward(slope):
        counted["backward"] += 1

    network[0].register_forward_hook(forward)
    fgsm(model, images(3), [k / 255 for k in range(1, 30)], score=False)
    assert counted == {"forward": 1, "images": 3, "backward": 1}
    fgsm(model, images(3), ["1/255", "2/255", "4/255"], score=True)
    assert counted["backward"] == 2
    assert counted["images"] == 3 + 3 + 2 * 3 * 3 + 3  # x, x' and control three times, x again


# what the gradient is


def test_zero_gradients_are_counted_and_not_moved():
    class Blind(nn.Module):
        """Sees the left half only, and nothing of images whose first pixel is 1."""

        def __init__(self):
            super().__init__()
            self.inner = small()

        def forward(self, x):
            left_half = torch.cat([x[..., : SIZE // 2], torch.zeros_like(x[..., SIZE // 2 :])], 3)
            return self.inner(left_half * (x[:, :1, :1, :1] < 1))

    three = images(3)
    three[2, 0, 0, 0] = 1
    result = fgsm(wrap(Blind(), size=SIZE), three, ["8/255"], classes=0, score=False)
    expected = (result.signs == 0).double().mean((1, 2, 3))
    torch.testing.assert_close(result.zero_gradients.double(), expected, rtol=1e-6, atol=0)
    assert (result.zero_gradients[:2] >= 0.5).all() and (result.zero_gradients[:2] < 0.6).all()
    assert result.zero_gradients[2] == 1
    assert torch.equal(result.adversarial(0)[2], three[2])
    assert torch.equal(result.adversarial(0)[..., SIZE // 2 :], three[..., SIZE // 2 :])


@pytest.mark.parametrize("count", [2, 7])
def test_images_do_not_depend_on_their_batch_mates(count):
    model = wrap(small().train(), size=SIZE)
    many = images(count)
    together = fgsm(model, many, ["4/255"])
    for index in range(count):
        alone = fgsm(model, many[index : index + 1], ["4/255"])
        assert torch.equal(together.signs[index], alone.signs[0])
        torch.testing.assert_close(together.losses[index], alone.losses[0])
        torch.testing.assert_close(
            together.adversarial_logits[:, index], alone.adversarial_logits[:, 0]
        )


@pytest.mark.parametrize("end", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1)])
def test_network_that_ends_in_a_softmax_uses_its_logits(end):
    network = small()
    with torch.no_grad():  # so sure that the softmax's own gradient is nothing
        network[-1].weight.mul_(400)
    plain = fgsm(wrap(network, size=SIZE), images(), ["4/255"], classes=1)
    ended = fgsm(wrap(nn.Sequential(network, end), size=SIZE), images(), ["4/255"], classes=1)
    assert torch.equal(plain.signs, ended.signs)
    assert torch.equal(plain.adversarial_logits, ended.adversarial_logits)


def test_noise_moves_the_same_pixels_by_the_same_amount_and_is_seeded():
    network = small()
    model = wrap(network, size=SIZE)
    inputs_seen = []
    network.register_forward_hook(
        lambda module, inputs, output: inputs_seen.append(inputs[0].clone())
    )
    trace(model)
    inputs_seen.clear()
    batch = images() * 0.8 + 0.1
    fgsm(model, batch, ["4/255"], seed=3)
    original, attacked, noise, again = inputs_seen
    assert torch.equal(again, original)  # to see whether the answer is the same twice
    assert torch.equal(original, batch)
    torch.testing.assert_close((noise - batch).abs(), (attacked - batch).abs(), rtol=0, atol=2e-7)
    agree = ((noise - batch) * (attacked - batch) > 0).float().mean()
    assert 0.45 < agree < 0.55
    first, second, third = (fgsm(model, batch, ["4/255"], seed=seed) for seed in (3, 3, 4))
    assert first == second
    assert not torch.equal(first.noise_logits, third.noise_logits)


def test_gradient_that_is_not_finite_is_an_error():
    class Norm(nn.Module):
        def forward(self, x):
            return torch.stack([x.flatten(1).norm(dim=1), x.mean((1, 2, 3))], 1).sqrt()

    with pytest.raises(ConvlensError, match="not finite"):
        fgsm(wrap(Norm(), size=SIZE), torch.zeros(1, 3, SIZE, SIZE))


def test_saved_attack_is_equal_after_loading(tmp_path):
    result = fgsm(wrap(small(), size=SIZE), images(), ["4/255"])
    result.save(tmp_path / "attack")
    assert Fgsm.load(tmp_path / "attack") == result
