"""The pages of layers, channels and classes: the numbers of the library, dead channels, streams."""

import html
import re

import pytest
import torch

import convlens
from convlens.explorer import session as session_module
from support.explorers import MARKUP, data_values, read_events, run, save_photos, small_network

pytest_plugins = ("support.explorers",)


def test_layer_page_has_the_activations_of_the_photo(explorer):
    path = explorer.paths[0]
    key = next(photo.key for photo in explorer.session.photos if photo.path == path)
    maps = convlens.feature_maps(explorer.session.model, path, layer="2/add").maps
    text = explorer.get(f"/layer/2%2Fadd?photo={key}")
    assert set(maps.amax((1, 2)).tolist()) <= set(data_values(text))
    assert text.count("number-of-channel") == len(maps)


def test_layer_page_sorts_by_activation_and_by_share_of_photos(explorer):
    model, path = explorer.session.model, explorer.paths[0]
    key = next(photo.key for photo in explorer.session.photos if photo.path == path)
    peaks = convlens.feature_maps(model, path, layer="0").maps.amax((1, 2))
    fired = convlens.patches(model, explorer.paths, layers=["0"], show=0)["0"].images_fired
    for order, values in (("activation", peaks), ("fired", fired)):
        text = explorer.get(f"/layer/0?photo={key}&order={order}")
        channels = [int(k) for k in re.findall(r'number-of-channel">(\d+)<', text)]
        expected = sorted(range(6), key=lambda channel: (-float(values[channel]), channel))
        assert channels == expected


def test_photos_that_cannot_be_decoded_are_not_counted(tmp_path):
    paths = save_photos(tmp_path)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) // 2])
    running = run(convlens.wrap(small_network(), size=16), paths)
    text = " ".join(running.get("/layer/0").split())
    assert "on 1 photo." in text
    assert "the share of 1 photo on which it fires" in text
    running.session.worker.close()


def dead_model():
    """The second channel of layer 0 never fires."""
    network = small_network()
    with torch.no_grad():
        network[0].weight[1] = 0
        network[0].bias[1] = -1
    return convlens.wrap(network, size=16)


def test_channels_that_never_fire_are_marked_and_have_no_patch(tmp_path):
    paths = save_photos(tmp_path)
    running = run(dead_model(), paths)
    dead = convlens.patches(dead_model(), paths, layers=["0"], show=0)["0"].dead
    assert 1 in dead
    assert len(dead) < 6
    text = running.get("/layer/0?view=patches")
    assert f"{len(dead)} of 6 channels never" in " ".join(text.split())
    tiles = re.findall(r"<li( class=\"dead\")?>(<a href=\"/channel.*?)</li>", text, re.DOTALL)
    assert [bool(mark) for mark, _ in tiles] == [channel in dead for channel in range(6)]
    assert ["<img" in tile for _, tile in tiles] == [channel not in dead for channel in range(6)]
    text = running.get("/channel/0/1")
    assert "No photo activates it." in text
    assert "it never fires on these photos" in text
    running.session.worker.close()


def test_channel_page_has_the_patches_of_the_library(explorer):
    model = explorer.session.model
    layer = convlens.patches(model, explorer.paths, layers=["0"], show={"0": [2]})["0"]
    text = html.unescape(explorer.get("/channel/0/2"))
    (entry,) = layer.shown
    shown = [value for value in entry.values if value > 0]
    assert shown
    assert set(shown) <= set(data_values(text))
    assert layer.crop_check.summary() in text
    for rank in range(len(shown)):
        photo = next(p for p in explorer.session.photos if str(p.path) == entry.photos[rank])
        at = f"{layer.rows[2, rank]}%2C{layer.columns[2, rank]}"
        assert f"/photo/{photo.key}?layer=0&at={at}" in text


def test_class_page_compares_the_photos(explorer):
    model = explorer.session.model
    text = explorer.get("/class/2")
    shares = convlens.predict(model, explorer.paths).probabilities[:, 2]
    assert [value in data_values(text) for value in shares.tolist()] == [True, True]
    assert MARKUP not in explorer.get("/class/1")


@pytest.mark.parametrize(("address", "objective"), [("/channel/0/2", "0:2"), ("/class/3", "3")])
def test_a_maximized_image_comes_as_events(explorer, address, objective):
    maximum = convlens.maximize(explorer.session.model, [objective]).maxima[0]
    answer = explorer.client.get(f"{address}/image")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = read_events(answer.text)
    assert events[0][0] == "progress"
    assert events[-1][0] == "result"
    assert html.escape(maximum.summary()) in events[-1][1]["html"]
    again = read_events(explorer.get(f"{address}/image"))
    assert again[-1] == events[-1]


def test_a_fault_in_a_stream_is_reported_as_one(explorer, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("of convlens")

    monkeypatch.setattr(session_module, "maximize", fail)
    kind, data = read_events(explorer.get("/channel/0/5/image"))[-1]
    assert (kind, "convlens failed here (RuntimeError)" in data["reason"]) == ("failure", True)
    assert "of convlens" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["/layer/0", "/layer/0?view=patches", "/channel/0/0", "/class/0"])
def test_pages_work_without_photos(page):
    running = run(convlens.wrap(small_network(), size=16), [])
    text = running.get(page)
    assert "no photo" in text
    running.session.worker.close()
