"""The histogram, the classes and the tuning of a channel: the numbers of the library."""

import html
import re

import pytest
import torch

import convlens
from convlens.analyses.patches.activation_statistics import BIN_EDGES
from convlens.explorer.pages.channel_panels import list_bars
from support.explorers import read_events

pytest_plugins = ("support.explorers",)


def test_bars_are_the_photos_between_two_activations(explorer):
    model, paths = explorer.session.model, explorer.paths
    layer = convlens.patches(model, paths, layers=["0"], show=0)["0"]
    greatest = torch.stack([convlens.feature_maps(model, path, layer="0").maps for path in paths])
    for channel, values in enumerate(greatest.amax((2, 3)).T.tolist()):
        bars = list_bars(layer, channel)
        assert sum(bar.photos for bar in bars) == len(values)
        assert max(bar.share for bar in bars) == 1
        assert bars[0].photos > 0 < bars[-1].photos
        for bar, value in ((bars[0], min(values)), (bars[-1], max(values))):
            if value <= float(BIN_EDGES[0]):
                assert bar.text == "at most 0.000244"
                continue
            low, high = map(float, bar.text.split(" to "))
            assert low * 0.99 <= value <= high * 1.01
    text = html.unescape(explorer.get("/channel/0/2"))
    for bar in list_bars(layer, 2):
        assert f"{bar.text}: {bar.photos} photo" in text


def test_classes_have_the_weights_of_gradcam(explorer):
    model = explorer.session.model
    photo = next(iter(explorer.session.photos))
    classes = convlens.predict(model, photo.path, top=4).classes[0].tolist()
    for name in ("0", "2/add"):
        cam = convlens.gradcam(model, photo.path, classes=classes, layer=name, side="post")
        text = html.unescape(explorer.get(f"/channel/{name.replace('/', '%2F')}/3"))
        assert f"classes={classes}, layer='{name}', side='post')" in text
        for rank in range(4):
            values = (cam.alpha[0, rank, 3], cam.contributions[0, rank, 3])
            row = "".join(f'<td class="number"><data value="{float(v)}">' for v in values)
            row = row.replace("<td", ".*?<td").replace(">.*?", ">[^<]*</data></td>.*?")
            assert re.search(rf"{re.escape(cam.names[0][rank])}</a></td>{row}", text, re.DOTALL)


def test_tuning_comes_as_events(explorer):
    tuning = convlens.orientation_tuning(explorer.session.model, layer="0")
    for channel in range(6):
        events = read_events(explorer.get(f"/channel/0/{channel}/tuning"))
        kind, data = events[-1]
        assert kind == "result"
        text = html.unescape(data["html"])
        if tuning.silent[channel]:
            assert f"Channel {channel} responds to none" in text
            continue
        orientation = float(tuning.preferred_orientation[channel])
        assert f"Channel {channel} prefers bars at {orientation:.0f}°" in text
        assert f"F1/F0 {float(tuning.modulation[channel]):.2g}" in text
        assert "convlens.orientation_tuning(model, layer='0')" in text
    assert not bool(tuning.silent.all())


@pytest.mark.parametrize(
    ("address", "says"), [("/channel/0/99/tuning", "has 6 channels"), ("/channel/x/0/tuning", "x")]
)
def test_tuning_of_what_is_no_channel_is_refused(explorer, address, says):
    answer = explorer.client.get(address)
    assert (answer.status_code, says in answer.text) == (400, True)
