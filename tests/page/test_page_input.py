"""What the page does with bad input, and with networks of other kinds."""

import json
import os
from typing import Any

import pytest
import torch
from torch import nn

import convlens
from convlens.errors import ConvlensError, PhotoError
from convlens.page.report import report
from support.pages import Page, tiny

pytest_plugins = "support.pages"
pytestmark = pytest.mark.usefixtures("less_work")


@pytest.fixture
def few_sections(monkeypatch):
    """A page with one section, for tests of what does not depend on the sections."""
    monkeypatch.setattr("convlens.page.sections.SECTIONS", ("network",))


# bad input


def test_damaged_photos_are_named_and_left_out(tmp_path, photos):
    bad = photos[0].with_name("bad.png")
    bad.write_bytes(photos[0].read_bytes()[:60])
    page_report = report(tiny(), [photos[0], bad, photos[1]], out=tmp_path / "page")
    assert [photo.name for photo in page_report.photos] == ["one.png", "two.png"]
    words = " ".join(Page(page_report.page.read_text("utf-8")).words)
    assert "Unreadable, and left out: 1 of 3 photos (bad.png)" in words
    skipped = json.loads(page_report.data.read_text("utf-8"))["skipped"]
    assert [entry["path"] for entry in skipped] == [str(bad)]
    assert skipped[0]["reason"] in words


@pytest.mark.usefixtures("few_sections")
def test_labels_and_boxes_that_fit_no_photo_are_named(tmp_path, photos):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,class,left,top,right,bottom\none.png,0,0,0,4,4\nno\x1b.png,0,0,0,4,4\n")
    page_report = report(
        tiny(), photos[:1], out=tmp_path / "page", labels={"one.png": (0,), "none.png": (1,)},
        boxes=boxes,
    )  # fmt: skip
    sentences = [
        "Labels: 1 of 2 entries fits no photo: none.png",
        r"Boxes: 1 of 2 entries fits no photo: no\x1b.png",
    ]
    assert set(sentences) <= set(page_report.left_out)
    words = " ".join(Page(page_report.page.read_text("utf-8")).words)
    assert all(sentence in words for sentence in sentences)


@pytest.mark.usefixtures("few_sections")
def test_a_name_that_no_page_can_hold(tmp_path, photos):
    odd = photos[1].with_name(os.fsdecode(b"odd\xff.png"))
    try:
        odd.write_bytes(photos[1].read_bytes())
    except OSError:
        pytest.skip("this file system takes no such names")
    page_report = report(tiny(), [photos[0], odd], out=tmp_path / "page")
    skipped = json.loads(page_report.data.read_text("utf-8"))["skipped"]
    assert skipped[0]["path"] == str(photos[1].with_name(r"odd\xff.png"))
    assert "no UTF-8" in skipped[0]["reason"]


def test_strict_stops_and_writes_nothing(tmp_path, photos):
    bad = photos[0].with_name("bad.png")
    bad.write_bytes(b"no photo")
    with pytest.raises(PhotoError, match=r"bad\.png"):
        report(tiny(), [photos[0], bad], out=tmp_path / "page", strict=True)
    with pytest.raises(PhotoError, match="none of 1 photos"):
        report(tiny(), [bad], out=tmp_path / "page")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


@pytest.mark.usefixtures("few_sections")
def test_other_folders_are_refused_and_reports_replaced(tmp_path, photos):
    with pytest.raises(ConvlensError, match="holds other files"):
        report(tiny(), photos, out=photos[0].parent)
    assert sorted(path.name for path in photos[0].parent.iterdir()) == sorted(
        path.name for path in photos
    )
    with pytest.raises(ConvlensError, match="is a file; give another place"):
        report(tiny(), photos, out=photos[0] / "page")
    for count in (1, 2):
        page_report = report(tiny(), photos[:count], out=tmp_path / "page")
        assert len(json.loads(page_report.data.read_text("utf-8"))["photos"]) == count
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "photos"]
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        "index.html", "report.json",
    ]  # fmt: skip


@pytest.mark.usefixtures("few_sections")
def test_a_failure_half_way_leaves_the_old_page(tmp_path, photos, monkeypatch):
    old = report(tiny(), photos[:1], out=tmp_path / "page").page.read_text("utf-8")
    monkeypatch.setattr("convlens.page.report.render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(tiny(), photos, out=tmp_path / "page")
    assert (tmp_path / "page" / "index.html").read_text("utf-8") == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "photos"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "nolayer"}, "no layer 'nolayer'"),
        ({"classes": 5}, "class 5 of 5"),
        ({"classes": [0] * 9}, "9 classes"),
    ],
)
def test_misspelt_options_are_errors(tmp_path, photos, options, message):
    with pytest.raises(ConvlensError, match=message):
        report(tiny(), photos, out=tmp_path / "page", **options)


def test_photos_are_needed(tmp_path):
    with pytest.raises(ConvlensError, match="give photos for tiny"):
        report(tiny(), out=tmp_path / "page")
    with pytest.raises(ConvlensError, match="no photos"):
        report(tiny(), [], out=tmp_path / "page")


# other networks


def test_a_network_for_gray_images_gives_a_page(tmp_path, photos):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 10)
    )
    page_report: Any = report(convlens.wrap(network, size=28), photos, out=tmp_path / "page")
    assert not page_report.failures
    assert all(card.gradcam and card.flip for card in page_report.sections["photos"].cards)
    assert "copy Python lines" in page_report.page.read_text("utf-8")


def test_layer_classes_and_labels_are_used(tmp_path, photos):
    calls: list[tuple[str, int, int]] = []
    page_report: Any = report(
        tiny(),
        photos,
        out=tmp_path / "page",
        labels={"one.png": (0, 1, 2, 3, 4), "two.png": ()},
        layer="0",
        classes=[4, 1, 0],
        progress=lambda *step: calls.append(step),
    )
    assert page_report.sections["photos"].cards[0].gradcam.classes.tolist() == [[4, 1, 0]]
    assert page_report.sections["photos"].cards[0].gradcam.nodes == ("0",)
    assert [photo.right for photo in page_report.photos] == [True, None, None]
    assert page_report.sections["preprocessing"].photos == 1
    assert ("photos", 3, 3) in calls and ("predictions", 1, 3) in calls
    stage, done, total = calls[-1]
    assert stage == "preprocessing" and done == total
    stages = {"dream", "channels, crops", "maximized images", "shift, offsets"}
    assert stages <= {call[0] for call in calls}


def test_a_network_without_convolutions_gives_a_page(tmp_path, photos):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
    page_report: Any = report(convlens.wrap(network, size=8), photos, out=tmp_path / "page")
    assert {"photos/gradcam", "filters"} <= set(page_report.failures)
    words = " ".join(Page(page_report.page.read_text("utf-8")).words)
    assert "runs no convolution" in words
    assert all(card.flip is not None for card in page_report.sections["photos"].cards)


def test_an_output_that_is_a_map_gives_a_page(tmp_path, photos):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    page_report: Any = report(convlens.wrap(network, size=64), photos, out=tmp_path / "page")
    assert {"predictions", "photos/flips", "preprocessing"} <= set(page_report.failures)
    # A class is explained over the pixels whose answer it is.
    assert all(card.gradcam.maps.any() for card in page_report.sections["photos"].cards)
    page = Page(page_report.page.read_text("utf-8"))
    assert "one vector of class scores" in " ".join(page.words)
    assert "filters" in page_report.sections and len(page.all("img")) > 3
    assert not [finding for finding in page_report.findings if finding.mark == "broken"]
    sentences = [
        finding.sentence
        for finding in page_report.findings
        if "class for each pixel" in finding.sentence
    ]
    assert len(sentences) == 1
    assert "2 × 60 × 60" in sentences[0]
    assert not any("vector of class scores" in finding.sentence for finding in page_report.findings)


class Alone(nn.Module):
    """One number for each photo, whose sign the photos differ in."""

    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.end = end

    def forward(self, x):
        inner = self.first(x).relu().mean((1, 2, 3))
        return self.end(2000 * (inner - 0.0373)[:, None])


@pytest.mark.parametrize("end", [nn.Sigmoid(), nn.Identity()])
def test_one_output_is_the_class_or_not(tmp_path, photos, end):
    model = convlens.wrap(Alone(end).eval(), size=32, labels=["dog"])
    with torch.no_grad():
        logits = torch.cat([Alone(nn.Identity())(model.prepare(photo)) for photo in photos])[:, 0]
    labels = {photo.name: [0] for photo in photos}
    page_report: Any = report(model, photos, out=tmp_path / "page", labels=labels)
    assert page_report.failures == {}
    assert {photo.names[0] for photo in page_report.photos} == {"dog", "not dog"}
    cards = page_report.sections["photos"].cards
    for page_photo, card, logit in zip(page_report.photos, cards, logits, strict=True):
        share = float(logit.sigmoid())
        assert page_photo.names == (("dog", "not dog") if logit > 0 else ("not dog", "dog"))
        assert page_photo.probabilities == pytest.approx(sorted([share, 1 - share])[::-1], abs=1e-4)
        assert page_photo.right is bool(logit > 0)
        assert card.flip.flipped
        assert card.flip.name == ("not dog" if logit > 0 else "dog")
        assert card.gradcam.names == (("dog",),)
        assert float(card.gradcam.probabilities[0, 0]) == pytest.approx(share, abs=1e-4)
    assert {maximum.objective for maximum in page_report.sections["class_images"].maxima} == {
        "dog",
        "-dog",
    }
    words = " ".join(Page(page_report.page.read_text("utf-8")).words)
    assert ("read as a logit" in words) == (not isinstance(end, nn.Sigmoid))
    marks = [
        finding.mark for finding in page_report.findings if "read as a logit" in finding.sentence
    ]
    assert marks == ([] if isinstance(end, nn.Sigmoid) else ["look"])


@pytest.mark.usefixtures("few_sections")
def test_photos_of_one_name_are_told_apart(tmp_path, photos):
    paths = [tmp_path / folder / "same.png" for folder in ("a", "b")]
    for path, photo in zip(paths, photos, strict=False):
        path.parent.mkdir()
        path.write_bytes(photo.read_bytes())
    with pytest.raises(ConvlensError, match=r"'same.png' is the name of .*a/same.png and of"):
        report(tiny(), paths, out=tmp_path / "page", labels={"same.png": [1]})
    assert not (tmp_path / "page").exists()
    page_report = report(
        tiny(), paths, out=tmp_path / "page", labels={"a/same.png": [1], "b/same.png": [2]}
    )
    assert [(photo.name, photo.expected) for photo in page_report.photos] == [
        ("a/same.png", (1,)), ("b/same.png", (2,)),
    ]  # fmt: skip
