"""The commands and Python lines that a page offers to copy compute its numbers again."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import convlens
from convlens.page import sections
from convlens.page.report import report
from convlens.page.result import Report
from convlens.results import Result
from convlens.results.numbers import numbers_of
from support.copied_lines import (
    Copy,
    expected_result,
    find_copies,
    load_saved,
    run_command,
    run_lines,
    same_numbers,
)
from support.pages import reduce_work

pytest_plugins = "support.pages"

NETWORK = """
import torch
from torch import nn
import convlens


def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )
    return convlens.wrap(network, size=24, labels=["ant", "bee", "cat", "cat"])
"""
# Every kind that the page of this network has. A new kind is added here and to `expected_result`.
KINDS = {
    "weights", "anatomy", "preprocessing", "randomization", "robustness", "shift", "patches",
    "maximize", "tuning", "maps", "dream", "filters", "gabor", "effective", "gradcam", "flip",
    "fgsm",
}  # fmt: skip
QUICK = {"weights", "anatomy", "preprocessing", "shift", "maps", "filters", "flip"}


@pytest.fixture(scope="module")
def small_page(tmp_path_factory) -> Iterator[Report]:
    """A page about a network of two convolutions and three photos, two of them with labels."""
    folder = tmp_path_factory.mktemp("page")
    before, threads = Path.cwd(), torch.get_num_threads()
    os.chdir(folder)
    torch.set_num_threads(1)
    Path("mine.py").write_text(NETWORK)
    for name, size in (("a", (40, 50)), ("b", (64, 48)), ("c", (30, 30))):
        Image.effect_noise(size, 60).convert("RGB").save(f"{name}.png")
    labels = {"a.png": (0,), "c.png": (1, 3)}
    model = convlens.load("python:mine.py:model")
    with pytest.MonkeyPatch.context() as patch:
        reduce_work(patch)  # what is copied has these numbers, too
        yield report(model, ["a.png", "b.png", "c.png"], out="page", labels=labels, seed=3)
    os.chdir(before)
    torch.set_num_threads(threads)


def check(copy: Copy, page: Report, monkeypatch, capsys) -> None:
    """Run what a button copies and compare the numbers with those of the page."""
    expected, photo = expected_result(page, copy.name)
    if not copy.is_command:
        result = run_lines(copy.text)
        if isinstance(expected, tuple):  # the maps of all photos
            result = tuple(result[name] for name in result.photos)
        same_numbers(expected, result)
        return
    printed = run_command(copy.text, monkeypatch, capsys)
    if copy.name in ("anatomy", "preprocessing"):  # which write no folder
        assert printed == numbers_of(expected, command=printed["convlens"]["command"])
    elif isinstance(expected, tuple):
        names = [Path(item.path).name for item in page.photos if item.shown]
        same_numbers(expected, tuple(load_saved(copy.name, name) for name in names))
    else:
        same_numbers(expected, load_saved(copy.name, photo))


def test_every_kind_of_copy_is_there(small_page):
    copies = find_copies(small_page)
    python = {copy.name.partition("-")[0] for copy in copies if not copy.is_command}
    commands = {copy.name.partition("-")[0] for copy in copies if copy.is_command}
    assert python == KINDS
    assert commands == KINDS - {"weights"}  # there is no command for the check of the weights
    assert not small_page.failures


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow)
        for kind in sorted(KINDS)
    ],
)
def test_copies_compute_the_numbers_of_the_page_again(small_page, kind, monkeypatch, capsys):
    copies = [copy for copy in find_copies(small_page) if copy.name.partition("-")[0] == kind]
    assert copies
    for copy in copies:
        check(copy, small_page, monkeypatch, capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"layer": "1", "classes": ["ant", "bee - 3"]}, {"boxes": "boxes.csv"}]
)
def test_options_of_the_page_are_copied(small_page, options, tmp_path, monkeypatch, capsys):
    folder = Path(small_page.folder).absolute().parent
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "a.png", "b.png"):
        Path(name).write_bytes((folder / name).read_bytes())
    Path("boxes.csv").write_text("file,class,left,top,right,bottom\na.png,bee,2,3,20,30\n")
    monkeypatch.setattr(sections, "SECTIONS", ("photos", "randomization"))
    model = convlens.load("python:mine.py:model")
    page = report(model, ["a.png", "b.png"], out="page", **options)
    assert not page.failures
    copies = find_copies(page)
    assert {copy.name.partition("-")[0] for copy in copies} == {"gradcam", "flip", "randomization"}
    for copy in copies:
        check(copy, page, monkeypatch, capsys)


def test_two_copies_write_to_two_folders(small_page):
    copies = find_copies(small_page)
    commands = [copy.name for copy in copies if copy.is_command]
    assert len(set(commands)) == len(commands)


def test_labels_are_written_for_the_commands(small_page):
    table = (Path(small_page.folder) / "labels.csv").read_text("utf-8").splitlines()
    assert table == ["file,class", "a.png,ant", "c.png,bee|3"]  # two classes are called cat


def test_the_page_records_the_number_of_threads(small_page):
    assert small_page.threads == 1
    assert small_page.to_json()["threads"] == 1


def test_the_lines_of_a_map_compute_its_evidence_again(small_page, monkeypatch, capsys):
    copies = {
        copy.is_command: copy for copy in find_copies(small_page) if copy.name == "gradcam-photo-2"
    }
    (card,) = [card for card in small_page.sections["photos"].cards if card.photo == 1]
    run_command(copies[True].text.replace("photo-2", "evidence"), monkeypatch, capsys)
    run_lines(copies[False].text.replace("photo-2", "evidence"))
    for folder in ("convlens-gradcam-evidence/b.png/deletion-insertion-1",
                   "gradcam-evidence-evidence"):  # fmt: skip
        assert Result.load(folder) == card.evidence


@pytest.mark.slow
def test_copies_of_the_default_page(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: demo.threads)
    for copy in find_copies(demo):
        check(copy, demo, monkeypatch, capsys)
