"""What an export costs: told before any page is made, and again from some pages of each kind."""

import asyncio
import re
from typing import Any

import pytest

import convlens
from convlens.explorer import export as export_module
from convlens.explorer.export_plan import (
    Cost,
    PageKind,
    UnitCosts,
    estimate_cost,
    interleave,
    measure_units,
)
from support.explorers import run, save_photos, small_model

FIRST = r"(\d+) pages: about \d+ MB and \d+ (?:s|min), estimated from one forward pass"
SECOND = r"measured on some pages of each kind: about \d+ MB and \d+ (?:s|min) are left"


def test_the_cost_is_reported_before_the_search_and_before_any_page(tmp_path, monkeypatch):
    messages: list[Any] = []

    async def search(*_):
        messages.append("search")
        await search_layers(*_)

    search_layers = export_module.search_layers
    monkeypatch.setattr(export_module, "search_layers", search)
    folder = convlens.export_explorer(
        small_model(), tmp_path / "out", save_photos(tmp_path), channels=1, notify=messages.append,
        progress=lambda stage, done, total: messages.append((stage, done, total)),
    ).parent  # fmt: skip
    pages = list(folder.rglob("index.html"))
    first = re.fullmatch(FIRST, messages[0])
    assert first is not None and int(first[1]) == len(pages)
    assert messages[1] == "search"
    (second,) = (place for place, entry in enumerate(messages) if re.fullmatch(SECOND, str(entry)))
    assert messages[second - 1][0] == "pages"
    assert messages[-1] == ("pages", len(pages), len(pages))
    assert 9 <= messages[second - 1][1] < len(pages)  # of ten kinds without the one of the errors


def test_a_pass_and_a_picture_are_measured(tmp_path):
    running = run(small_model(), save_photos(tmp_path), labeled=False)
    units = asyncio.run(measure_units(running.session))
    page = running.get(f"/photo/{running.keys[-1]}")
    (picture,) = re.findall(r'<img[^>]* src="(data:image/png[^"]+)"', page)
    assert units.bytes_of_large == len(picture)
    assert units.bytes_of_small > 0
    assert 0 < units.seconds_of_picture < 1
    assert 0 < units.seconds_of_pass < 5
    running.session.worker.close()


def test_without_photos_there_are_no_pictures(tmp_path):
    running = run(small_model(), [])
    units = asyncio.run(measure_units(running.session))
    assert units == UnitCosts()
    cost = asyncio.run(estimate_cost(running.session, [PageKind([["/a"]], 5, 5, 5)], units))
    assert 1_000 < cost.size < 100_000
    running.session.worker.close()


def test_the_estimate_adds_pages_passes_and_pictures(tmp_path):
    running = run(small_model(), save_photos(tmp_path, 3))
    units = UnitCosts(2.0, 0.5, 1e6, 1e7)
    few = [PageKind([["/a", "/b"], ["/c"]], passes=4, small=3, large=2), PageKind([["/d"]])]
    none = [PageKind([["/a", "/b"], ["/c"]]), PageKind([["/d"]])]
    cost, text = (
        asyncio.run(estimate_cost(running.session, kinds, units)) for kinds in (few, none)
    )
    assert cost.size - text.size == pytest.approx(3 * (3 * 1e6 + 2 * 1e7))
    assert cost.seconds - text.seconds == pytest.approx(3 * (4 * 2.0 + 5 * 0.5))
    assert 3 * 2.0 <= text.seconds < 3 * 2.0 + 1  # the search among three photos
    running.session.worker.close()


@pytest.mark.parametrize(
    ("size", "seconds", "words"),
    [
        (10, 0.01, "about 1 MB and 1 s"),
        (2.6e6, 89, "about 3 MB and 89 s"),
        (1.2e9, 95, "about 1,200 MB and 2 min"),
        (1e6, 66_000, "about 1 MB and 1,100 min"),
    ],
)
def test_costs_are_in_words(size, seconds, words):
    assert Cost(size, seconds).describe() == words


def test_each_kind_is_spread_evenly():
    kinds = [
        PageKind([[f"{name}{number}"] for number in range(count)])
        for name, count in (("a", 30), ("b", 10), ("c", 1))
    ]
    order = [address for group in interleave(kinds) for address in group]
    assert sorted(order) == sorted(address for kind in kinds for (address,) in kind.groups)
    half = order[: len(order) // 2]
    assert 14 <= sum(address[0] == "a" for address in half) <= 16
    assert 4 <= sum(address[0] == "b" for address in half) <= 6
    assert [address for address in order if address[0] == "b"] == [f"b{n}" for n in range(10)]
