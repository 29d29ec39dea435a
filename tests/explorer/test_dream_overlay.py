"""The dream of a photo: events, the picture of the library, and refusals."""

import base64
import html
import io
import re

import numpy as np
import pytest
from PIL import Image

import convlens
from convlens.data.images import to_pixels
from support.explorers import read_events, run, save_photos, small_network


@pytest.fixture(scope="module")
def dreaming(tmp_path_factory):
    """Photos of 20 × 24 pixels, and a network for 40 × 40."""
    model = convlens.wrap(small_network(), size=40)
    running = run(model, save_photos(tmp_path_factory.mktemp("photos")))
    yield running
    running.session.worker.close()


@pytest.mark.parametrize(("query", "options"), [("", {}), ("?layer=2%2Fadd", {"layer": "2/add"})])
def test_a_dream_is_that_of_the_library(dreaming, query, options):
    photo = dreaming.session.photos.find(dreaming.keys[0])
    dream = convlens.dream(dreaming.session.model, photo.path, image_size=24, **options)
    events = read_events(dreaming.get(f"/photo/{photo.key}/dream{query}"))
    assert events[0][0] == "progress"
    kind, data = events[-1]
    assert kind == "result", data
    text = html.unescape(data["html"])
    assert f"{dream.summary()}." in text
    (source,) = re.findall(r'data:image/png;base64,([^"]+)', text)
    drawn = np.array(Image.open(io.BytesIO(base64.b64decode(source))))
    assert np.array_equal(drawn, to_pixels(dream.image[None], dream.bounds)[0].numpy())
    assert "image_size=24" in text
    page = dreaming.get(f"/photo/{photo.key}?overlay=dream&{query[1:]}")
    assert f'data-stream="/photo/{photo.key}/dream{query}"' in page


def test_an_unknown_layer_is_refused(dreaming):
    answer = dreaming.client.get(f"/photo/{dreaming.keys[0]}/dream?layer=x")
    assert (answer.status_code, "has no layer" in answer.text) == (400, True)
