"""Answers of two networks: counts against a loop, classes by name, batches and preprocessing."""

import pytest
import torch
from PIL import Image

import convlens
from convlens import ConvlensError, PassOptions
from convlens.results.storage import read_result
from support.compared_networks import LABELS, changed, images, model, network


def turn(module):
    module[8].weight.copy_(module[8].weight + 2 * module[8].weight.roll(2, 0))


def right_classes(*models):
    """Labels of the 40 photos, by which each of two networks is right and wrong at times."""
    answers = [each(images()).argmax(dim=1).tolist() for each in models]
    rules = (
        lambda own, other: [own],
        lambda own, other: [other],
        lambda own, other: [(own + 1) % 5, (own + 2) % 5],
        lambda own, other: None,
    )
    used = {True: 0, False: 0}
    labels = []
    for own, other in zip(*answers, strict=True):
        labels.append(rules[used[own == other] % 4](own, other))
        used[own == other] += 1
    return labels


def test_counts_are_those_of_a_loop():
    first, second, batch = model(), model(changed(turn)), images()
    labels = right_classes(first, second)
    result = convlens.compare_answers(first, second, batch, labels=labels)
    answers = [each(batch).argmax(dim=1).tolist() for each in (first, second)]
    counts = {"both": 0, "lost": 0, "gained": 0, "neither": 0}
    for right, own, other in zip(labels, *answers, strict=True):
        if right is not None:
            name = {(1, 1): "both", (1, 0): "lost", (0, 1): "gained", (0, 0): "neither"}
            counts[name[own in right, other in right]] += 1
    assert min(counts.values()) > 0
    assert {name: getattr(result.right, name) for name in counts} == counts
    same = sum(own == other for own, other in zip(*answers, strict=True))
    assert (result.same.count, result.same.total, result.images) == (same, 40, 40)
    largest = (first(batch) - second(batch)).detach().abs().max()
    assert result.largest_change == pytest.approx(float(largest), rel=1e-5)
    assert not result.identical
    assert int(result.probability_changes.sum()) == 40


def test_the_photos_that_changed_are_named_with_the_surest_answers_first():
    first, second, batch = model(), model(changed(turn)), images()
    labels = right_classes(first, second)
    result = convlens.compare_answers(first, second, batch, labels=labels)
    lost = result.of_kind("lost")
    assert len(lost) == min(24, result.right.lost)
    surest = [min(pair.first_probability, pair.second_probability) for pair in lost]
    assert surest == sorted(surest, reverse=True)
    for pair in lost:
        assert pair.first in pair.labels
        assert pair.second not in pair.labels
        probabilities = second(batch[pair.number : pair.number + 1]).detach().softmax(dim=1)[0]
        assert pair.second_class == int(probabilities.argmax())
        assert pair.second_probability == pytest.approx(float(probabilities.max()), rel=1e-4)
    assert result.table().rows[0][1] == "lost"


def test_equal_networks_are_equal_in_every_bit():
    result = convlens.compare_answers(model(), model(network()), images())
    assert result.identical
    assert (result.largest_change, result.equal_logits) == (0.0, 40)
    assert result.summary() == "all logits of 40 photos are equal in every bit"


def test_classes_are_paired_by_name():
    order = [2, 0, 1, 4, 3]

    def reorder(module):
        module[8].weight.copy_(module[8].weight[order])
        module[8].bias.copy_(module[8].bias[order])

    second = model(changed(reorder), labels=[LABELS[index] for index in order])
    result = convlens.compare_answers(model(), second, images())
    assert result.same.count == 40
    assert result.class_difference == "5 labels of 5 have another index"
    assert torch.isnan(torch.tensor(result.largest_change))


def test_shifted_labels_are_named():
    second = model(labels=[LABELS[-1], *LABELS[:-1]])
    result = convlens.compare_answers(model(), second, images(), labels=[[0]] * 40)
    assert result.same.count == 0
    assert result.same_index.count == 40
    assert "the labels are shifted by 1" in result.summary()
    assert "by index 40 of 40 answers are the same" in result.summary()


@pytest.mark.parametrize(
    ("labels", "says"),
    [(None, "5 outputs and Sequential has 6, and"), (list("uvwxyz"), "no class in common")],
)
def test_networks_without_a_common_class_are_refused(labels, says):
    def widen(module):
        module[8] = torch.nn.Linear(12, 6)

    with pytest.raises(ConvlensError, match=says):
        convlens.compare_answers(model(), model(changed(widen), labels=labels), images())


def test_each_network_has_its_own_preprocessing(tmp_path):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        Image.effect_noise((40, 60), 90).convert("RGB").save(paths[-1])
    first = model()
    second = convlens.wrap(
        network(), size=20, resize=30, mean=first.mean, std=first.std, labels=LABELS
    )
    result = convlens.compare_answers(first, second, paths)
    for pair in result.pairs:
        probabilities = second(second.prepare(paths[pair.number])).detach().softmax(dim=1)[0]
        assert pair.second_class == int(probabilities.argmax())
        assert pair.second_probability == pytest.approx(float(probabilities.max()), rel=1e-4)


def test_the_result_does_not_depend_on_batches_and_is_saved(tmp_path):
    first, second, batch = model(), model(changed(turn)), images(20)
    results = [
        convlens.compare_answers(
            first, second, batch, labels=[[1]] * 20, pass_options=PassOptions(batch_size=size)
        )
        for size in (3, 20)
    ]
    assert results[0].right == results[1].right
    assert [pair.number for pair in results[0].pairs] == [pair.number for pair in results[1].pairs]
    results[0].save(tmp_path / "answers")
    assert read_result(tmp_path / "answers") == results[0]
