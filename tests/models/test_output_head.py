"""Networks that end in a sigmoid, and networks with one output: probabilities, maps, attacks."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convlens import (
    ConvlensError,
    Result,
    anatomy,
    check_preprocessing,
    deletion_insertion,
    fgsm,
    find_flip,
    gradcam,
    internal_changes,
    maximize,
    pgd,
    predict,
    robustness,
    trace,
    wrap,
)
from convlens.analyses.shift.offset_map import map_offsets
from convlens.models import output_head as heads
from convlens.models.labels import class_name, find_prediction, read_labels
from convlens.models.output_head import NEGATIVE, SIGMOID, SOFTMAX

SIZE = 12
NUMBERS = 3 * SIZE * SIZE


def images(count=3, seed=0):
    drawn = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.4 * drawn


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


class Mapped(nn.Module):
    """A convolution, average pooling and a linear layer."""

    def __init__(self, classes=1, end=None):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.linear = nn.Linear(6, classes)
        with torch.no_grad():
            for part in self.parameters():
                part.copy_(torch.randn(part.shape, generator=generator))
            inner = self.first(images(6)).relu().mean((2, 3))
            self.linear.bias.copy_(-(inner @ self.linear.weight.T).median(dim=0).values)
        self.end = end or nn.Identity()

    def logits(self, x):
        return self.linear(self.first(x).relu().mean((2, 3)))

    def forward(self, x):
        return self.end(self.logits(x))


def model(network, **options):
    return wrap(network.eval(), size=SIZE, **options)


# the module itself, against torch's own functions


def test_one_output_is_a_softmax_over_it_and_zero():
    column = torch.tensor([[-3.0], [-0.1], [0.2], [40.0]])
    two = torch.cat([column, torch.zeros_like(column)], dim=1)
    answered = torch.tensor([[0, NEGATIVE]]).expand(4, 2)
    torch.testing.assert_close(
        heads.prediction_probabilities(column, answered, SIGMOID), two.softmax(1)
    )
    predictions = heads.predicted_classes(column, SIGMOID)
    assert predictions.tolist() == [NEGATIVE, NEGATIVE, 0, 0]
    assert heads.top_predictions(column, SIGMOID, 5).tolist() == [
        [NEGATIVE, 0],
        [NEGATIVE, 0],
        [0, NEGATIVE],
        [0, NEGATIVE],
    ]
    assert heads.top_predictions(column, SIGMOID, 1).tolist() == [[NEGATIVE], [NEGATIVE], [0], [0]]
    for classes in (torch.zeros(4).long(), torch.full((4,), NEGATIVE), predictions):
        row = classes.clamp(max=0).abs()  # of the two columns
        expected = F.cross_entropy(two, row, reduction="none")
        torch.testing.assert_close(heads.cross_entropy(column, classes, SIGMOID), expected)
        of = torch.arange(4)
        torch.testing.assert_close(
            heads.misclassification_margin(column, classes, SIGMOID),
            two[of, 1 - row] - two[of, row],
        )


def test_several_sigmoids_are_each_by_itself():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    classes = torch.tensor([0, 3, 1, 1, 2])
    own = logits[torch.arange(5), classes]
    expected = F.binary_cross_entropy_with_logits(own, torch.ones(5), reduction="none")
    torch.testing.assert_close(heads.cross_entropy(logits, classes, SIGMOID), expected)
    torch.testing.assert_close(
        heads.log_probabilities(logits, SIGMOID), logits.double().sigmoid().log().float()
    )
    predictions, sure = heads.predict_with_probability(logits, SIGMOID)
    assert predictions.tolist() == logits.argmax(1).tolist()
    torch.testing.assert_close(sure, logits.sigmoid().amax(1))
    # The odds of one against another, where exactly one of the two is there.
    first, second = logits.sigmoid()[:, 0], logits.sigmoid()[:, 1]
    only_first, other = first * (1 - second), second * (1 - first)
    torch.testing.assert_close(
        (logits[:, 0] - logits[:, 1]).sigmoid(), only_first / (only_first + other)
    )


@pytest.mark.parametrize(
    ("final_activation", "columns", "output_head"),
    [("", 1, SIGMOID), ("", 2, SOFTMAX), (SIGMOID, 3, SIGMOID), (SOFTMAX, 1, SOFTMAX)],
)
def test_output_head_of_final_activations(final_activation, columns, output_head):
    assert heads.choose_output_head(final_activation, columns) == output_head


# the trace


@pytest.mark.parametrize(
    ("classes", "end", "final_activation"),
    [
        (1, nn.Sigmoid(), SIGMOID),
        (4, nn.Sigmoid(), SIGMOID),
        (4, nn.LogSigmoid(), SIGMOID),
        (1, lambda x: torch.sigmoid(x).squeeze(1), SIGMOID),
        (1, lambda x: torch.sigmoid(x.squeeze()), SIGMOID),
        (1, lambda x: x[:, 0].sigmoid(), SIGMOID),
        (1, lambda x: x.sigmoid().view(-1).clone(), SIGMOID),
        (1, lambda x: x.squeeze(1), ""),
        (1, lambda x: x, ""),
        (4, lambda x: x.softmax(1), SOFTMAX),
    ],
)
def test_sigmoid_and_flat_outputs_are_seen_through(classes, end, final_activation):
    network = Mapped(classes, end)
    model_trace = trace(model(network))
    assert (model_trace.final_activation, model_trace.num_outputs) == (final_activation, classes)
    assert model_trace.logits == model_trace.find_node("linear")
    for count in (1, 3):
        predictions = predict(model(network), images(count))
        torch.testing.assert_close(predictions.logits, network.logits(images(count)).detach())


@pytest.mark.parametrize("end", [nn.SiLU(), lambda x: x * x.sigmoid(), lambda x: 2 * x.sigmoid()])
def test_gates_and_what_follows_a_sigmoid_are_no_end(end):
    model_trace = trace(model(Mapped(4, end)))
    assert (model_trace.final_activation, model_trace.logits) == ("", model_trace.recording.output)


def test_anatomy_says_what_the_network_ends_in():
    result = anatomy(model(Mapped(1, nn.Sigmoid()), labels=["dog"]))
    assert (result.final_activation, result.logits) == (SIGMOID, "linear")
    assert "not dog" in result.prediction_rule
    assert "read as a logit" in anatomy(model(Mapped())).prediction_rule
    assert "by itself" in anatomy(model(Mapped(3, nn.Sigmoid()))).prediction_rule
    assert anatomy(model(Mapped(3))).prediction_rule == ""


# answers and maps


def test_one_output_answers_its_class_or_not(tmp_path):
    network = Mapped(1, nn.Sigmoid())
    batch = images(6)
    predictions = predict(model(network, labels=["dog"]), batch)
    with torch.no_grad():
        expected = network(batch)
    torch.testing.assert_close(predictions.probabilities, expected)
    assert {name[0] for name in predictions.names} == {"dog", "not dog"}
    for row, share in enumerate(expected[:, 0].tolist()):
        assert predictions.names[row] == (("dog", "not dog") if share > 0.5 else ("not dog", "dog"))
        assert predictions.confidences[row].tolist() == pytest.approx(
            sorted([share, 1 - share])[::-1]
        )
    predictions.save(tmp_path / "said")
    assert Result.load(tmp_path / "said") == predictions


def test_several_sigmoids_answer_with_their_own_outputs():
    network = Mapped(4, nn.Sigmoid())
    predictions = predict(model(network), images())
    with torch.no_grad():
        order = network(images()).sort(dim=1, descending=True)
    assert predictions.classes.tolist() == order.indices.tolist()
    torch.testing.assert_close(predictions.confidences, order.values)


def test_several_labels_of_one_output_are_refused():
    two = model(Mapped(1, nn.Sigmoid()), labels=["cat", "dog"])
    for use in (predict, gradcam, fgsm):
        with pytest.raises(ConvlensError, match="one output and 2 labels"):
            use(two, images())
    with pytest.raises(ConvlensError, match="one output and 2 labels"):
        maximize(two, ["dog"], steps=1)


@pytest.mark.parametrize("classes", [1, 4])
def test_maps_are_of_the_logit_and_not_of_the_sigmoid(classes):
    network = Mapped(classes, nn.Sigmoid())
    network.linear.weight.data *= 50  # so sure that the sigmoid's own gradient is nothing
    plain = Mapped(classes)
    plain.load_state_dict(network.state_dict())
    cam = gradcam(model(network), images(), classes=0)
    expected = gradcam(model(plain), images(), classes=0)
    torch.testing.assert_close(cam.maps, expected.maps)
    assert float(cam.maps.abs().max()) > 0.1
    with torch.no_grad():
        torch.testing.assert_close(cam.probabilities, network(images())[:, :1])


@pytest.mark.parametrize("classes", [1, 4])
def test_evidence_follows_the_networks_own_output(classes):
    network = Mapped(classes, nn.Sigmoid())
    batch = images(2)
    cam = gradcam(model(network), batch, classes=0)
    result = deletion_insertion(model(network), cam, steps=4)
    gray = batch.mean((2, 3), keepdim=True).expand_as(batch)
    with torch.no_grad():
        whole, nothing = network(batch)[:, 0], network(gray)[:, 0]
    torch.testing.assert_close(result.deletion[:, :, 0], whole[:, None].expand(-1, 3))
    torch.testing.assert_close(result.deletion[:, :, -1], nothing[:, None].expand(-1, 3))
    assert len(result.deletion_areas.unique()) == result.deletion_areas.numel()


class Segments(nn.Module):
    def __init__(self, end):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 1)
        with torch.no_grad():
            for part in self.parameters():
                part.copy_(torch.randn(part.shape, generator=generator))
        self.end = end

    def forward(self, x):
        return self.end(self.last(self.first(x).relu()))


def test_sigmoids_at_each_pixel_have_areas_of_their_own():
    network = Segments(nn.Sigmoid())
    result = gradcam(model(network), images(2), classes=[0, 1, 2])
    logits = Segments(nn.Identity())
    logits.load_state_dict(network.state_dict())
    with torch.no_grad():
        scores = logits(images(2))
    for image in range(2):
        for class_index in range(3):
            mask = scores[image, class_index] > 0
            area = max(int(mask.sum()), 1)
            expected = float(scores[image, class_index][mask].sum()) / area
            assert float(result.scores[image, class_index]) == pytest.approx(
                expected, rel=1e-4, abs=1e-6
            )
            share = float(scores[image, class_index][mask].sigmoid().sum()) / area
            assert float(result.probabilities[image, class_index]) == pytest.approx(share, rel=1e-4)


# attacks: for logits that are linear in the image everything is known


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
    result = robustness(model(network), batch, [size], steps=10)
    stand = int((least > size).sum())
    assert result["FGSM"].correct == (6, stand)
    assert result["PGD"].correct == (6, stand)
    right = [(NEGATIVE,), (0,), (NEGATIVE,), None, (0,), (0, NEGATIVE)]
    predicted = [0 if logit > 0 else NEGATIVE for logit in logits[:, 0].tolist()]
    labeled = robustness(model(network), batch, [size], labels=right, steps=0)
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
    looked = internal_changes(model(network), attack)
    assert looked.before is not None
    assert {name for names in looked.before.names for name in names} == {"class 0"}


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


# the other views


def test_doctor_of_one_output_scores_its_own_probability():
    network = Mapped(1, nn.Sigmoid())
    batch = images(6)
    with torch.no_grad():
        share, mirrored = network(batch)[:, 0], network(batch.flip(3))[:, 0]
    right = [(0,), (NEGATIVE,), (0,), (NEGATIVE,), (0,), (0,)]
    result = check_preprocessing(model(network), batch, labels=right).variants[0]
    expected = [
        probability if of == (0,) else 1 - probability
        for probability, of in zip(share.tolist(), right, strict=True)
    ]
    assert result.score == pytest.approx(sum(map(math.log, expected)) / 6, rel=1e-5)
    assert result.accuracy == sum(probability > 0.5 for probability in expected) / 6
    both = torch.stack([share * mirrored, (1 - share) * (1 - mirrored)]).sqrt().log()
    result = check_preprocessing(model(network), batch).variants[0]
    assert result.score == pytest.approx(float(both.amax(0).mean()), rel=1e-5)


def test_doctor_of_several_sigmoids():
    network = Mapped(3, nn.Sigmoid())
    batch = images(5)
    with torch.no_grad():
        share, mirrored = network(batch), network(batch.flip(3))
    result = check_preprocessing(model(network), batch, labels=[(1, 2)] * 5).variants[0]
    assert result.score == pytest.approx(float(share[:, 1:].amax(1).log().mean()), rel=1e-5)
    both = torch.stack([share * mirrored, (1 - share) * (1 - mirrored)]).sqrt().log()
    result = check_preprocessing(model(network), batch).variants[0]
    assert result.score == pytest.approx(float(both.amax(0).sum(1).mean()), rel=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_maximized_class_has_the_networks_own_probability(classes):
    network = Mapped(classes, nn.Sigmoid())
    result = maximize(model(network), ["0"], class_score="probability", steps=8).maxima[0]
    with torch.no_grad():
        share = float(network(result.images)[0, 0])
        start = float(network(torch.full((1, 3, SIZE, SIZE), 0.5))[0, 0])
    assert float(result.probability[0]) == pytest.approx(share, rel=1e-4)
    assert share > start
    # The objective is the logarithm of that probability, which a softmax over one would keep at 0.
    assert float(result.curve[0, -1]) == pytest.approx(math.log(share), abs=0.3)
    assert bool((result.curve < 0).all())


def test_probability_at_every_offset_is_that_of_the_answer():
    network = Mapped(1, nn.Sigmoid())
    wide = F.interpolate(images(1), size=(SIZE + 4, SIZE + 4), mode="bilinear")
    result = map_offsets(model(network), wide)
    crops = torch.cat([wide[:, :, y : y + SIZE, x : x + SIZE] for y in range(5) for x in range(5)])
    with torch.no_grad():
        share = network(crops).view(5, 5)
    middle = bool(share[2, 2] > 0.5)
    assert result.class_index == (0 if middle else NEGATIVE)
    torch.testing.assert_close(result.probabilities, share if middle else 1 - share)
    assert result.predicted_share == float(((share > 0.5) == middle).float().mean())


# names


def test_the_two_answers_of_one_output_have_names(tmp_path):
    assert class_name(["dog, hound"], NEGATIVE) == "not dog"
    assert class_name(None, NEGATIVE) == "not class 0"
    assert [find_prediction(["dog"], text, 1) for text in ("dog", "Not Dog", 0, NEGATIVE)] == [
        0,
        -1,
        0,
        -1,
    ]
    assert find_prediction(None, "class 0", 1) == 0
    assert find_prediction(None, "not class 0", 1) == NEGATIVE
    table = tmp_path / "labels.csv"
    table.write_text("file,class\na.png,dog\nb.png,not dog\n")
    assert read_labels(table, ["dog"], 1) == {"a.png": (0,), "b.png": (NEGATIVE,)}
    table.write_text("file,class\na.png,0\nb.png,1\n")
    with pytest.raises(ConvlensError, match="it predicts 'dog' or 'not dog'"):
        read_labels(table, ["dog"], 1)
    with pytest.raises(ConvlensError, match="unknown class"):
        find_prediction(["cat", "dog"], "not dog", 2)
