"""The patches on the pages: one pass for a layer, and the numbers of the copied calls."""

import asyncio
import html
import re

import pytest

import convlens
from convlens.explorer import patch_search
from convlens.explorer.patch_search import search_layers, search_patches
from support.explorers import run, save_photos, small_model

LAYERS = ("0", "2/add", "2.conv")


@pytest.fixture
def running(tmp_path):
    explorer = run(small_model(), save_photos(tmp_path, count=5), seed=2)
    yield explorer
    explorer.session.worker.close()


@pytest.fixture
def searched(monkeypatch):
    """The layers of each pass."""
    layers = []

    def count(model, paths, **options):
        layers.append(options["layers"])
        return convlens.patches(model, paths, **options)

    monkeypatch.setattr(patch_search, "patches", count)
    return layers


def test_a_layer_is_searched_once_for_all_its_channels(running, searched):
    for address in ("/layer/0", "/channel/0/1", "/channel/0/3", "/layer/0?view=patches"):
        running.get(address)
    assert searched == [["0"]]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("channels", "top"), [([4], 9), ([0, 1, 2, 3, 4, 5], 1), ([], 9)])
def test_patches_are_those_of_the_copied_call_in_every_bit(running, layer, channels, top):
    async def search():
        await search_layers(running.session, LAYERS)
        return await search_patches(running.session, layer, channels, top)

    found, reproduction = asyncio.run(search())
    variables = {"model": running.session.model}
    exec(reproduction.python, variables)
    assert found == variables["result"][layer]


def test_several_layers_are_searched_in_one_pass(running, searched):
    running.session.notice_changes()
    asyncio.run(search_layers(running.session, LAYERS))
    for layer in LAYERS:
        running.get(f"/channel/{layer.replace('/', '%2F')}/1")
    assert searched == [list(LAYERS)]


def test_channels_of_a_group_are_cut_out_together(running):
    running.session.channel_groups["0"] = (5, 1)
    text = html.unescape(running.get("/channel/0/1"))
    assert "show={'0': [5, 1]}" in text
    paths, model = running.paths, running.session.model
    layer = convlens.patches(model, paths, layers=["0"], show={"0": [5, 1]}, seed=2)["0"]
    (entry,) = (entry for entry in layer.shown if entry.channel == 1)
    tiles = re.findall(r'class="numbers"><data value="([^"]+)"', text)
    assert [float(value) for value in tiles][: len(entry.values)] == list(entry.values)
    assert layer.crop_check.summary() in text
    assert "show={'0': [2]}" in html.unescape(running.get("/channel/0/2"))


def test_the_patches_of_a_deleted_photo_are_left_out(running):
    def shown():
        text = html.unescape(running.get("/channel/0/3"))
        return text, re.findall(r'alt="Patch from ([^"]+)"', text)

    _, before = shown()
    gone = next(path for path in running.paths if path.name == before[0])
    gone.unlink()
    text, after = shown()
    assert after == before[1:]
    assert "of 4 photos make it fire" in text
    for path in running.paths:
        path.unlink(missing_ok=True)
    assert "no photo is a file; start convlens explore with some PHOTOS" in shown()[0]
