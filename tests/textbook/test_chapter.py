"""The page of the chapter: of a few notions, and of all."""

import json
import re
import shlex
from xml.etree import ElementTree

import pytest

import convlens as library
from convlens.textbook import chapter as module
from convlens.textbook.notions import NOTIONS

pytest_plugins = "support.command_line"


def check_page(page):
    text = page.read_text(encoding="utf-8")
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    targets = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    assert targets <= set(identifiers)
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]+"', "", text)
    return text


def test_page_of_a_few_notions(tmp_path, monkeypatch):
    few = [notion for notion in NOTIONS if notion.name in ("convolution", "stride", "pooling")]
    monkeypatch.setattr(module, "NOTIONS", few)
    steps = []
    result = library.chapter(
        out=tmp_path / "page", progress=lambda stage, done, total: steps.append((done, total))
    )
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [figure.name for figure in result.figures] == ["convolution", "stride", "pooling"]
    assert result.find("stride").result == library.window_grid(7, 3, stride=2)
    text = check_page(result.page)
    for figure in result.figures:
        ElementTree.parse(tmp_path / "page" / "figures" / f"{figure.name}.svg")
        assert f'id="{figure.name}"' in text
        assert figure.python.splitlines()[-1].replace('"', "&#34;") in text
    assert "10.2.4 Strided convolutions" in text
    data = json.loads((tmp_path / "page" / "chapter.json").read_text(encoding="utf-8"))
    assert data["figures"][0]["result"]["feature_map"] == [[-4, -4], [-4, -4]]
    library.chapter(out=tmp_path / "page")  # replaces its own earlier page


@pytest.mark.slow
def test_every_figure_by_its_command_and_its_lines(here, convlens):
    result = library.chapter(out="page")
    check_page(result.page)
    assert len(result.figures) == len(NOTIONS)
    for figure in result.figures:
        names = {}
        exec(figure.python, names)
        assert names["result"] == figure.result, figure.name
        program, *words = shlex.split(figure.command)
        assert program == "convlens"
        if "--draw" in words:
            assert convlens(*words)[0] == 0
            continue
        assert convlens(*words, "--out", figure.name)[0] == 0
        if figure.name not in ("gradcam", "adversarial"):  # which write other files
            assert library.Result.load(figure.name) == figure.result, figure.name
