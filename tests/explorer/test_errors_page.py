"""The page of the errors: numbers and links are those of the library, also of a second model."""

import html
import re
import shlex
from typing import Any

import pytest
import torch
import typer
from PIL import Image

import convlens
import convlens.cli.commands
from convlens.cli.app import app
from convlens.models.label_tables import match_labels, read_labels
from support.explorers import (
    Running,
    data_values,
    other_model,
    read_events,
    run,
    save_photos,
    show_commands,
    small_model,
)

COMMANDS: Any = typer.main.get_command(app)
OPTIONS: dict[str, Any] = {"bins": 5, "show": 12}
PHOTOS, LABELED = 10, 9
RIGHT = [(number % 4,) for number in range(LABELED)]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Nine photos with the labels 0, 1, 2, 3, 0, 1 ..., and one without."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number in range(PHOTOS):
        torch.manual_seed(number)
        pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8)
        paths.append(folder / f"<i>{number}.png")
        Image.fromarray((pixels * (number / PHOTOS)).byte().numpy()).save(paths[-1])
    explorer = run(small_model(), paths, other_model(), classes=[*RIGHT, None])
    yield explorer
    explorer.session.worker.close()


def paths_of(running: Running):
    return [str(path) for path in running.paths[:LABELED]]


def events(running: Running, address: str):
    kind, data = read_events(running.get(address))[-1]
    assert kind == "result", data
    return data["html"]


@pytest.mark.parametrize(
    ("home", "model", "labels"),
    [("", small_model, [0, 1, 2, 3]), ("/with/other", other_model, [3, 2, 1, 0])],
)
def test_the_numbers_are_those_of_the_library(running, home, model, labels):
    right = [(labels[number % 4],) for number in range(LABELED)]
    result = convlens.error_analysis(model(), paths_of(running), right, examine=0, **OPTIONS)
    assert 0 < result.errors < LABELED
    text = events(running, f"{home}/errors/analysis")
    numbers = data_values(text)
    assert numbers[0] == result.accuracy.count
    error = result.calibration.equal_width.error
    assert error.estimate in numbers
    assert f"{error.low * 100:.1f}–{error.high * 100:.1f} %" in text
    for pair in result.pairs:
        cells = f"{html.escape(pair.label_name)}</a></td><td>"
        assert f'<a href="{home}/class/{pair.label}">{cells}' in text
    for wrong in result.wrong:
        key = running.keys[wrong.number]
        address = html.escape(f"{home}/photo/{key}?overlay=gradcam&class={wrong.label}")
        assert f'<a href="{address}">' in text
        assert {wrong.confidence, wrong.label_probability} <= set(numbers)
    assert "<i>" not in text
    assert f"{right}, bins=5, show=12, examine=0)" in html.unescape(text)


def test_causes_are_those_of_the_library(running):
    result = convlens.error_analysis(small_model(), paths_of(running), RIGHT, examine=12, **OPTIONS)
    text = html.unescape(events(running, "/errors/causes"))
    for cause in result.causes.causes:
        measured = f"{cause.measured[:1].upper()}{cause.measured[1:]}"
        row = text.partition(f'{cause.name}<span class="measured">{measured}')[2]
        assert data_values(row)[:2] == [cause.explained.count, cause.applies.count]
    assert text.count("Grad-CAM of the label minus the prediction") == len(result.wrong)
    for evidence in result.causes.evidence:
        words = result.causes.describe(evidence)
        assert f"{words[:1].upper()}{words[1:]}." in text
        for channel in evidence.channels[:1]:
            assert f"/{channel.channel}?photo={running.keys[evidence.number]}" in text
        for number in (*evidence.similar_right[:1], *evidence.similar_wrong[:1]):
            assert f'href="/photo/{running.keys[number]}" title="' in text


def test_the_command_takes_the_table_that_the_page_offers(running, tmp_path, monkeypatch):
    assert '<a href="/labels.csv" download>labels.csv</a>' in running.get("/errors")
    table = tmp_path / "labels.csv"
    table.write_bytes(running.client.get("/labels.csv").content)
    right = match_labels(running.paths, read_labels(table, small_model().labels, 4))
    assert right == [*RIGHT, None]
    show_commands(running)
    (command,) = re.findall(r'data-text="(convlens [^"]*)"', events(running, "/errors/analysis"))
    running.session.reproducer._model = running.session.model
    monkeypatch.chdir(tmp_path)
    _, name, *words = shlex.split(html.unescape(command))
    assert name == "errors"
    with COMMANDS.commands[name].make_context(name, words) as context:
        assert [str(path) for path in context.params["photos"]] == paths_of(running)
        assert str(context.params["labels"]) == "labels.csv"
        assert {key: context.params[key] for key in ("bins", "show", "examine")} == {
            **OPTIONS, "examine": 0
        }  # fmt: skip


def test_without_labels_there_is_no_page(tmp_path):
    explorer = run(small_model(), save_photos(tmp_path), labeled=False)
    assert "/errors" not in explorer.get("/")
    answer = explorer.client.get("/errors")
    assert (answer.status_code, "--labels FILE" in answer.text) == (400, True)
    explorer.session.worker.close()


def test_the_header_leads_to_the_page(running):
    assert '<a href="/errors">errors</a>' in running.get("/")
    text = running.get("/errors")
    assert "9 photos with a label" in text
    assert 'data-stream="/errors/analysis"' in text
