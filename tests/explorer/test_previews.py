"""Unfinished images of gradient ascent and dreams: those of fewer steps, as events of the pages."""

import base64
import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

import convlens
from convlens.data.images import to_pixels
from convlens.explorer import session as session_module
from convlens.explorer.worker import Job, StoppedError
from support.explorers import read_events, run, save_photos, small_model


def test_previews_of_an_ascent_are_its_images_after_fewer_steps():
    model, objectives, previews = small_model(), ["0:1", "0:2"], []
    whole = convlens.maximize(model, objectives, steps=20, preview=previews.append)
    assert len(previews) == 2
    for steps, images in zip((8, 16), previews, strict=True):
        shorter = convlens.maximize(model, objectives, steps=steps).maxima
        assert torch.equal(images, torch.cat([maximum.images for maximum in shorter]))
    images = torch.cat([maximum.images for maximum in whole.maxima])
    assert not torch.equal(previews[-1], images)
    assert torch.equal(
        images, torch.cat([m.images for m in convlens.maximize(model, objectives, steps=20).maxima])
    )


def test_the_last_preview_of_a_dream_is_the_dream():
    torch.manual_seed(0)
    photo, previews = torch.rand(1, 3, 30, 40), []
    dream = convlens.dream(
        small_model(), photo, layer="0", octaves=2, steps=3, preview=previews.append
    )
    assert [tuple(image.shape) for image in previews] == [(3, *size) for size in dream.sizes
                                                          for _ in range(3)]  # fmt: skip
    assert torch.equal(previews[-1], dream.image)
    assert not torch.equal(previews[-2], dream.image)


@pytest.fixture
def running(tmp_path):
    explorer = run(small_model(), save_photos(tmp_path))
    yield explorer
    explorer.session.worker.close()


@pytest.mark.parametrize(
    ("name", "page"), [("maximize", "/channel/0/1/image"), ("dream", "/photo/{}/dream")]
)
def test_unfinished_pictures_come_as_events(running, monkeypatch, name, page):
    torch.manual_seed(1)
    shown = torch.rand(3, 16, 16)
    compute = getattr(session_module, name)

    def slow(*arguments, preview, **options):
        preview(shown[None] if name == "maximize" else shown)
        time.sleep(0.5)  # longer than between two events
        return compute(*arguments, **options)

    monkeypatch.setattr(session_module, name, slow)
    events = read_events(running.get(page.format(running.keys[0])))
    assert events[-1][0] == "result"
    (data,) = (data for kind, data in events if kind == "preview")
    prefix, _, encoded = data["source"].partition(",")
    assert prefix == "data:image/png;base64"
    drawn = np.array(Image.open(io.BytesIO(base64.b64decode(encoded))))
    assert np.array_equal(drawn, to_pixels(shown[None], (0.0, 1.0))[0].numpy())
    assert data["width"] == data["height"] >= 16


def test_a_computation_that_nobody_waits_for_stops_at_a_preview():
    job = Job()
    job.show("first")
    assert job.preview == "first"
    job.stopped.set()
    with pytest.raises(StoppedError):
        job.show("second")
    assert job.preview == "first"
