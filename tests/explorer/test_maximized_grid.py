"""The maximized images of a layer's channels: those of one call, 16 at a time."""

import html
import re

import pytest
import torch
from torch import nn

import convlens
from convlens.data.images import to_pixels
from convlens.html.pictures import PictureBudget
from support.explorers import data_values, read_events, run, save_photos

CHANNELS = 20


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, CHANNELS, 3), nn.ReLU()).eval()
    photos = save_photos(tmp_path_factory.mktemp("photos"))
    explorer = run(convlens.wrap(network, size=12), photos, seed=3)
    yield explorer
    explorer.session.worker.close()


def test_images_are_those_of_the_copied_call(running):
    page = html.unescape(running.get("/layer/0?view=maximized&order=activation"))
    (address,) = re.findall(r'data-stream="([^"]+)"', page)
    channels = [int(word) for word in address.partition("=")[2].split("%2C")]
    order = running.get("/layer/0?order=activation")
    numbers = re.findall(r'class="number-of-channel">(\d+)<', order)
    assert channels == [int(number) for number in numbers] != sorted(channels)
    (python,) = set(re.findall(r"import convlens\n[^<\"]*maximize\([^\n]*\)", page))
    variables = {"model": running.session.model, "convlens": convlens}
    exec(python.splitlines()[-1], variables)
    maxima = variables["result"].maxima
    events = read_events(running.get(address))
    assert events[-1][0] == "end"
    parts = [data["html"] for kind, data in events if kind == "part"]
    assert len(parts) == 2
    text = "".join(parts)
    assert re.findall(r'href="/channel/0/(\d+)"', text) == [str(channel) for channel in channels]
    assert data_values(text) == [float(maximum.reached[0]) for maximum in maxima]
    pictures = re.findall(r'src="(data:[^"]+)"', text)
    assert len(set(pictures)) == CHANNELS
    for source, maximum in zip(pictures, maxima, strict=True):
        pixels = to_pixels(maximum.images[:1], running.session.model.bounds)[0]
        picture = PictureBudget(10**6).thumbnail(pixels.contiguous(), 96)
        assert picture is not None and picture.source == source


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("/maximized/0?channels=99", "has 20 channels"),
        ("/maximized/0?channels=1,x", "give 1 to 64 numbers"),
        ("/maximized/0", "give 1 to 64 numbers"),
        (f"/maximized/0?channels={','.join(map(str, range(65)))}", "give 1 to 64 numbers"),
        ("/maximized/x?channels=1", "x"),
    ],
)
def test_what_is_no_list_of_channels_is_refused(running, address, says):
    answer = running.client.get(address)
    assert (answer.status_code, says in answer.text) == (400, True)


def test_an_export_has_no_images_on_demand(running, tmp_path):
    model = running.session.model
    page = convlens.export_explorer(model, tmp_path / "out", running.paths[:1], channels=0)
    texts = [path.read_text("utf-8") for path in page.parent.rglob("index.html")]
    assert not any("Maximized images" in text or "view-maximized" in text for text in texts)
