"""Two models side by side: the pages of the second one, their frames, and the answers of both."""

import html
import json
import re

import pytest

import convlens
from convlens.explorer.explore import name_models
from support.explorers import other_model, run, save_photos, small_model, small_network

PAIRS = {0: 3, 1: 2, 2: 1, 3: 0}  # classes of the same name


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    photos = save_photos(tmp_path_factory.mktemp("photos"))
    explorer = run(small_model(), photos, other_model())
    yield explorer
    explorer.session.worker.close()


def test_pages_of_the_second_model_have_its_numbers_and_links(running):
    text = running.get("/with/other/")
    for path in running.paths:
        predictions = convlens.predict(other_model(), path)
        assert f'<data value="{float(predictions.confidences[0, 0])}">' in text
    links = re.findall(r'(?:href|action|data-\w+)="(/[^"]*)"', text)
    assert len(links) > 5
    own = ("/with/other", "/assets/")
    assert [link for link in links if not link.startswith(own)] == []
    key = running.keys[0]
    path = running.session.photos.find(key).path
    for target in range(4):
        cam = convlens.gradcam(other_model(), path, classes=[target])
        page = f"/photo/{key}?overlay=gradcam&class={target}"
        assert f"logit {cam.scores[0, 0]:+.2f}".replace("-", "−") in running.get(
            f"/with/other{page}"
        )
        assert f"logit {cam.scores[0, 0]:+.2f}".replace("-", "−") not in running.get(page)
    names = running.client.get("/with/other/search.json").json()
    assert ["2/add", "/with/other/layer/2%2Fadd"] in names["layers"]


def test_right_answers_are_those_of_the_classes_of_the_same_name(running):
    """The first photo is labeled class 0 of the first model, which is class 3 of the second."""
    key = next(photo.key for photo in running.session.photos if photo.classes == (0,))
    for home, index in (("", 0), ("/with/other", 3)):
        text = running.get(f"{home}/photo/{key}")
        (right,) = re.findall(r'<li [^>]*class="expected">.*?</li>', text, re.DOTALL)
        assert "tabby" in right
        assert f'class={index}" id="class-{index}"' in right


def test_an_address_with_a_second_model_shows_two_frames(running):
    text = html.unescape(running.get("/layer/2%2Fadd?order=activation&with=other"))
    assert '<iframe title="other net" data-home="/with/other">' in text
    assert 'src="/layer/2%2Fadd?order=activation" data-home=""' in text
    (classes,) = re.findall(r'data-classes="([^"]*)"', text)
    assert dict(enumerate(json.loads(classes))) == {own: first for first, own in PAIRS.items()}
    assert "other net</a>" in running.get("/")  # leads there
    assert "other net</a>" not in running.get("/with/other/")


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [("/?with=othr", 400, "nearest: other"), ("/with/none/", 404, "no model of this name"),
     ("/answers/othr", 404, "nearest: other"), ("/?with=<b>", 400, "&lt;b&gt;")],
)  # fmt: skip
def test_unknown_models_are_refused(running, address, status, says):
    answer = running.client.get(address)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text


def test_the_answers_of_both_are_those_of_the_library(running):
    labels = [photo.classes for photo in running.session.photos.files(9)]
    changes = convlens.compare_answers(small_model(), other_model(), running.paths, labels=labels)
    text = html.unescape(running.client.get("/answers/other").json()["html"])
    for line in changes.summary().splitlines():
        assert f"{line[:1].upper()}{line[1:]}." in text
    assert "convlens.compare_answers(first, second, [" in text


def test_models_without_a_common_class_are_still_shown(tmp_path):
    other = convlens.wrap(small_network(classes=2), size=16, labels=["sun", "moon"])
    running = run(small_model(), save_photos(tmp_path), other)
    assert "have no class in common" in running.get("/?with=other")
    assert "have no class in common" in running.client.get("/answers/other").json()["html"]
    assert "sun" in running.get("/with/other/") + running.get("/with/other/class/0")
    running.session.worker.close()


def test_names_of_compared_models_differ():
    def model(name):
        return convlens.wrap(small_network(), size=16, name=name)

    names = name_models(model("net"), [model("net"), model("net"), model("a/b"), model("é")])
    assert names == [("net-2", "net (2)"), ("net-3", "net (3)"), ("a-b", "a/b"), ("model", "é")]
