"""The pages: each shows the numbers of the library call, at an address that names its state."""

import base64
import html
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens.data.images import to_pixels
from support.explorers import MARKUP, run, save_photos, small_network

pytest_plugins = ("support.explorers",)


def values(text, pattern):
    return [float(value) for value in re.findall(pattern, text)]


def test_start_page_shows_predictions_of_all_photos(explorer):
    text = explorer.get("/")
    for path in explorer.paths:
        predictions = convlens.predict(explorer.session.model, path)
        assert f'<data value="{float(predictions.confidences[0, 0])}">' in text
        assert html.escape(predictions.names[0][0]) in text


def test_start_page_says_what_the_model_lacks(explorer):
    text = html.unescape(explorer.get("/"))
    sentences = convlens.missing_settings(explorer.session.model)
    assert len(sentences) >= 1
    for sentence in sentences:
        assert sentence[1:] in text


def test_names_are_escaped(explorer):
    photo = next(photo for photo in explorer.session.photos if photo.name == "<b>x&y.png")
    for address in ("/", f"/photo/{photo.key}", f"/photo/{photo.key}?overlay=gradcam&class=1"):
        text = explorer.get(address)
        assert MARKUP not in text
        assert "<b>x&y" not in text
    assert f"dog {html.escape(MARKUP)}" in text


def stage_picture(text):
    """The pixels of the large picture of a photo page."""
    (source,) = re.findall(
        r'id="photo-frame".*?src="data:image/png;base64,([^"]+)"', text, re.DOTALL
    )
    return np.array(Image.open(io.BytesIO(base64.b64decode(source))))


def path_of(explorer, key):
    return next(photo.path for photo in explorer.session.photos if photo.key == key)


def test_gradcam_is_that_of_the_library(explorer):
    key, shares = explorer.keys[0], 0
    path = path_of(explorer, key)
    for target in range(4):
        cam = convlens.gradcam(explorer.session.model, path, classes=[target])
        text = explorer.get(f"/photo/{key}?overlay=gradcam&class={target}")
        assert f"logit {cam.scores[0, 0]:+.2f}".replace("-", "−") in text
        assert html.escape(cam.summarize_map(0, 0)) in text
        for share in cam.channel_shares(0, 0, 8):
            assert f'<data value="{share.share}">' in text
            shares += 1
        assert f"classes=[{target}])" in html.unescape(text)
        assert np.array_equal(stage_picture(text), cam.overlays()[0, 0].numpy())
    assert shares > 0


def test_the_photo_and_a_feature_map_are_those_of_the_library(explorer):
    key, model = explorer.keys[0], explorer.session.model
    path = path_of(explorer, key)
    photo = to_pixels(model.prepare(path))[0].numpy()
    assert np.array_equal(stage_picture(explorer.get(f"/photo/{key}")), photo)
    maps = convlens.feature_maps(model, path, layer="0", channels=[2])
    drawn = stage_picture(explorer.get(f"/photo/{key}?overlay=map&layer=0&channel=2"))
    # A position of the map lies at every second pixel, and its field is centered there.
    assert np.array_equal(drawn[::2, ::2], maps.colors(maps.maps[0]).numpy())


def test_a_pinned_unit_has_the_numbers_of_the_library(explorer):
    key = explorer.keys[0]
    model = explorer.session.model
    path = path_of(explorer, key)
    field = convlens.receptive_field(model, path, layer="2/add", at=(3, 5))
    maps = convlens.feature_maps(model, path, layer="2/add").maps
    text = explorer.get(f"/photo/{key}?layer=2%2Fadd&at=3,5")
    assert field.summary() in text
    column = maps[:, 3, 5]
    for channel, value in enumerate(column.tolist()):
        assert f'2/add:{channel}</code></a></td><td class="number"><data value="{value}">' in text
    lower = (maps < column[:, None, None]).flatten(1).double().mean(1)
    assert sorted(values(text, r'<data value="([\d.]+)">\d+ %</data></td></tr>')) == pytest.approx(
        sorted(lower.tolist())
    )


def test_fields_are_those_of_the_library(explorer):
    answer = explorer.client.get("/fields.json").json()
    model = explorer.session.model
    image = torch.rand(1, 3, 16, 16)
    assert [layer["name"] for layer in answer["layers"]] == ["0", "2.conv", "2/add"]
    for layer in answer["layers"]:
        low, high = zip(*(unpack(layer[axis]) for axis in "yx"), strict=True)
        for row, column in ((0, 0), (len(low[0]) - 1, len(low[1]) // 2)):
            box = convlens.receptive_field(model, image, layer=layer["name"], at=(row, column)).box
            assert box == (low[0][row], high[0][row], low[1][column], high[1][column])


def unpack(axis):
    if isinstance(axis[0], list):
        return axis
    count, offset, stride, size = axis
    low = [offset + position * stride for position in range(count)]
    return low, [first + size - 1 for first in low]


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("overlay=gradcm", 400, "nearest: gradcam"),
        ("layer=2%2Fad", 400, "has no layer &#39;2/ad&#39;"),
        ("class=tabyb", 400, "tabby"),
        ("class=99", 400, "class 99 of 4"),
        ("at=1,2,3", 400, "not Y,X"),
        ("layer=0&at=99,99", 200, "has 8 x 8 positions"),
        ("overlay=map&layer=0&channel=6", 200, "has 6 channels"),
        ("overlay=map&channel=x", 400, "is no number"),
        ("side=past", 400, "no side"),
    ],
)
def test_what_an_address_cannot_mean_is_said(explorer, query, status, says):
    answer = explorer.client.get(f"/photo/{explorer.keys[0]}?{query}")
    assert (answer.status_code, says in answer.text) == (status, True), answer.text


@pytest.mark.parametrize(
    "address", ["/photo/none", "/photo/..%2F..%2Fetc%2Fpasswd", "/assets/..%2Fapp.py", "/x",
                "/assets/%2Fetc%2Fpasswd", "/photo/000000000000"],
)  # fmt: skip
def test_there_is_nothing_at_other_addresses(explorer, address):
    answer = explorer.client.get(address)
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_search_has_all_layers_classes_and_photos(explorer):
    names = explorer.client.get("/search.json").json()
    assert ["2/add", "/layer/2%2Fadd"] in names["layers"]
    assert [name for name, _ in names["classes"]] == list(explorer.session.model.labels)
    assert {name for name, _ in names["photos"]} >= {"cat.png", "<b>x&y.png"}


class Segmentation(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 1)

    def forward(self, images):
        return self.head(torch.relu(self.conv(images)))


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (small_network(channels=1), {"channels": 1}),
        (small_network(classes=1), {}),
        (Segmentation(), {}),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)), {}),
    ],
    ids=["gray", "one output", "segmentation", "no maps"],
)
def test_any_network_has_its_pages(tmp_path, network, options):
    running = run(convlens.wrap(network, size=16, **options), save_photos(tmp_path)[:1])
    assert "cat.png" in running.get("/")
    for overlay in ("fields", "gradcam", "map"):
        text = running.get(f"/photo/{running.keys[0]}?overlay={overlay}&at=0,0")
        assert "<img" in text
    running.session.worker.close()
