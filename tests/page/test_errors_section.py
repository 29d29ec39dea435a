"""The section on errors: where it is shown, and that its numbers are those of the analysis."""

import json
from pathlib import Path

import pytest

import convlens
from convlens.page import sections
from convlens.page.report import report
from support.color_photos import SPEC, save_photo, write_network
from support.copied_lines import load_saved, run_command, run_lines
from support.pages import Page

pytest_plugins = "support.pages"


@pytest.fixture
def colored(tmp_path, monkeypatch):
    """27 photos, and labels of 18 of them: three are wrong, and one of these is the only blue."""
    monkeypatch.setattr(sections, "SECTIONS", ("photos", "errors"))
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path, gain=20)
    paths, labels = [], {}
    for number in range(27):
        paths.append(Path(f"{number:02d}.png"))
        save_photo(paths[-1], number, step=5)
        if number % 3 < 2:
            label = {0: 2, 3: 1, 4: 0}.get(number, number % 3)
            labels[paths[-1].name] = (label,)
    return paths, labels


def write_page(colored, labels):
    model = convlens.load(SPEC)
    return report(model, colored[0], labels=labels, out="page")


def test_the_page_shows_the_analysis(colored, monkeypatch, capsys):
    written = write_page(colored, colored[1])
    assert not written.failures
    result = written.sections["errors"]
    assert (result.accuracy.count, result.accuracy.total, result.shown) == (15, 18, 3)
    page = Page(written.page.read_text("utf-8"))
    numbers = {place: value for place, value, _ in page.numbers}
    assert float(numbers["sections.errors.accuracy.count"]) == 15
    words = " ".join(" ".join(page.words).split())
    for error in result.wrong:
        assert f"{error.label_name} , predicted as {error.prediction_name}" in words
    assert "Channels behind the prediction" in words
    texts = [image["alt"] for image in page.all("img")]
    for error in result.wrong:
        evidence = result.evidence_of(error.number)
        for name, similar in (
            (error.label_name, evidence.similar_right),
            (error.prediction_name, evidence.similar_wrong),
        ):
            own = f"Photo of {name} that is most similar to {error.number:02d}.png"
            assert (own in texts) == bool(similar)
    assert not result.evidence_of(0).similar_right
    assert result.evidence_of(0).similar_wrong
    # Both copies compute the same again.
    copies = written.reproductions["errors"]
    assert run_lines(copies.python) == result
    run_command(copies.command, monkeypatch, capsys)
    assert load_saved("errors") == result
    data = json.loads(written.data.read_text("utf-8"))
    assert data["sections"]["errors"]["causes"]["examined"] == result.causes.examined == 3


@pytest.mark.slow
def test_labels_that_may_be_wrong_are_a_finding(colored):
    written = write_page(colored, colored[1])
    sentences = [finding.sentence for finding in written.findings if finding.section == "errors"]
    assert len(written.sections["errors"].suspicious) == 3
    assert any("3 labels may be wrong" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    "labels", ["none", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("few", "right"))]
)
def test_there_is_no_section_without_labels_or_errors(colored, labels):
    _, table = colored
    chosen = {
        "none": None,
        "few": dict(list(table.items())[:10]),
        "right": {name: (int(name[:2]) % 3,) for name in table},
    }[labels]
    written = write_page(colored, chosen)
    assert "errors" not in written.sections
    assert not written.failures
    assert "errors" not in Page(written.page.read_text("utf-8")).ids
