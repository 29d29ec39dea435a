"""The list of sections: each stands alone, and none is needed by the frame of the page."""

import json
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from convlens.errors import ConvlensError
from convlens.page import sections
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.report import report
from convlens.page.section import Section
from support.pages import Page, tiny

pytest_plugins = "support.pages"
pytestmark = pytest.mark.usefixtures("less_work")


def test_each_section_has_its_template_and_name():
    for name, section in zip(sections.SECTIONS, sections.load_sections(), strict=True):
        assert section.name == name and section.title
        assert section.parent is None or section.parent in sections.SECTIONS
    titles = [section.title for section in sections.load_sections()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("parent", ["photos", "channels", "filters"])
def test_a_section_and_its_parts_can_be_removed(tmp_path, photos, monkeypatch, parent):
    parts = {section.name for section in sections.load_sections() if section.parent == parent}
    left = tuple(name for name in sections.SECTIONS if name not in {parent, *parts})
    monkeypatch.setattr(sections, "SECTIONS", left)
    page_report = report(tiny(), photos, out=tmp_path / "page")
    assert set(page_report.sections) <= set(left) and not page_report.failures
    page = Page(page_report.page.read_text("utf-8"))
    assert parent not in page.ids
    links = [link["href"] for link in page.all("a")]
    assert all(unquote(link).removeprefix("#") in page.ids for link in links)


def test_a_section_that_cannot_be_computed_shows_why(tmp_path, photos, monkeypatch):
    shift = next(section for section in sections.load_sections() if section.name == "shift")

    def fail(inputs: Inputs) -> Iterator[None]:
        raise ConvlensError("these shifts cannot be measured")

    monkeypatch.setattr(shift, "compute", fail)
    page_report = report(tiny(), photos, out=tmp_path / "page")
    assert page_report.failures == {"shift": "these shifts cannot be measured"}
    assert "shift" not in page_report.sections and "shift" not in page_report.reproductions
    (finding,) = [
        finding for finding in page_report.findings if "cannot be measured" in finding.sentence
    ]
    assert (finding.mark, finding.evidence) == ("look", "shift")
    page = Page(page_report.page.read_text("utf-8"))
    assert "shift" in page.ids
    assert "these shifts cannot be measured" in " ".join(page.words)


def test_every_section_says_how_to_compute_it_again(tmp_path, photos):
    page_report = report(tiny(), photos, out=tmp_path / "page")
    assert set(page_report.reproductions) == set(page_report.sections)
    data = json.loads(page_report.data.read_text("utf-8"))
    for name, again in page_report.reproductions.items():
        assert again.command is None  # the network is wrapped in Python
        assert again.python.startswith("import convlens\n# model:")
        assert data["reproductions"][name]["python"] == again.python


def test_a_budget_counts_work():
    budget = Budget(items=8, work=100.0)
    assert [budget.affordable(each) for each in (1.0, 20.0, 50.0, 1000.0, 0.0)] == [8, 5, 2, 1, 8]


def test_sections_are_no_more_than_the_contract():
    for section in sections.load_sections():
        public = {name for name in vars(type(section)) if not name.startswith("_")}
        assert public <= set(dir(Section)) | set(Section.__annotations__)
