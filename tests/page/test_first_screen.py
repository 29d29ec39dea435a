"""The first screen: tiles, the strip of photos, findings worst first, and the navigation."""

import importlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import pytest
import torch

import convlens
from convlens.html.pictures import PictureBudget
from convlens.page import sections
from convlens.page.findings import collect_findings
from convlens.page.photo_statistics import count_answers
from convlens.page.report import report
from convlens.page.result import Finding, ReportPhoto
from support.pages import Page, reduce_work, save_noise, tiny

pytest_plugins = "support.pages"


@pytest.fixture(scope="module")
def tiny_page(tmp_path_factory) -> Any:
    """A page with few sections about three photos, of which one is labeled wrongly."""
    folder = tmp_path_factory.mktemp("first-screen")
    paths = save_noise(folder / "photos")
    predictions = convlens.predict(tiny(), tiny().prepare(paths))
    first = predictions.classes[:, 0].tolist()
    labels = {path.name: (index,) for path, index in zip(paths, first, strict=True)}
    labels["two.png"] = ((first[1] + 1) % 5,)
    with pytest.MonkeyPatch.context() as patch:
        reduce_work(patch)
        patch.setattr(sections, "SECTIONS", ("photos", "channels"))
        return report(tiny(), paths, out=folder / "page", labels=labels)


def test_tiles_state_numbers_with_intervals(tiny_page):
    text = tiny_page.page.read_text("utf-8")
    tiles = {tile.title: tile for tile in tiny_page.tiles}
    assert [tile.rank for tile in tiny_page.tiles] == sorted(tile.rank for tile in tiny_page.tiles)
    answers = tiles["Answers"]
    assert (answers.number, answers.mark) == ("2 of 3 right", "look")
    assert "two.png" in answers.sentence and answers.examples == ("photo-2-plain",)
    assert "2 of 3 right <small>(21–94\N{NO-BREAK SPACE}%)</small>" in text  # Wilson, 2 of 3
    cards = tiny_page.sections["photos"].cards
    both = sum(
        bool(card.evidence.deletion_beats[0] and card.evidence.insertion_beats[0]) for card in cards
    )
    assert tiles["Explanation"].number == f"{both} of 3 {'holds' if both == 1 else 'hold'}"
    (checked,) = [finding for finding in tiny_page.findings if "(deletion)" in finding.sentence]
    assert checked.sentence.startswith(f"{both} of 3 maps hold")  # the same number
    overview = text.split('class="overview"')[1].split("</section>")[0]
    assert overview.count('<li class="tile') == len(tiny_page.tiles)
    for tile in overview.split('<li class="tile')[1:]:
        assert '<img src="data:image/' in tile


def test_strip_shows_the_wrong_photos_first(tiny_page):
    text = tiny_page.page.read_text("utf-8")
    strip = text.split('class="strip"')[1].split("</ul>")[0]
    addresses = [part.split('"')[0] for part in strip.split('href="#')[1:]]
    assert addresses == ["photo-2", "photo-1", "photo-3"]
    assert strip.count("<img") == 6  # each photo and its map
    cards = [part.split('"')[0] for part in text.split('<article class="card" id="')[1:]]
    assert cards == addresses


def test_findings_that_are_not_fine_are_visible_and_link_to_photos(tiny_page):
    text = tiny_page.page.read_text("utf-8")
    section = text.split('<section id="findings"')[1].split("</section>")[0]
    visible, _, folded = section.partition("<details>")
    marks = [finding.mark for finding in tiny_page.findings]
    order = ("broken", "look", "fine")
    assert marks == sorted(marks, key=order.index) and {"look", "fine"} <= set(marks)
    for number, finding in enumerate(tiny_page.findings, start=1):
        place = folded if finding.mark == "fine" else visible
        assert f'id="finding-{number}" class="{finding.mark}"' in place
    (wrong,) = [finding for finding in tiny_page.findings if "wrong: two.png" in finding.sentence]
    row = section.split(f'id="finding-{tiny_page.findings.index(wrong) + 1}"')[1].split("</li>")[0]
    assert 'href="#photo-2-plain"><img' in row
    page = Page(text)
    links = [unquote(link["href"] or "").removeprefix("#") for link in page.all("a")]
    assert set(links) <= set(page.ids)


def test_navigation_counts_the_findings_of_each_section(tiny_page):
    text = tiny_page.page.read_text("utf-8")
    navigation = text.split('<nav class="contents"')[1].split("</nav>")[0]
    for section in ("photos", "channels", "method"):
        count = sum(
            finding.section == section and finding.mark != "fine" for finding in tiny_page.findings
        )
        entry = navigation.split(f'href="#{section}"')[1].split("</a>")[0]
        assert (f"</span>{count}<span" in entry) == (count > 0)


def test_broken_findings_come_first_and_know_their_section():
    def make_finding(mark: Any, rank: int) -> Finding:
        return Finding(mark, f"{mark} {rank}.", "part", rank=rank)

    findings = [
        make_finding("fine", 0), make_finding("look", 5), make_finding("look", 2),
        make_finding("broken", 9),
    ]  # fmt: skip
    section = SimpleNamespace(name="part", findings=lambda inputs, result: findings)
    inputs = SimpleNamespace(
        results={"part": object()},
        predictions_failure=None,
        stages=SimpleNamespace(failures={}),
    )
    collected = collect_findings(cast(Any, [section]), cast(Any, inputs), [], 1, [])
    assert [(finding.mark, finding.rank) for finding in collected] == [
        ("broken", 9), ("look", 2), ("look", 5), ("fine", 0),
    ]  # fmt: skip
    assert {finding.section for finding in collected} == {"part"}


@pytest.mark.parametrize(
    ("right", "wrong", "mark"), [(8, 0, "fine"), (7, 1, "look"), (2, 6, "look"), (1, 7, "broken")]
)
def test_few_wrong_answers_do_not_make_a_network_broken(right, wrong, mark):
    photo = ReportPhoto("a.png", "a.png", names=("cat",), probabilities=(0.5,), right=True)
    photos = [photo] * right + [replace(photo, right=False)] * wrong
    answers = count_answers(photos)
    assert answers is not None and answers.mark == mark
    assert answers.wrong == list(range(right, right + wrong))


def test_thumbnails_are_reduced_and_budgets_take_all_or_none():
    pixels = torch.randint(0, 256, (400, 200, 3), dtype=torch.uint8)
    budget = PictureBudget(1_000_000)
    picture = budget.thumbnail(pixels, 50)
    assert picture is not None
    assert (picture.width, picture.height) == (25, 50)
    small = budget.thumbnail(pixels[:16, :16], 50)
    assert small is not None and (small.width, small.hard) == (48, True)
    left = budget.left
    single = budget.all_or_none(lambda: budget.photo(pixels))
    assert single is not None and budget.left < left
    left = budget.left
    many = budget.all_or_none(lambda: [budget.photo(pixels, exact=True) for _ in range(9)])
    assert many is None and (budget.left, budget.missing) == (left, 0)


def test_findings_on_shift_filters_and_attacks_have_thumbnails(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(sections, "SECTIONS", ("photos", "robustness", "shift", "filters"))
    result = report(tiny(), photos, out=tmp_path / "page")
    inputs: Any = SimpleNamespace(model=tiny(), photos=result.photos)
    for name in ("robustness", "shift", "filters"):
        section = importlib.import_module(f"convlens.page.sections.{name}").SECTION
        thumbnail = section.thumbnail(inputs, result.sections[name], name)
        assert thumbnail.pixels.dtype == torch.uint8 and thumbnail.pixels.shape[-1] == 3
        assert section.thumbnail(inputs, result.sections[name], "photos") is None
    robustness: Any = result.sections["robustness"]
    attacked = importlib.import_module("convlens.page.sections.robustness").SECTION.thumbnail(
        inputs, robustness, "robustness"
    )
    changed = [
        level
        for slides in robustness.slides
        for level, name in zip(slides.epsilons, slides.names, strict=True)
        if name != slides.names[0]
    ]
    assert f"at {min(changed, default=8)}/255" in attacked.caption
    text = result.page.read_text("utf-8").split('<section id="findings"')[1].split("</section>")[0]
    rows = [row for row in text.split("<li id=")[1:] if 'href="#shift"' in row]
    assert rows and all("<img" in row for row in rows)
