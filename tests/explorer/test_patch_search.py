"""The patches on the pages: one pass for a layer, and the numbers of the copied calls."""

import asyncio
import html
import re
from dataclasses import replace

import pytest

import convlens
from convlens.analyses.patches import layer_patches
from convlens.analyses.patches.dataset_pass import tabulate_patches
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
        return tabulate_patches(model, paths, **options)

    monkeypatch.setattr(patch_search, "tabulate_patches", count)
    return layers


def test_a_layer_is_searched_once_for_all_its_channels(running, searched):
    for address in ("/layer/0", "/channel/0/1", "/channel/0/3", "/layer/0?view=patches"):
        running.get(address)
    assert searched == [["0"]]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("channels", "top", "check"),
    [([4], 9, True), ([4], 9, False), ([0, 1, 2, 3, 4, 5], 1, False), ([], 9, False)],
)
def test_patches_are_those_of_the_copied_call_in_every_bit(running, layer, channels, top, check):
    async def search():
        await search_layers(running.session, LAYERS)
        return await search_patches(running.session, layer, channels, top, check=check)

    found, reproduction = asyncio.run(search())
    variables = {"model": running.session.model}
    exec(reproduction.python, variables)
    expected = variables["result"][layer]
    if not check:
        assert found.crop_check.summary() == ""
        expected = replace(expected, crop_check=found.crop_check)
    assert found == expected


def test_crops_are_run_again_only_for_pages_that_show_it(running, monkeypatch):
    checked = []

    def count(model, image_trace, node, images, units, *options):
        checked.append(len(units))
        return check_crops(model, image_trace, node, images, units, *options)

    check_crops = layer_patches.check_crops
    monkeypatch.setattr(layer_patches, "check_crops", count)
    for address in ("/layer/0", "/layer/0?view=patches", "/findings"):
        running.get(address)
    assert checked == []
    text = html.unescape(running.get("/channel/0/3"))
    assert len(checked) == 1
    layer = convlens.patches(
        running.session.model, running.paths, layers=["0"], show={"0": [3]}, seed=2
    )["0"]
    assert layer.crop_check.checked > 5
    assert f"Evidence: {layer.crop_check.summary()}." in text


def test_several_layers_are_searched_in_one_pass(running, searched):
    running.session.notice_changes()
    asyncio.run(search_layers(running.session, LAYERS))
    for layer in LAYERS:
        running.get(f"/channel/{layer.replace('/', '%2F')}/1")
    assert searched == [list(LAYERS)]


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
