"""A section that has nothing to show, and no reason for that, is not on the page."""

from convlens.page import sections
from convlens.page.report import report
from support.pages import Page, tiny

pytest_plugins = "support.pages"


def test_a_section_without_a_result_has_neither_heading_nor_entry(tmp_path, photos, monkeypatch):
    """The network was not trained by convlens, so there is nothing to show of its training."""
    monkeypatch.setattr(sections, "SECTIONS", ("training", "network"))
    written = report(tiny(), photos, out=tmp_path / "page")
    page = Page(written.page.read_text("utf-8"))
    assert "network" in page.ids and "training" not in page.ids
    links = [link["href"] for link in page.all("a")]
    assert "#network" in links and "#training" not in links
