"""The page as one file: its links, its commands, foreign words in it, and its budget."""

import shutil
from dataclasses import replace
from typing import Any

import pytest

from convlens.data.sampling import spread
from convlens.html.templates import MODULES
from convlens.page import budget
from convlens.page.report import report
from convlens.page.sections.photos import SECTION as PHOTOS
from support.pages import Page, tiny

pytest_plugins = "support.pages"
pytestmark = pytest.mark.usefixtures("less_work")


def test_page_is_small_and_asks_for_nothing(demo, text):
    assert demo.page.stat().st_size < 10_000_000
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href"):
            address = attributes.get(name)
            assert address is None or address.startswith(("#", "data:"))
    assert "url(" not in text and "@import" not in text


def test_links_lead_somewhere_and_ids_are_unique(text):
    from urllib.parse import unquote

    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    links = [link["href"] for link in page.all("a")]
    assert len(links) > 150
    for link in links:
        assert unquote(link).removeprefix("#") in page.ids
    assert {"photo-3", "finding-2", "filters", "layer-conv_stem"} <= set(page.ids)


def test_document_is_well_made(text):
    page = Page(text)
    assert [element["lang"] for element in page.all("html")] == ["en"]
    for tag in ("h1", "main", "header", "nav"):
        assert len([name for name, _ in page.elements if name == tag]) == 1, tag
    head, _, body = text.partition("</head>")
    assert head.count("<title>") == 1  # those of the body name the boxes of drawings
    assert all("<svg" in part for part in body.split("</svg>") if "<title>" in part)
    assert all(image.get("alt") is not None for image in page.all("img"))
    figures = [figure for figure in page.all("img") if figure.get("src")]
    assert all(figure["alt"] for figure in figures)


def test_commands_are_quoted_and_name_the_photo(text, demo):
    import shlex

    path = next(photo.path for photo in demo.photos if photo.name == "chelsea.png")
    commands = [
        shlex.split(button["data-text"])
        for button in Page(text).all("button")
        if (button.get("data-text") or "").startswith("convlens ")
    ]
    for expected in (
        ["convlens", "gradcam", path, "--class", "tiger cat", "--class", "Egyptian cat"],
        ["convlens", "fgsm", path, "--epsilons", "1/255"],
    ):
        assert any(command[: len(expected)] == expected for command in commands)
    # "missile" is also a synonym of another class; as a whole label it names this one
    rocket = next(command for command in commands if command[2].endswith("rocket.jpg"))
    assert "missile" in rocket


def test_python_lines_run(demo, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the lines write their result
    lines = [
        button["data-text"]
        for button in Page(text).all("button")
        if (button.get("data-text") or "").startswith("import convlens")
    ]
    line = next(line for line in lines if "gradcam" in line and "chelsea" in line)
    *before, last = line.splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*before, f"cam = {last}"]), names)
    assert names["cam"] == demo.sections["photos"].cards[0].gradcam


def test_untrusted_text_is_escaped(tmp_path, photos):
    evil = photos[0].with_name('"><script>alert(1)<').with_suffix(".png")
    quoted = photos[0].with_name('it\'s "q" & <b>.png')
    for name in (evil, quoted):
        shutil.copy(photos[0], name)
    model = tiny(labels=["<i>zero</i>", "'one'", '"two"', "</style>", "&amp;"])
    page_report = report(
        model, [evil, quoted], out=tmp_path / "page", command="<script>alert(2)</script>"
    )
    text = page_report.page.read_text("utf-8")
    page = Page(text)
    assert "<script>alert" not in text
    assert len(page.all("script")) == len(MODULES)
    assert "<b>.png" not in text
    assert not page.all("i")
    words = " ".join(page.words)
    assert evil.name in words and quoted.name in words and "<i>zero</i>" in words


# the budget


def test_many_photos_are_spread(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(budget, "SHOWN", replace(budget.SHOWN, items=2))
    page_report: Any = report(tiny(), photos, out=tmp_path / "page")
    assert [photo.shown for photo in page_report.photos] == [True, True, False]
    assert page_report.photos[2].names and len(page_report.sections["photos"].cards) == 2
    assert any("2 of 3 photos" in sentence for sentence in page_report.left_out)
    monkeypatch.setattr(PHOTOS, "budget", replace(PHOTOS.budget, bytes=20_000))
    page_report = report(tiny(), photos, out=tmp_path / "page")
    assert any("do not fit" in sentence for sentence in page_report.left_out)
    assert "No room on the page" in page_report.page.read_text("utf-8")


def test_items_are_spread():
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread([1, 2], 4) == [1, 2]
