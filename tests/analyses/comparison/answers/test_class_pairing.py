"""Classes of two networks: those of one network only, namesakes, and labels out of range."""

import pytest
import torch

import convlens
from convlens import ConvlensError
from convlens.analyses.comparison.answers.class_pairing import NO_CLASS, pair_classes
from support.compared_networks import LABELS, images, model


def pair(first, second):
    own, other = (
        convlens.wrap(torch.nn.Conv2d(3, len(labels), 1), size=4, labels=labels)
        for labels in (first, second)
    )
    return pair_classes(own, other, len(first), len(second))


def test_classes_of_the_first_network_only_are_named():
    pairing = pair(["ant", "bee", "cat", "dog"], ["ant", "bee"])
    assert pairing.to_first == (0, 1)
    assert pairing.difference == "2 classes of the first network are not in the second: cat, dog"
    both = pair(["ant", "bee", "cat"], ["ant", "eel", "cat"])
    assert both.to_first == (0, NO_CLASS, 2)
    assert both.difference == (
        "1 class of the second network is not in the first: eel; "
        "1 class of the first network is not in the second: bee"
    )


def test_namesakes_are_paired_in_their_order():
    same = pair(["crane", "bee", "crane"], ["crane", "bee", "crane"])
    assert (same.to_first, same.difference) == ((0, 1, 2), "")
    shifted = pair(["crane", "bee", "crane"], ["background", "crane", "bee", "crane"])
    assert shifted.to_first == (NO_CLASS, 0, 1, 2)
    assert "shifted by 1" in shifted.difference
    assert "1 class of the second network is not in the first: background" in shifted.difference


def test_a_name_of_several_classes_is_ambiguous():
    pairing = pair(["crane", "bee", "crane"], ["bee", "crane"])
    assert pairing.to_first == (1, NO_CLASS)
    assert "1 class of the second network is ambiguous by name in the first: crane" in (
        pairing.difference
    )
    assert "not in" not in pairing.difference


def test_labels_out_of_range_are_refused():
    with pytest.raises(ConvlensError, match=r"a label outside 0 to 4 \(9\)"):
        convlens.compare_answers(model(), model(), images(4), labels=[(0,), (9,), None, (1,)])
    with pytest.raises(ConvlensError, match="3 labels for 4 photos"):
        convlens.compare_answers(model(), model(), images(4), labels=[(0,)] * 3)
    assert len(LABELS) == 5
