"""PGD, accuracy against epsilon and its diagnostics, tested by torchattacks and closed forms."""

import numpy as np
import pytest
import torch
import torchattacks
from PIL import Image
from scipy.stats import binomtest
from torch import nn

from convlens import ConvlensError, Result, fgsm, open_data, pgd, robustness, wrap
from convlens.analyses.attacks.robustness import FGSM, NOISE, PGD
from convlens.analyses.attacks.robustness_reducer import RobustnessReducer
from convlens.passes.options import PassOptions
from convlens.passes.proportion import wilson_interval
from convlens.passes.random_numbers import random_signs, random_uniform
from support.folders import SHARED

SIZE = 16


def images(count=4, size=SIZE, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def small(classes=5):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.Tanh(), nn.Conv2d(6, 6, 3), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes),
    ).eval()  # fmt: skip


class Linear(nn.Module):
    """Two classes: the margin of class 1 is w·x + b."""

    def __init__(self, count=3 * 4 * 4, scale=1.0):
        super().__init__()
        torch.manual_seed(1)
        self.weight = nn.Parameter(torch.randn(count, dtype=torch.float64) * scale)

    def forward(self, x):
        margin = (x.double().flatten(1) - 0.5) @ self.weight
        return torch.stack([torch.zeros_like(margin), margin], 1)


def easy(network, count=40):
    """Images well inside the bounds, with margins of many sizes."""
    drawn = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(2)) * 0.2 + 0.4
    margins = network(drawn)[:, 1].detach()
    return drawn, margins


class Stepped(nn.Module):
    """A linear network behind pixels that are flat around every tenth: no gradient at the image."""

    def __init__(self):
        super().__init__()
        self.inner = Linear()

    def forward(self, x):
        tenths = (x * 10).round() / 10
        return self.inner(torch.where((x - tenths).abs() < 0.004, tenths, x))


# projected gradient descent


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


# margin, target, labels


def test_margin_has_a_gradient_where_the_cross_entropy_has_none():
    network = small()
    with torch.no_grad():
        network[-1].weight.mul_(1e5)
    model = wrap(network, size=SIZE)
    plain, other = (
        fgsm(model, images(), ["4/255"], loss=loss) for loss in ("cross-entropy", "margin")
    )
    assert (plain.zero_gradients > 0.9).all() and (other.zero_gradients < 0.2).all()
    assert [diagnostic.name for diagnostic in plain.diagnostics] == ["zero gradients"]
    assert "margin" in plain.diagnostics[0].remedy
    assert other.diagnostics == ()
    with torch.no_grad():
        logits = network(images())
    top = logits.topk(2).values
    torch.testing.assert_close(other.losses, top[:, 1] - top[:, 0])
    assert other.loss == "margin" and "margin" in other.formula


def test_margin_is_that_of_the_class_that_is_given():
    model = wrap(small(), size=SIZE)
    result = fgsm(model, images(), ["4/255"], classes=2, loss="margin")
    others = result.logits.clone()
    others[:, 2] = -torch.inf
    torch.testing.assert_close(result.losses, others.amax(1) - result.logits[:, 2])


def test_target_walks_the_other_way():
    model = wrap(small(), size=SIZE)
    away = fgsm(model, images(), ["8/255"], classes=3)
    towards = fgsm(model, images(), ["8/255"], target=3)
    assert torch.equal(towards.signs, -away.signs)
    assert towards.class_origins == ("target",) * 4
    assert "x - epsilon" in towards.formula and "x + epsilon" in away.formula
    before = towards.logits.softmax(1)[:, 3]
    after = towards.adversarial_logits[0].softmax(1)[:, 3]
    assert (after > before).all()
    everywhere = fgsm(model, images(), [0.9], target=3)
    assert torch.equal(everywhere.reached, everywhere.adversarial_logits.argmax(2) == 3)


def test_labels_stand_in_for_the_answer_where_they_are_known():
    model = wrap(small(), size=SIZE)
    result = fgsm(model, images(3), ["8/255"], labels=[2, None, 0])
    answer = int(result.logits[1].argmax())
    assert result.classes.tolist() == [2, answer, 0]
    assert result.class_origins == ("label", "prediction", "label")
    batch = fgsm(model, images(3), ["8/255"], classes=torch.tensor([2, answer, 0]))
    assert torch.equal(result.signs, batch.signs)


def test_before_clipping_is_the_formula_alone():
    result = fgsm(wrap(small(), size=SIZE), images(), [0.3])
    expected = result.images + 0.3 * result.signs
    torch.testing.assert_close(result.unclipped(0), expected, rtol=0, atol=1e-7)
    assert result.unclipped(0).max() > 1 and result.adversarial(0).max() <= 1
    assert torch.equal(result.unclipped(0).clamp(0, 1), result.adversarial(0))


def test_half_precision_images_never_change_by_more():
    for kind in (torch.float16, torch.bfloat16):
        batch = images().to(kind)
        result = fgsm(wrap(small(), size=SIZE), batch, ["8/255"])
        apart = (result.adversarial(0).double() - batch.double()).abs().max()
        assert apart <= 8 / 255 * (1 + 2e-6)


def test_no_epsilon_is_refused():
    model = wrap(small(), size=SIZE)
    for nothing in ([], ()):
        with pytest.raises(ConvlensError, match="at least one"):
            fgsm(model, images(), nothing)


# the curve


def test_intervals_are_those_of_scipy():
    for count, total in ((0, 5), (3, 7), (5, 5), (61, 1000)):
        theirs = binomtest(count, total).proportion_ci(method="wilson")
        assert wilson_interval(count, total) == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_curve_of_a_linear_network_in_closed_form():
    network = Linear()
    batch, margins = easy(network)
    labels = [[int(margin > 0)] for margin in margins]
    labels[3] = [1 - labels[3][0]]  # one that the network gets wrong
    epsilons = (0.0005, 0.002, 0.005)
    result = robustness(
        wrap(network, size=4),
        batch,
        epsilons,
        labels=labels,
        pass_options=PassOptions(batch_size=16),
    )
    reach = float(network.weight.detach().abs().sum())
    side = torch.tensor([2 * label[0] - 1 for label in labels]) * margins
    expected = [int((side > epsilon * reach).sum()) for epsilon in (0, *epsilons)]
    assert 0 < expected[-1] < expected[1] < expected[0] == 39
    assert result[FGSM].correct == tuple(expected) == result[PGD].correct
    assert result.pgd_only == result.fgsm_only == (0, 0, 0)
    assert result[FGSM].accuracies == pytest.approx([count / 40 for count in expected])
    assert result[FGSM].low[2], result[FGSM].high[2] == wilson_interval(expected[2], 40)
    noise = [39]
    for epsilon in epsilons:
        moved = batch + epsilon * random_signs(batch, torch.arange(40), 0)
        answers = network(moved).argmax(1).tolist()
        noise.append(sum([answer] == right for answer, right in zip(answers, labels, strict=True)))
    assert result[NOISE].correct == tuple(noise)
    assert result.largest_changes == pytest.approx(epsilons, abs=1e-7)
    assert result.diagnostics == () and result.zero_gradients == 0


def test_curve_counts_what_torchattacks_flips():
    network = small(10)
    batch = images(12)
    with torch.no_grad():
        network[-1].bias -= network(batch).mean(0)
        answers = network(batch).argmax(1)
    levels = (1, 3, 9)
    result = robustness(
        wrap(network, size=SIZE),
        batch,
        [k / 255 for k in levels],
        steps=0,
        pass_options=PassOptions(batch_size=5),
    )
    correct = [12]
    for level in levels:
        attack = torchattacks.FGSM(network, eps=level / 255)
        attack.set_device("cpu")
        correct.append(int((network(attack(batch, answers)).argmax(1) == answers).sum()))
    assert result[FGSM].correct == tuple(correct) and correct[-1] < correct[1]
    assert result.reference == "prediction"
    assert [curve.name for curve in result.curves] == [FGSM, NOISE]


def test_parts_of_a_data_set_add_up_in_any_order_and_batch():
    network = small(10)
    batch = images(13)
    with torch.no_grad():
        network[-1].bias -= network(batch).mean(0)
    model = wrap(network, size=SIZE)
    work = RobustnessReducer(model, (1 / 255, 4 / 255), None, "cross-entropy", 3, 5)
    states = []
    for rows in (range(0, 4), range(4, 13)):
        state = work.initial_state()
        work.process_batch(state, batch[list(rows)], torch.tensor(list(rows)))
        states.append(state)
    first, second = (work.merge(*pair) for pair in (states, states[::-1]))
    whole = work.initial_state()
    for number in reversed(range(13)):
        work.process_batch(whole, batch[number : number + 1], torch.tensor([number]))
    assert whole.keys() == first.keys()
    for name, expected in whole.items():
        assert torch.equal(first[name], expected) and torch.equal(second[name], expected), name
        assert expected.dtype == torch.int64
    assert 0 < whole["pgd"][1] < 13 or whole["fgsm"][1] < 13


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
    assert f"PGD breaks {broken} of the 40 answers" in result.diagnostics[1].message


def test_pgd_breaks_more_than_fgsm_and_says_so():
    class Bowl(nn.Module):
        """The gradient at the image leads into a local minimum; the way out lies elsewhere."""

        def forward(self, x):
            u = (x - 0.5).flatten(1).mean(1) * 20
            margin = 1 + 0.2 * u - 1.5 * (u.clamp(min=-1, max=1).square())
            return torch.stack([margin, torch.zeros_like(margin)], 1)

    batch = torch.full((6, 3, 4, 4), 0.5)
    result = robustness(wrap(Bowl(), size=4), batch, [0.02, 0.05], steps=20)
    assert result[PGD].correct[2] == 0
    assert all(a >= b for a, b in zip(result[FGSM].correct, result[PGD].correct, strict=True))


def test_a_pass_that_was_stopped_goes_on(tmp_path):
    network = small(10)
    model = wrap(network, size=SIZE)
    batch = images(9)
    whole = robustness(model, batch, ["4/255"], steps=2, pass_options=PassOptions(batch_size=2))
    runs = []

    def stop(stage, done, total):
        runs.append(done)
        if done == 4:
            raise KeyboardInterrupt

    folder = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        robustness(
            model,
            batch,
            ["4/255"],
            steps=2,
            pass_options=PassOptions(
                batch_size=2, resume_folder=folder, save_interval=-1, progress=stop
            ),
        )
    seen = []

    def progress(stage, done, total):
        seen.append(done)

    again = robustness(
        model,
        batch,
        ["4/255"],
        steps=2,
        pass_options=PassOptions(batch_size=2, resume_folder=folder, progress=progress),
    )
    assert seen[0] == 2  # what was saved before the batch at which it was stopped
    assert again == whole
    with pytest.raises(ConvlensError, match="different epsilons"):
        robustness(
            model,
            batch,
            ["8/255"],
            steps=2,
            pass_options=PassOptions(batch_size=2, resume_folder=folder),
        )


def test_pgd_leaves_an_image_alone_as_soon_as_its_answer_is_wrong():
    network = Linear()
    batch, margins = easy(network, 20)
    labels = [[int(margin > 0)] for margin in margins]
    passes = []
    network.register_full_backward_hook(lambda module, into, out: passes.append(len(out[0])))
    robustness(wrap(network, size=4), batch, [0.4, 0.5], labels=labels, steps=8)
    # One gradient for FGSM; at 0.4 all fall within few steps, and at 0.5 nothing is left to do.
    assert passes[0] == 20 and sum(passes[1:]) < 20 * 4


def test_what_is_drawn_is_the_images_own():
    batch = torch.zeros(5, 3, SIZE, SIZE)
    ids = torch.tensor([4, 0, 9, 7, 1])
    for draw in (random_signs, random_uniform):
        many = draw(batch, ids, 3)
        assert torch.equal(many[2:3], draw(batch[:1], torch.tensor([9]), 3))
        assert len({tuple(noise.flatten()[:40].tolist()) for noise in many}) == 5
        assert not torch.equal(many, draw(batch, ids, 4))
        assert abs(float(many.mean())) < 0.05 and many.abs().max() <= 1
    assert set(random_signs(batch, ids, 0).unique().tolist()) == {-1.0, 1.0}


def test_photos_without_a_label_and_damaged_ones_are_told(tmp_path):
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        pixels = generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    paths[2].write_bytes(b"\x89PNG")
    model = wrap(small(), size=SIZE)
    answers = model(model.prepare([paths[0]])).argmax(1).tolist()
    # Of several right classes any will do.
    labels = [[4, 3, *answers], None, [1], [2], ()]
    result = robustness(model, paths, ["1/255"], labels=labels, steps=1)
    assert (result.images, result.unlabeled, len(result.skipped)) == (2, 2, 1)
    assert "2.png" in result.skipped[0]
    assert result[FGSM].correct[0] >= 1 and result.reference == "label"
    with pytest.raises(ConvlensError, match=r"2\.png"):
        robustness(model, paths, ["1/255"], strict=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"epsilons": [0]}, "no epsilon above 0"), ({"loss": "x"}, "loss 'x'"),
     ({"steps": -1}, "steps"), ({"labels": [[1]]}, "1 labels for 4"),
     ({"labels": [[9], [0], [1], [1]]}, "outside 0 to 4"), ({"labels": [None] * 4}, "has a label")],
)  # fmt: skip
def test_curve_refuses(options, message):
    with pytest.raises(ConvlensError, match=message):
        robustness(wrap(small(), size=SIZE), images(), **options)


def test_saved_curve_is_equal_and_has_a_picture(tmp_path):
    result = robustness(wrap(small(), size=SIZE), images(), ["4/255"], steps=1)
    result.save(tmp_path / "curve")
    assert Result.load(tmp_path / "curve") == result
    assert (tmp_path / "curve" / "curve.png").is_file()


# diagnostics


def names(network, batch=None, **options):
    model = wrap(network, size=SIZE, **options)
    batch = images() if batch is None else batch
    single = {diagnostic.name for diagnostic in fgsm(model, batch, ["1/255"]).diagnostics}
    other = {
        diagnostic.name for diagnostic in robustness(model, batch, ["1/255"], steps=0).diagnostics
    }
    assert single == other
    return single


class Probabilities(nn.Module):
    """A softmax computed by hand, which the trace does not recognize."""

    def forward(self, logits):
        return logits.exp() / logits.exp().sum(1, keepdim=True)


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.3 * torch.randn_like(x)


class NumpyNoise(nn.Module):
    def forward(self, x):
        return x + float(np.random.rand())


def test_a_sound_network_gives_no_cautions():
    assert names(small()) == set()
    assert names(nn.Sequential(small(), nn.Softmax(1))) == set()  # known, and left out


def test_each_trouble_has_its_name():
    assert names(nn.Sequential(small(), Probabilities())) == {"softmax outputs given as logits"}
    assert names(nn.Sequential(Noise(), small())) == {"randomness in the network"}
    assert names(nn.Sequential(NumpyNoise(), small())) == {"randomness in the network"}
    assert names(nn.Sequential(nn.Dropout(), small()).train()) == {"training mode"}
    assert names(small().train()) == set()  # nothing in it minds its mode
    assert names(small(), bounds=(0, 255)) == {"images that fill little of the bounds"}
    with pytest.raises(ConvlensError, match="outside the model's bounds"):
        fgsm(wrap(small(), size=SIZE), images() * 2)


# against foolbox


def test_foolbox_makes_the_same_images():
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed")
    network, batch = small(), images()
    result = fgsm(wrap(network, size=SIZE), batch, ["4/255"], score=False)
    theirs = foolbox.attacks.LinfFastGradientAttack()(
        foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu"), batch, result.classes,
        epsilons=[4 / 255],
    )[1][0]  # fmt: skip
    # It projects onto the ball as well, which rounds once more.
    torch.testing.assert_close(result.adversarial(0), theirs, rtol=0, atol=1.2e-7)


# 3 against 7 on MNIST, as in the literature


def test_three_against_seven_on_mnist():
    """Logistic regression: about 1.6 % of errors, and 99 % at epsilon 0.25 (Goodfellow 2014)."""
    if not (SHARED / "data" / "mnist").is_dir():
        pytest.skip(f"no {SHARED / 'data' / 'mnist'}")
    data = open_data(str(SHARED / "data" / "mnist"))
    parts = []
    for part in (data.train, data.validation):
        of = part.classes
        in_pair = (of == 3) | (of == 7)
        parts.append((part.pixels[in_pair].flatten(1).double() / 255,
                      (of[in_pair] == 7).double()))  # fmt: skip
    (x, t), (inputs, right) = parts
    weight = torch.zeros(x.shape[1] + 1, dtype=torch.float64)
    rows = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    for _ in range(8):  # Newton, with a little weight decay
        p = torch.sigmoid(rows @ weight)
        slope = rows.T @ (p - t) + 1e-1 * weight
        curvature = (rows * (p * (1 - p))[:, None]).T @ rows + 1e-1 * torch.eye(len(weight))
        weight -= torch.linalg.solve(curvature, slope)

    class Regression(nn.Module):
        def forward(self, images):
            margin = images.double().flatten(1) @ weight[:-1] + weight[-1]
            return torch.stack([torch.zeros_like(margin), margin], 1)

    network = Regression()
    model = wrap(network, size=28, channels=1)
    images = inputs.float().view(-1, 1, 28, 28)
    labels = [[int(label)] for label in right]
    result = robustness(
        model, images, [0.25], labels=labels, steps=0, pass_options=PassOptions(batch_size=512)
    )
    errors = [1 - accuracy for accuracy in result[FGSM].accuracies]
    assert errors[0] < 0.03 and errors[1] > 0.97
    assert 1 - result[NOISE].accuracies[1] < 0.4  # the same pixels, by as much
