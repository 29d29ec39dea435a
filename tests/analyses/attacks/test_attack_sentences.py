"""The sentences of attacks about one image name its predictions."""

import pytest

import convlens
from support.brightness import Brightness, gray


@pytest.fixture(scope="module")
def model():
    return convlens.wrap(Brightness(), size=8, labels=["dark", "bright"])


def test_fgsm_names_the_smallest_epsilon_that_changes_the_prediction(model):
    attack = convlens.fgsm(model, gray(126), ["1/255", "2/255", "8/255"], control=False)
    assert attack.summary() == "FGSM at 2/255 changes the prediction from dark to bright"


def test_fgsm_says_what_random_signs_do(model):
    attack = convlens.fgsm(model, gray(126), ["1/255", "8/255"])
    expected = "FGSM at 8/255 changes the prediction from dark to bright; random signs of this size"
    assert attack.summary() in (f"{expected} do not", f"{expected} change it, too")
    assert ("do not" in attack.summary()) == (not bool(attack.noise_flipped[1, 0]))


def test_fgsm_without_a_change(model):
    attack = convlens.fgsm(model, gray(100), ["1/255", "8/255"], control=False)
    assert attack.summary() == "FGSM up to 8/255 does not change the prediction dark"
    attack = convlens.fgsm(model, gray(100), ["8/255"])
    assert attack.summary() == (
        "FGSM at 8/255 does not change the prediction dark; random signs of this size do not "
        "change it either"
    )


def test_several_images_are_counted(model):
    attack = convlens.fgsm(model, gray(126, count=2), ["8/255"], control=False)
    assert attack.summary() == "FGSM changes the prediction of 2 of 2 images at 8/255"


def test_pgd_and_flip(model):
    attack = convlens.pgd(model, gray(126), "8/255", steps=3)
    expected = "PGD of 3 steps within 8/255 changes the prediction from dark to bright"
    assert attack.summary() == expected
    fgsm = convlens.fgsm(model, gray(126), score=False)
    assert convlens.find_flip(model, fgsm, levels=(1, 2, 8)).summary() == (
        "FGSM at 2/255 changes the prediction from dark to bright, the smallest level tested that "
        "does"
    )
    assert convlens.find_flip(model, fgsm, levels=(1,)).summary() == (
        "FGSM up to 1/255 does not change the prediction dark"
    )
