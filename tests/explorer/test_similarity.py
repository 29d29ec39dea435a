"""CKA of two models beside the open page: first its cost, then the numbers of the library."""

import html
import re
from typing import Any
from urllib.parse import quote

import pytest

import convlens
from support.explorers import data_values, other_model, read_events, run, save_photos, small_model


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    photos = save_photos(tmp_path_factory.mktemp("photos"), 6)
    explorer = run(small_model(), photos, other_model())
    yield explorer
    explorer.session.worker.close()


def offer(running, layer):
    answer = running.client.get(f"/similarity/other?layer={quote(layer, safe='')}")
    return html.unescape(answer.json()["html"])


@pytest.mark.parametrize("layer", ["", "2/add"])
def test_the_cost_is_reported_before_and_the_numbers_are_those_of_the_library(running, layer):
    costs = []
    others = ["0", "2.conv", "2/add"]  # all of the small network, the one of the same name too
    layers: dict[str, Any] = {"layers": [layer], "second_layers": others} if layer else {}
    expected = convlens.cka(
        small_model(), other_model(), running.paths, **layers, notify=costs.append
    )
    text = offer(running, layer)
    assert f"{costs[0][1:]}." in text
    assert "data-waits" in text
    (address,) = re.findall(r'data-stream="([^"]*)"', text)
    kind, data = read_events(running.get(address))[-1]
    assert kind == "result", data
    shown = html.unescape(data["html"])
    rows = re.findall(r"<code>(.*?)</code></td><td><code>(.*?)</code>.*?</tr>", shown)
    values = data_values(shown)
    if layer:
        order = expected.values[0].argsort(descending=True).tolist()
        places = [(0, column) for column in order]
    else:
        places = list(enumerate(expected.values.argmax(dim=1).tolist()))
    assert rows == [
        (expected.first_layers[row], expected.second_layers[column]) for row, column in places
    ]
    assert values == [
        float(matrix[place]) for place in places for matrix in (expected.values, expected.null_high)
    ]
    assert f"second_layers={others})" in shown if layer else "layers=" not in shown


def test_a_wrong_layer_and_too_few_photos_have_their_reason(running, tmp_path):
    assert "has no layer '2/ad'" in offer(running, "2/ad")
    few = run(small_model(), save_photos(tmp_path), other_model())
    assert "at least 5 are needed" in offer(few, "")
    assert few.client.get("/similarity/none").status_code == 404
    few.session.worker.close()
