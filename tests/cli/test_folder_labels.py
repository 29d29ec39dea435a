"""Folders that are named after classes label their photos, which commands report."""

import json
import shutil

import pytest

from support.command_line import MINE, one_line

pytest_plugins = "support.command_line"


@pytest.fixture
def classes(here):
    """Two photos of each of two classes, in folders named after these."""
    for folder in ("Bee", "dog"):
        (here / "photos" / folder).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            shutil.copy(here / name, here / "photos" / folder / name)
    return here


REPORTED = "labels from the names of folders (Bee, dog) for 4 of 4 photos; --no-labels"


def curve(convlens, *words):
    status, out, err = convlens(
        "fgsm", "photos", "--model", MINE, "--quiet", "--pgd-steps", 0, "--epsilons", "1/255",
        "--json", "--out", "attacks", *words,
    )  # fmt: skip
    assert status == 0
    return json.loads(out)["curve"]["reference"], err


def test_a_command_reports_the_labels_and_uses_them(classes, convlens):
    reference, err = curve(convlens)
    assert reference == "label"
    assert REPORTED in err


def test_no_labels_turns_them_off(classes, convlens):
    reference, err = curve(convlens, "--no-labels")
    assert reference != "label"
    assert "labels" not in err


def test_a_file_of_labels_comes_first(classes, convlens):
    (classes / "labels.csv").write_text("file,class\ndog/a.png,ant\n")
    reference, err = curve(convlens, "--labels", "labels.csv")
    assert reference == "label"
    assert "names of folders" not in err


def test_folders_that_name_no_class_are_no_labels(classes, convlens):
    (classes / "photos" / "Bee").rename(classes / "photos" / "wasp")
    (classes / "photos" / "dog").rename(classes / "photos" / "wolf")
    reference, err = curve(convlens)
    assert reference != "label" and "labels" not in err


def test_selectivity_needs_labels(classes, convlens):
    words = ("selectivity", "a.png", "b.png", "--model", MINE, "--quiet")
    assert "no labels; give --labels FILE, or photos in folders" in one_line(convlens(*words))


def test_patches_of_few_photos_in_folders_have_no_selectivity(classes, convlens):
    words = ("patches", "photos", "--model", MINE, "--quiet")
    status, _, err = convlens(*words)
    assert status == 0
    assert "no selectivity: it needs two classes with 5 photos each" in err
    (classes / "labels.csv").write_text("file,class\ndog/a.png,ant\n")
    error = one_line(convlens(*words, "--labels", "labels.csv", "--out", "other"))
    assert "0 classes have at least 5 labeled photos; selectivity needs two" in error


def test_doctor_takes_the_labels_of_folders(classes, convlens):
    status, _, err = convlens("doctor", "photos", "--model", MINE, "--quiet")
    assert status == 0
    assert REPORTED in err
