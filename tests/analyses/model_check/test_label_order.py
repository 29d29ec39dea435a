"""The order of labels: both directions, exchanged classes, and where nothing can be told."""

import itertools

import pytest
import torch
from torch import nn

import convlens
from convlens.analyses.error_analysis import reducer
from convlens.analyses.model_check.label_order import check_label_order

SIZE = 12
NAMES = [f"n{9 - k % 10}{k}" for k in range(SIZE)]


def counts_of(labels, predicted, size):
    counts = torch.zeros(size, size, dtype=torch.int64)
    for label, prediction in zip(labels, predicted, strict=True):
        counts[label, prediction] += 1
    return counts


def with_errors(predicted, size, share=0.1, seed=0):
    """Predictions of which some are random."""
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(predicted), generator=generator) < share
    random = torch.randint(0, size, (len(predicted),), generator=generator)
    return torch.where(wrong, random, torch.tensor(predicted)).tolist()


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (lambda k: sorted(range(SIZE), key=str).index(k), "with labels sorted as text"),
        (lambda k: sorted(range(SIZE), key=str)[k], "classes that the network sorts as text"),
        (lambda k: sorted(NAMES).index(NAMES[k]), "with labels in the alphabetical order"),
        (lambda k: NAMES.index(sorted(NAMES)[k]), "classes that the network sorts by their names"),
    ],
)
def test_both_directions_of_an_order_are_told_apart(order, words):
    classes = [number % SIZE for number in range(120)]
    labels = [order(shown) for shown in classes]
    finding = check_label_order(counts_of(labels, with_errors(classes, SIZE), SIZE), NAMES)
    assert finding.status == "broken"
    assert words in finding.sentence


@pytest.mark.parametrize("first", ["Zebra", "apple"])
def test_capital_letters_are_sorted_first_by_programs(first):
    names = [first, "Cat", "dog", "bee", "Eel"]
    labels = [sorted(names).index(names[number % 5]) for number in range(50)]
    finding = check_label_order(counts_of(labels, [n % 5 for n in range(50)], 5), names)
    assert "capital letters first" in finding.sentence


@pytest.mark.parametrize(
    ("size", "exchanged", "words"),
    [
        (2, (0, 1), "with the two classes exchanged"),
        (3, (0, 2), "with labels in the reverse order"),
        (4, (0, 1), "with class 0 and class 1 exchanged"),
        (4, (1, 2), "with class 1 and class 2 exchanged"),
        (40, (7, 31), "with class 7 and class 31 exchanged"),
    ],
)
def test_two_exchanged_classes_are_named(size, exchanged, words):
    classes = [number % size for number in range(40 * size)]
    swap = {exchanged[0]: exchanged[1], exchanged[1]: exchanged[0]}
    labels = [swap.get(shown, shown) for shown in classes]
    counts = counts_of(labels, with_errors(classes, size), size)
    finding = check_label_order(counts, None)
    assert finding.status == "broken"
    assert words in finding.sentence
    right = int(counts.diag().sum())
    moved = sum(counts[a, b] - counts[a, a] for a, b in swap.items())
    if size > 3:
        assert finding.limit == pytest.approx((right + int(moved)) / counts.sum())


def test_three_classes_in_a_circle_are_named():
    classes = [number % 8 for number in range(320)]
    circle = {2: 5, 5: 6, 6: 2}  # what a label shows
    label_of = {shown: label for label, shown in circle.items()}
    labels = [label_of.get(shown, shown) for shown in classes]
    names = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"]
    finding = check_label_order(counts_of(labels, with_errors(classes, 8), 8), names)
    assert "3 labels in another order (cat is fox, fox is gnu, gnu is cat)" in finding.sentence


def test_confused_pairs_are_not_named_beside_an_exchanged_one():
    """Two classes are exchanged, and 16 others are often confused in pairs."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        given, predicted = [], []
        for label in range(18):
            count = 60 if label < 2 else 10
            partner = label ^ 1
            share = 1.0 if label < 2 else 0.4
            is_other = torch.rand(count, generator=generator) < share
            given += [label] * count
            predicted += [partner if other else label for other in is_other.tolist()]
        finding = check_label_order(counts_of(given, predicted, 18), None)
        assert finding.sentence.startswith("with class 0 and class 1 exchanged, ")


def test_a_class_that_is_always_taken_for_another_one_is_no_exchange():
    labels = [number % 6 for number in range(240)]
    predicted = [4 if label == 3 else label for label in labels]
    assert check_label_order(counts_of(labels, predicted, 6), None).status == "fine"
    only_four = [label for label in labels if label != 4]
    predicted = [4 if label == 3 else label for label in only_four]
    assert check_label_order(counts_of(only_four, predicted, 6), None).status == "fine"


def test_healthy_networks_have_few_false_alarms():
    generator = torch.Generator().manual_seed(0)
    broken = 0
    for share, size in itertools.product((0.2, 0.5, 0.9), (2, 5, 20)):
        for _ in range(30):
            labels = torch.randint(0, size, (60,), generator=generator)
            guess = torch.randint(0, size, (60,), generator=generator)
            sure = torch.rand(60, generator=generator) < share
            counts = counts_of(labels.tolist(), torch.where(sure, labels, guess).tolist(), size)
            broken += check_label_order(counts, None).status == "broken"
    assert broken <= 5  # of 270


def test_pairs_that_are_not_counted_do_not_tell(monkeypatch):
    monkeypatch.setattr(reducer, "LARGEST_CONFUSION", 3)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = convlens.wrap(network, size=8)
    result = convlens.check(model, torch.rand(8, 3, 8, 8), [(k % 4,) for k in range(8)])
    assert result["label order"].status == "cannot tell"
    assert "pairs of 4 classes are not counted" in result["label order"].sentence
