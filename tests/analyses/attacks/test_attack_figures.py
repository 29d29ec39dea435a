"""Figures of attacks: each panel holds the pixels that its title names."""

import numpy as np
import pytest
import torch

import convlens
from convlens.analyses.attacks.figures import draw_change, select_epsilons
from support.brightness import Brightness, gray


@pytest.fixture(scope="module")
def model():
    return convlens.wrap(Brightness(), size=8, labels=["dark", "bright"])


def drawn(axes):
    return np.asarray(axes.images[0].get_array())


def test_fgsm_shows_original_signs_and_each_epsilon(model):
    figure = convlens.fgsm(model, gray(126), ["1/255", "8/255"]).figure()
    original, signs, weak, strong = figure.axes
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[0].startswith("original\ndark, ")
    assert titles[2].startswith("epsilon 1/255\ndark, ")
    assert titles[3].startswith("epsilon 8/255\nbright, ")
    assert (drawn(original) == 126).all()
    assert (drawn(signs) == 255).all()  # every pixel becomes brighter
    assert (drawn(weak) == 127).all() and (drawn(strong) == 134).all()
    assert "away from dark, cross-entropy" in figure.texts[0].get_text()


def test_flip_shows_the_smallest_level_that_flips(model):
    attack = convlens.fgsm(model, gray(126), score=False)
    figure = convlens.find_flip(model, attack, levels=(1, 2, 8)).figure()
    original, change, flipped = figure.axes
    assert original.get_title(loc="left") == "original\ndark"
    assert change.get_title(loc="left").split() == ["change,", "63.5", "times", "as", "strong"]
    assert flipped.get_title(loc="left").startswith("at 2/255\nbright, ")
    assert (drawn(original) == 126).all() and (drawn(flipped) == 128).all()


def test_pgd_shows_the_answer_before_and_after(model):
    result = convlens.pgd(model, gray(126, count=8), "4/255", steps=3)
    figure = result.figure()
    assert len(figure.axes) == 3 * 6  # at most six images
    assert "6 of 8 images" in figure.texts[0].get_text()
    assert figure.axes[2].get_title(loc="left").startswith("epsilon 4/255\nbright, ")
    assert (drawn(figure.axes[2]) == 130).all()
    assert result.table().total == 8


def test_changes_are_drawn_with_the_largest_at_full_contrast():
    change = torch.tensor([[-2.0, 0.0], [1.0, 2.0]]).expand(1, 3, 2, 2)
    pixels, words = draw_change(change)
    assert pixels[0, :, :, 0].tolist() == [[1, 128], [191, 255]]
    assert words == "change, 63.5 times as strong"
    assert draw_change(torch.zeros(1, 3, 2, 2))[1] == "no change"


@pytest.mark.parametrize(
    ("count", "shown"), [(1, [0]), (4, [0, 1, 2, 3]), (5, [2, 3, 4]), (10, [2, 4, 7, 9])]
)
def test_of_many_epsilons_four_are_shown_the_last_among_them(count, shown):
    positions = select_epsilons(count)
    assert len(positions) == min(count, 4) and positions[-1] == count - 1
    assert positions == sorted(set(positions)) and set(shown) <= set(positions)
