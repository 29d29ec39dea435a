"""The findings on the start page, which arrive as events: each is that of the library."""

import html
import re

import pytest

import convlens
from convlens.explorer.photo_findings import FINDERS
from support.explorers import (
    other_model,
    read_events,
    run,
    save_photos,
    show_commands,
    small_model,
    small_network,
)


def read_parts(running, address="/findings"):
    """The HTML of each finding, by the name of its analysis."""
    events = read_events(running.get(address))
    assert events[-1][0] == "end"
    parts = [html.unescape(data["html"]) for kind, data in events if kind == "part"]
    return dict(zip([finder.name for finder in FINDERS], parts, strict=True))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    photos = save_photos(tmp_path_factory.mktemp("photos"))
    explorer = run(small_model(), photos, other_model())
    yield explorer
    explorer.session.worker.close()


@pytest.fixture(scope="module")
def parts(running):
    return read_parts(running)


def test_the_check_of_the_preprocessing_is_that_of_the_library(running, parts):
    for home, model, labels in (
        ("", small_model(), [(0,), None]), ("/with/other", other_model(), [(3,), None]),
    ):  # fmt: skip
        assert f'data-stream="{home}/findings"' in running.get(f"{home}/")
        text = parts["preprocessing"]
        if home:
            text = read_parts(running, f"{home}/findings")["preprocessing"]
        diagnosis = convlens.check_preprocessing(model, running.paths, labels=labels)
        assert f"on 1 photo: {diagnosis.reason}." in text
        assert f"labels={labels})" in text
        assert "convlens doctor" not in text


def test_robustness_is_that_of_the_library(running, parts):
    attack = convlens.fgsm(small_model(), running.paths, "1/255")
    changed, by_noise = attack.flipped[0].tolist(), int(attack.noise_flipped[0].sum())
    text = parts["robustness"]
    assert f"(FGSM) changes {sum(changed)} of 2 predictions" in text
    assert f"random changes of the same size change {by_noise}" in text
    for key, is_changed in zip(running.keys, changed, strict=True):
        assert (f'href="/photo/{key}?overlay=epsilon&level=1"' in text) == is_changed


def test_the_check_of_the_maps_is_that_of_the_library(running, parts):
    model, text = small_model(), parts["explanation"]
    curves = [
        convlens.deletion_insertion(model, convlens.gradcam(model, photo))
        for photo in running.paths
    ]
    holds = [bool(curve.deletion_beats[0] and curve.insertion_beats[0]) for curve in curves]
    assert f"{sum(holds)} of 2 Grad-CAM maps hold" in text
    for key, does_hold in zip(running.keys, holds, strict=True):
        assert (f'href="/photo/{key}?overlay=gradcam"' in text) != does_hold
    (python,) = re.findall(r'data-text="(import convlens.*?)"', text, re.DOTALL)
    compile(python, "copied", "exec")


def test_channels_that_never_fire_are_those_of_the_library(tmp_path):
    network = small_network()
    network[0].bias.data[2] = -1e3
    paths = save_photos(tmp_path)
    running = run(convlens.wrap(network, size=16), paths)
    text = read_parts(running)["channels"]
    names = ["0", "2.conv"]
    result = convlens.patches(running.session.model, paths, layers=names, top=1, show=0)
    assert 2 in result["0"].dead
    total = sum(len(layer.dead) for layer in result.layers)
    channels = sum(layer.channels for layer in result.layers if layer.post)
    verb = "fires" if total == 1 else "fire"
    assert f"{total} of {channels} channels of 2 layers never {verb} on 2 photos" in text
    assert f"{len(result['0'].dead)} of 6 of 0" in text
    assert 'href="/layer/0?order=fired"' in text
    running.session.worker.close()


def test_without_labels_commands_compute_them(tmp_path):
    paths = save_photos(tmp_path)
    running = run(convlens.wrap(small_network(), size=16), paths, labeled=False)
    show_commands(running)
    parts = read_parts(running)
    for name, command in (
        ("preprocessing", "convlens doctor"), ("robustness", "convlens fgsm"),
        ("explanation", "convlens gradcam"), ("channels", "convlens patches"),
    ):  # fmt: skip
        assert f"{command} {paths[0]}" in parts[name]
    running.session.worker.close()


def test_what_does_not_apply_has_its_reason_and_the_others_are_found(tmp_path):
    """A network whose only map is its output: no layer follows a non-linearity."""
    network = small_network()
    del network[1:3]  # the non-linearity and the sum
    running = run(convlens.wrap(network, size=16), save_photos(tmp_path))
    parts = read_parts(running)
    assert "Channels that never fire: no layer is read after a non-linearity." in parts["channels"]
    assert "of 2 predictions" in parts["robustness"]
    running.session.worker.close()


def test_there_are_no_findings_without_photos_or_classes(tmp_path):
    running = run(small_model(), [])
    assert "data-stream" not in running.get("/")
    assert "no photo is a file" in read_parts(running)["preprocessing"]
    running.session.worker.close()
