"""The copied commands and Python lines: seeds, classes whose names are numbers, and objectives."""

import html
import re
import shlex
from typing import Any

import pytest
import typer

import convlens
import convlens.cli.commands
from convlens.cli.app import app
from convlens.models.labels import find_class
from support.explorers import run, save_photos, show_commands, small_model, small_network

pytest_plugins = ("support.explorers",)

COMMANDS: Any = typer.main.get_command(app)
LABELS = ["1", "2", "3", "0"]  # every index is the name of another class


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    network = convlens.wrap(small_network(), size=16, labels=LABELS)
    running = run(network, save_photos(tmp_path_factory.mktemp("photos")))
    show_commands(running)
    yield running
    running.session.worker.close()


def copied(text):
    return [html.unescape(command) for command in re.findall(r'data-text="([^"]*)"', text)]


def test_the_class_of_a_copied_gradcam_is_the_one_on_the_page(digits):
    for target in range(4):
        text = digits.get(f"/photo/{digits.keys[0]}?overlay=gradcam&class={target}")
        command, python = copied(text)[:2]
        words = shlex.split(command)
        assert words[:2] == ["convlens", "gradcam"]
        assert find_class(LABELS, words[words.index("--class") + 1], 4) == target
        assert f"classes=[{target}])" in python


def test_the_form_of_the_class_shows_what_it_reads_as_this_class(digits):
    for target in range(4):
        text = digits.get(f"/photo/{digits.keys[0]}?overlay=gradcam&class={target}")
        (value,) = re.findall(r'name="class_name" value="([^"]*)"', text)
        assert find_class(LABELS, value, 4) == target


@pytest.mark.parametrize(("name", "target"), [("tree", 3), ("TABBY CAT", 0), ("2", 2)])
def test_a_class_is_chosen_by_name_in_the_form(explorer, name, target):
    path = explorer.session.photos.find(explorer.keys[0]).path
    cam = convlens.gradcam(explorer.session.model, path, classes=[target])
    page = f"/photo/{explorer.keys[0]}?"
    answer = explorer.client.get(f"{page}overlay=gradcam&class_name={name}")
    assert (answer.status_code, answer.headers["location"]) == (
        303, f"{page}overlay=gradcam&class={target}",
    )  # fmt: skip
    text = explorer.get(answer.headers["location"])
    assert f"logit {cam.scores[0, 0]:+.2f}".replace("-", "−") in text
    assert f'aria-current="true" title="{cam.names[0][0]}: Grad-CAM"' in html.unescape(text)


def test_a_name_that_no_class_has_is_refused_with_the_nearest(explorer):
    answer = explorer.client.get(f"/photo/{explorer.keys[0]}?overlay=gradcam&class_name=tre")
    assert (answer.status_code, "nearest: tree" in answer.text) == (400, True)


@pytest.mark.parametrize("seed", [0, 7])
def test_python_lines_have_the_seed(tmp_path, seed):
    running = run(small_model(), save_photos(tmp_path), seed=seed)
    last_argument = f", seed={seed})" if seed else ")"
    for address in ("/channel/0/2", f"/photo/{running.keys[0]}?overlay=epsilon"):
        texts = [text for text in copied(running.get(address)) if "import" in text]
        calls = [text for text in texts if "patches(" in text or "fgsm(" in text]
        assert len(calls) == 1
        assert calls[0].endswith(last_argument)
        assert ("seed" in calls[0]) == bool(seed)
    running.session.worker.close()


@pytest.mark.parametrize(
    ("address", "option", "objective"),
    [("/channel/0/2/image", "--channel", "0:2"), ("/class/3/image", "--class", "+3")],
)
def test_a_maximized_image_has_its_command(digits, address, option, objective):
    text = digits.client.get(address).text.rpartition("event: result\ndata: ")[2]
    command, python = copied(text.encode().decode("unicode_escape"))
    words = shlex.split(command)
    assert words[:4] == ["convlens", "maximize", option, objective]
    assert f"convlens.maximize(model, ['{objective}'])" in python


def test_every_copied_command_is_one_that_convlens_takes(tmp_path):
    """The words are parsed as the command line does it; nothing is computed."""
    running = run(small_model(), save_photos(tmp_path), labeled=False, seed=7)
    show_commands(running)
    key = running.keys[0]
    addresses = [
        "/layer/0", "/layer/0?view=patches", "/layer/0?view=maximized", "/channel/0/2", "/class/3",
        "/kernel/0/2?at=1,2",
        "/channel/0/2/image", "/class/3/image", "/channel/0/2/tuning", "/findings",
        f"/photo/{key}?layer=2%2Fadd&at=1,2", f"/photo/{key}?overlay=map",
        f"/photo/{key}?overlay=gradcam&layer=2%2Fadd&side=post", f"/photo/{key}/dream?layer=0",
        f"/photo/{key}?overlay=epsilon", f"/photo/{key}?overlay=shift",
    ]  # fmt: skip
    parsed = set()
    for address in addresses:
        text = running.get(address).replace("\\n", "\n").replace('\\"', '"')
        for command in (text for text in copied(text) if text.startswith("convlens ")):
            _, name, *words = shlex.split(command)
            with COMMANDS.commands[name].make_context(name, words) as context:
                assert context.params["seed"] == 7
            parsed.add(name)
    assert parsed == {
        "doctor",
        "dream",
        "maps",
        "patches",
        "gradcam",
        "detector",
        "maximize",
        "field",
        "fgsm",
        "tuning",
    }
    running.session.worker.close()
