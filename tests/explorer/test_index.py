"""The index: patches of a whole data set on the pages of layers and channels."""

import html
import re

import pytest
import torch
from PIL import Image

import convlens
import convlens.explorer.explore as explore_module
from convlens import ConvlensError
from convlens.analyses.patches.result import Patches
from support.command_line import MINE, one_line
from support.explorers import data_values, run, save_photos, small_model, small_network

pytest_plugins = ("support.command_line",)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return save_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def indexed(paths):
    """An explorer that shows one photo, with an index of two."""
    model = small_model()
    index = convlens.patches(model, paths, show=0)
    running = run(model, paths[:1], seed=3, index=index, index_name="'index'")
    yield running, index
    running.session.worker.close()


def test_a_channel_has_the_patches_of_all_photos_of_the_index(indexed, paths):
    running, index = indexed
    text = html.unescape(running.get("/channel/0/2"))
    cut = convlens.cut_patches(small_model(), index, {"0": [2]}, seed=3)["0"]
    (entry,) = cut.shown
    assert len(entry.values) == 2
    assert set(entry.values) <= set(data_values(text))
    assert cut.crop_check.summary() in text
    assert "of 2 photos make it fire" in text
    assert "convlens.cut_patches(model, 'index', {'0': [2]}, top=9, seed=3)" in text
    assert "convlens patches" not in text
    assert str(paths[1]) in text  # which is no photo of the explorer
    for photo in entry.photos:
        page = running.session.photos.find_path(photo)
        assert (page is not None) == (photo == str(paths[0]))


def test_a_layer_has_the_statistics_and_patches_of_the_index(indexed):
    running, index = indexed
    text = " ".join(html.unescape(running.get("/layer/0?view=patches")).split())
    assert "on 2 photos" in text
    assert "top=1, seed=3)" in text
    fired = index["0"].images_fired / 2
    assert set(fired.tolist()) <= set(data_values(text))


def test_layers_that_the_index_lacks_are_searched_among_the_first_photos(indexed):
    running, index = indexed
    assert "2/add" not in [layer.layer for layer in index.layers]
    text = html.unescape(running.get("/channel/2%2Fadd/1"))
    assert "of 1 photo make it fire" in text
    assert "convlens.patches(model, [" in text


def test_channels_in_the_order_of_their_selectivity(tmp_path):
    paths = []
    for number in range(14):
        torch.manual_seed(number)
        pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8).numpy()
        paths.append(tmp_path / f"{number:02}.png")
        Image.fromarray(pixels).save(paths[-1])
    model = small_model()
    labels = [(number % 2,) for number in range(14)]
    index = convlens.patches(model, paths, show=0, labels=labels)
    explorer = convlens.explore(model, index=index, port=0)
    running = run(model, paths, index=index)
    layer = index["0"]
    order = sorted(range(6), key=lambda channel: (-float(layer.selectivity[channel]), channel))
    assert order != sorted(order)
    text = running.get("/layer/0?order=selectivity")
    assert [int(k) for k in re.findall(r'number-of-channel">(\d+)<', text)] == order
    area = float(layer.selectivity[order[0]])
    assert f"area under the ROC curve of {area:.2f}" in running.get(f"/channel/0/{order[0]}")
    running.session.worker.close()
    explorer.stop()
    assert "order=selectivity" not in run(model, paths).get("/layer/0")


def test_an_index_of_another_model_is_refused(paths):
    index = convlens.patches(small_model(), paths, show=0)
    with pytest.raises(convlens.ConvlensError, match="give the model of the pass"):
        convlens.explore(convlens.wrap(small_network(), size=20), index=index, port=0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--index", "none"], "none holds no saved result"),
        (["a.png", "--index", "."], "holds other files"),
        (["--index", "made", "--labels", "l.csv"], "--labels needs PHOTOS"),
    ],
)  # fmt: skip
def test_what_is_no_index_is_refused(here, convlens, words, says):
    (here / "made").mkdir()
    (here / "made" / "result.json").write_text("{}")
    (here / "l.csv").write_text("file,class\na.png,1\n")
    assert says in one_line(convlens("explore", *words, "--model", MINE))


def test_the_command_makes_an_index_once(here, convlens, monkeypatch):
    indexes = []

    def start(model, paths, *, index, **_):
        indexes.append(Patches.load(index))
        raise ConvlensError("not started")

    monkeypatch.setattr(explore_module, "explore", start)
    (here / "l.csv").write_text("file,class\na.png,1\n")  # too few labels for selectivity
    for _ in range(2):
        answer = convlens(
            "explore", "a.png", "b.png", "--index", "index", "--labels", "l.csv", "--model", MINE
        )
        assert "not started" in answer[2]
    assert indexes[0] == indexes[1]
    assert indexes[0].photos == ("a.png", "b.png")
    assert [layer.shown for layer in indexes[0].layers] == [()]
    assert not list(here.glob("*.unfinished"))
