"""The page's numbers: those of report.json and of the views; `test_page_clock.py` has two runs."""

import re
from typing import Any

import pytest

import convlens
from convlens.page.report import report
from convlens.page.result import Report
from support.pages import Page, tiny

pytest_plugins = "support.pages"
pytestmark = pytest.mark.usefixtures("less_work")


def look_up(data: Any, place: str) -> Any:
    for key in place.split("."):
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


def shown(text: str) -> float:
    """The number that a person reads."""
    number = text.replace(",", "").replace("−", "-").replace("< ", "").replace("\xa0", " ")
    size = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 0.01, "s": 1.0}
    value, _, unit = number.partition(" ")
    return float(value) * size.get(unit, 1.0)


def test_numbers_of_the_page_are_those_of_the_json(text, data):
    numbers = Page(text).numbers
    assert len(numbers) > 400
    for place, value, words in numbers:
        expected = look_up(data, place)
        assert float(value) == expected, place
        error = 0.051 if words.endswith(" s") else 0.00051 if "%" in words else 0.0051
        assert shown(words) == pytest.approx(expected, rel=0.05, abs=error), place


def test_every_photo_and_finding_is_on_the_page(text, data):
    words = " ".join(Page(text).words)
    for finding in data["findings"]:
        assert finding["sentence"] in words
        assert finding["mark"] in ("fine", "look", "broken")
    for photo in data["photos"]:
        assert photo["name"] in words
        assert photo["names"][0] in words
    assert len(data["photos"]) == 8


def test_each_answer_stands_beside_its_probability(text, data):
    for number, photo in enumerate(data["photos"], start=1):
        article = text.split(f'id="photo-{number}"')[1].split("</ol>")[0]
        rows = re.findall(r'<span title="[^"]*">([^<]*)</span> <data value="([^"]*)"', article)
        expected = zip(photo["names"], photo["probabilities"], strict=True)
        assert [(name, float(value)) for name, value in rows] == list(expected)


def test_findings_count_what_the_photos_say(demo):
    sentences = " ".join(finding.sentence for finding in demo.findings)
    cards = demo.sections["photos"].cards
    right = [photo.name for photo in demo.photos if photo.names[0] in photo.expected_names]
    assert f"Classified as expected: {len(right)} of 8 photos" in sentences
    for photo in demo.photos:
        assert (photo.name in sentences) == (photo.name not in right)
    flips = [card.flips for card in cards]
    assert all(flip is not None for flip in flips)
    at = next(
        at
        for at in range(len(flips[0].levels))
        if sum(int(flip.predictions[at] != flip.original_predictions) for flip in flips) >= 4
    )
    count = sum(int(flip.predictions[at] != flip.original_predictions) for flip in flips)
    noise = sum(int(flip.noise_predictions[at] != flip.original_predictions) for flip in flips)
    assert (
        f"by {flips[0].levels[at]} gray level (FGSM) changes {count} of 8 predictions" in sentences
    )
    assert f"Random changes of the same size change {noise} of 8" in sentences
    speak = sum(bool((card.gradcam.maps[0, 0] > 0).any()) for card in cards)
    assert f"a cell that supports the highest class in {speak} of 8 photos" in sentences
    assert "4 of 32 filters of conv_stem have next to no weight" in sentences


def test_numbers_are_what_the_views_give_in_one_call(demo):
    model = convlens.load()
    card = demo.sections["photos"].cards[1]
    image = model.prepare(demo.photos[1].path)
    assert convlens.gradcam(model, image, top=2) == card.gradcam
    attack = convlens.fgsm(model, image, score=False)
    assert convlens.find_flip(model, attack, levels=[card.flip.level]).pixels.equal(
        card.flips.pixels
    )
    cards = demo.sections["photos"]
    assert cards.scale == max(card.gradcam.scale for card in cards.cards)


def test_robustness_and_shift_are_what_the_views_give_in_one_call(demo, text):
    model = convlens.load()
    paths = [photo.path for photo in demo.photos]
    labels = [photo.expected for photo in demo.photos]
    epsilons = ["1/255", "2/255", "4/255", "8/255"]
    attacked, shifted = demo.sections["robustness"], demo.sections["shift"]
    assert attacked.photos == shifted.photos == tuple(range(8))
    assert convlens.robustness(model, paths, epsilons, labels=labels, pgd_steps=5) == attacked.curve
    moved = convlens.shift(model, paths, labels=labels, every=4)
    assert moved.consistency == shifted.shift.consistency
    assert moved.offsets == shifted.shift.offsets
    assert moved.equivariance.lost == shifted.shift.equivariance.lost
    sentences = " ".join(finding.sentence for finding in demo.findings)
    assert "the output of conv_stem (stride 2) differs from the shifted" in sentences
    flattered = attacked.curve.diagnostics[0]
    assert flattered.message in sentences
    page = Page(text)
    places = {place for place, _, _ in page.numbers}
    assert {"sections.robustness.curve.curves.2.accuracies.4",
            "sections.shift.shift.equivariance.layers.0.inner_errors.0",
            "sections.shift.shift.consistency.1.agreement.low",
            "sections.robustness.slides.2.probabilities.4"} <= places  # fmt: skip


def test_the_seed_draws_the_noise(tmp_path, photos, monkeypatch):
    seeds = []

    def spy(*args: Any, seed: int) -> convlens.Result:
        seeds.append(seed)
        return convlens.find_flip(*args, seed=seed)

    monkeypatch.setattr("convlens.page.photo_cards.find_flip", spy)
    report(tiny(), photos, out=tmp_path / "page", seed=7)
    assert seeds == [7, 7, 7]


def test_the_result_is_saved_and_loaded(tmp_path, photos):
    page_report = report(tiny(), photos[:1], out=tmp_path / "page")
    page_report.save(tmp_path / "saved")
    assert Report.load(tmp_path / "saved") == page_report
