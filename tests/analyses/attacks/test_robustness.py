"""Accuracy against epsilon: closed forms, torchattacks, resumed passes."""

import numpy as np
import pytest
import torch
import torchattacks
from PIL import Image
from scipy.stats import binomtest
from torch import nn

from convlens import ConvlensError, Result, open_data, robustness, wrap
from convlens.analyses.attacks.robustness import FGSM, NOISE, PGD
from convlens.analyses.attacks.robustness_reducer import RobustnessReducer
from convlens.passes.options import PassOptions
from convlens.passes.proportion import wilson_interval
from convlens.passes.random_numbers import random_signs, random_uniform
from support.attacked_networks import SIZE, Linear, easy, images, small
from support.folders import SHARED

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
        pgd_steps=0,
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
    for attack in ("fgsm", "pgd"):  # which fools some images with the first epsilon
        assert 0 <= whole[attack][1] < whole[attack][0] < 13


def test_a_pass_that_was_stopped_goes_on(tmp_path):
    network = small(10)
    model = wrap(network, size=SIZE)
    batch = images(9)
    whole = robustness(model, batch, ["4/255"], pgd_steps=2, pass_options=PassOptions(batch_size=2))
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
            pgd_steps=2,
            pass_options=PassOptions(
                batch_size=2, resume_folder=folder, save_interval=-1, progress=stop
            ),
        )
    batches_done = []

    def progress(stage, done, total):
        batches_done.append(done)

    again = robustness(
        model,
        batch,
        ["4/255"],
        pgd_steps=2,
        pass_options=PassOptions(batch_size=2, resume_folder=folder, progress=progress),
    )
    assert batches_done[0] == 2  # what was saved before the batch at which it was stopped
    assert again == whole
    with pytest.raises(ConvlensError, match="different epsilons"):
        robustness(
            model,
            batch,
            ["8/255"],
            pgd_steps=2,
            pass_options=PassOptions(batch_size=2, resume_folder=folder),
        )


def test_pgd_leaves_an_image_alone_as_soon_as_its_answer_is_wrong():
    network = Linear()
    batch, margins = easy(network, 20)
    labels = [[int(margin > 0)] for margin in margins]
    passes = []

    def count_gradients(module, inputs, output):
        if output.requires_grad:
            output.register_hook(lambda gradient: passes.append(len(gradient)))

    network.register_forward_hook(count_gradients)
    robustness(wrap(network, size=4), batch, [0.4, 0.5], labels=labels, pgd_steps=8)
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


def test_photos_without_a_label_and_damaged_ones_are_reported(tmp_path):
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
    result = robustness(model, paths, ["1/255"], labels=labels, pgd_steps=1)
    assert (result.images, result.unlabeled, len(result.skipped)) == (2, 2, 1)
    assert "2.png" in result.skipped[0]
    assert result[FGSM].correct[0] >= 1 and result.reference == "label"
    with pytest.raises(ConvlensError, match=r"2\.png"):
        robustness(model, paths, ["1/255"], strict=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"epsilons": [0]}, "no epsilon above 0"), ({"loss": "x"}, "loss 'x'"),
     ({"pgd_steps": -1}, "steps"), ({"labels": [[1]]}, "1 labels for 4"),
     ({"labels": [[9], [0], [1], [1]]}, "outside 0 to 4"), ({"labels": [None] * 4}, "has a label")],
)  # fmt: skip
def test_curve_refuses(options, message):
    with pytest.raises(ConvlensError, match=message):
        robustness(wrap(small(), size=SIZE), images(), **options)


def test_saved_curve_is_equal_and_has_a_picture(tmp_path):
    result = robustness(wrap(small(), size=SIZE), images(), ["4/255"], pgd_steps=1)
    result.save(tmp_path / "curve")
    assert Result.load(tmp_path / "curve") == result
    assert (tmp_path / "curve" / "curve.png").is_file()


# 3 against 7 on MNIST, as in the literature


@pytest.mark.slow
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
        model, images, [0.25], labels=labels, pgd_steps=0, pass_options=PassOptions(batch_size=512)
    )
    errors = [1 - accuracy for accuracy in result[FGSM].accuracies]
    assert errors[0] < 0.03 and errors[1] > 0.97
    assert 1 - result[NOISE].accuracies[1] < 0.4  # the same pixels, by as much
