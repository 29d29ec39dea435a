"""Parts of a section: explanations beside figures, tables that can be sorted, folds."""

from typing import Any

import pytest

from convlens.html.templates import STYLES, environment, modules, stylesheet

pytest_plugins = "support.browser"

DOCUMENT = """{% extends "base.html.jinja" %}
{% from "macros.html.jinja" import data_table, explained, more %}
{% block body %}
{% set explanation %}<p>What was done.</p>{% endset %}
{% call explained(explanation) %}<p id="figure">A figure.</p>{% endcall %}
{% call data_table(values|length, "layer", "Layers") %}
<table><thead><tr><th>Name</th><th>Size</th></tr></thead>
<tbody>{% for value in values %}<tr id="row-{{ loop.index }}"><th>layer {{ loop.index }}</th><td>
{% if value is not none %}<data value="{{ value }}">about {{ value }}</data>{% endif %}</td></tr>
{% endfor %}</tbody></table>
{% endcall %}
<img id="plain" alt="" src="data:,"><img id="map" alt="" src="data:,a" data-plain="plain">
{% call more("3 more channels") %}<p id="folded">Channels.</p>{% endcall %}
{% endblock %}"""


def write(values: list[float | None]) -> str:
    template = environment("convlens.html").from_string(DOCUMENT)
    return template.render(values=values, style=stylesheet(), modules=modules())


def test_the_stylesheet_holds_every_part():
    assert len(STYLES) == len(set(STYLES))
    text = stylesheet()
    for rule in (
        ":root {",
        ".explained {",
        ".rows ",
        ".bar {",
        ".chart {",
        ".card {",
        ".contents {",
    ):
        assert rule in text


def test_a_table_states_its_number_of_rows_and_folds_long_ones():
    short, long = write([1.0] * 8), write([1.0] * 9)
    assert '<span class="number-of-rows">8 layers</span>' in short
    assert "show all" not in short and '<input type="search"' not in short
    assert '<span class="number-of-rows">9 layers</span>' in long
    assert "show all 9 layers" in long and '<input type="search"' in long


def open_document(browser: Any, folder: Any, address: str = "", **options: Any) -> Any:
    path = folder / "index.html"
    path.write_text(write([3.0, 10.0, None, -2.0, *(100.0 + at for at in range(12))]), "utf-8")
    page = browser.new_context(**options).new_page()
    page.goto(path.as_uri() + address)
    return page


def visible_rows(page: Any) -> list[str]:
    return [row.get_attribute("id") for row in page.locator("tbody tr").all() if row.is_visible()]


@pytest.mark.slow
def test_tables_are_sorted_filtered_and_unfolded(browser, tmp_path):
    page = open_document(browser, tmp_path)
    assert visible_rows(page) == [f"row-{at}" for at in range(1, 9)]
    size = page.locator("thead button", has_text="Size")
    size.click()
    assert visible_rows(page)[:2] == ["row-16", "row-15"]
    size.click()
    assert visible_rows(page)[:3] == ["row-4", "row-1", "row-2"]
    assert page.locator("th", has_text="Size").get_attribute("aria-sort") == "ascending"
    page.locator("input[type=checkbox]").check()
    assert visible_rows(page)[-1] == "row-3"  # the empty one is last
    size.click()
    assert visible_rows(page) == [f"row-{at}" for at in range(1, 17)]
    page.locator("input[type=search]").fill("layer 16")
    assert visible_rows(page) == ["row-16"]
    assert page.locator(".number-of-rows").inner_text() == "1 of 16 layers"


@pytest.mark.slow
def test_typing_into_a_filter_does_not_switch_the_maps(browser, tmp_path):
    page = open_document(browser, tmp_path)
    page.locator("input[type=search]").press_sequentially("p")
    assert page.locator("#map").get_attribute("aria-pressed") == "false"
    page.locator("#map").press("p")
    assert page.locator("#map").get_attribute("aria-pressed") == "true"


@pytest.mark.slow
def test_folded_rows_are_reached_without_scripts(browser, tmp_path):
    page = open_document(browser, tmp_path, "#row-14", java_script_enabled=False)
    assert len(visible_rows(page)) == 16
    page = open_document(browser, tmp_path, java_script_enabled=False)
    assert len(visible_rows(page)) == 8
    page.locator("input[type=checkbox]").check()
    assert len(visible_rows(page)) == 16


@pytest.mark.slow
def test_explanations_stand_beside_the_figure_or_are_folded_beneath(browser, tmp_path):
    wide = open_document(browser, tmp_path, viewport={"width": 1440, "height": 900})
    figure, words = (wide.locator(at).bounding_box() for at in ("#figure", ".explanation p"))
    assert words["x"] > figure["x"] + figure["width"] and words["y"] < figure["y"] + 60
    phone = open_document(browser, tmp_path, viewport={"width": 390, "height": 844})
    assert not phone.locator(".explanation p").is_visible()
    phone.locator(".explanation summary").click()
    figure, words = (phone.locator(at).bounding_box() for at in ("#figure", ".explanation p"))
    assert words["y"] >= figure["y"] + figure["height"]
