"""What the page shows of each view, against the view called on its own."""

import base64
import io
import math
import re
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens.page.report import report
from support.pages import Page, tiny

pytest_plugins = "support.pages"


def test_slides_are_adversarial_to_the_pixel(demo, text):
    slide = demo.sections["robustness"].slides[0]
    found = re.search(r'<div class="slides".*?</div>\s*<div class="reproduce">', text, re.DOTALL)
    sources = re.findall(r'<img src="data:image/png;base64,([^"]*)"', found.group())
    assert len(sources) == 4
    model = convlens.load()
    for index, source in enumerate(sources, start=1):
        with Image.open(io.BytesIO(base64.b64decode(source))) as picture:
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        said = convlens.predict(model, pixels, top=1)
        assert said.names[0][0] == slide.names[index]
        apart = (pixels - slide.attack.images).abs().max() * 255
        assert abs(float(apart) - slide.epsilons[index]) < 0.01


def test_channels_are_those_of_the_view(demo, text, data):
    """Every strip has an address; its picture, its numbers and the proof are those of the view."""
    page = Page(text)
    # The last is that of the Grad-CAMs, where every unit sees the whole image.
    strongest = demo.sections["channels"].patches
    assert len(strongest.layers) == 5
    *layers, _ = strongest.layers
    model = convlens.load()
    paths = [one.path for one in demo.photos]
    again = convlens.patches(model, paths, layers=[layers[1].layer], show=12)
    assert again.layers[0] == layers[1]
    fields = [max(one.field_size) for one in layers]
    assert fields == sorted(fields) and fields[-1] < 300
    for number, one in enumerate(layers):
        assert one.crop_check.holds
        assert one.crop_check.checked > 60
        assert len(one.shown) == 12
        for index, strip in enumerate(one.shown):
            assert f"{one.layer}:{strip.channel}" in page.ids
            told = data["sections"]["channels"]["patches"]["layers"][number]["shown"][index]
            assert told["values"] == pytest.approx(one.values[strip.channel].tolist()[:8])
    sources = [img["src"] for img in page.all("img") if img.get("src")]
    tiles = [decoded(source) for source in sources if source.startswith("data:image/jpeg")]
    wanted = layers[0].shown[0].tiles
    strip = np.concatenate([tile.numpy() for tile in wanted], axis=1)
    assert any(
        abs(pixels.astype(int)[:, :64] - strip[:, :64].astype(int)).mean() < 6
        for pixels in tiles
        if pixels.shape[1] == 66 * len(wanted) - 2
    )


def test_channels_that_add_most_to_a_map_are_shown_and_linked(demo, text, data):
    page = Page(text)
    layer = demo.sections["channels"].patches.layers[-1]
    shown = {one.channel for one in layer.shown}
    links = {link["href"] for link in page.all("a") if link.get("href")}
    for number, card in enumerate(demo.sections["photos"].cards):
        cam, shares = card.gradcam, card.shares[0]
        assert shares == cam.channel_shares(0, 0, top=3)
        # The first of each photo is among them, and its name leads there.
        address = f"{layer.layer}:{shares[0].channel}"
        assert shares[0].channel in shown
        assert address in page.ids and f"#{quote(address)}" in links
        for rank, told in enumerate(card.shares):
            for at, one in enumerate(told):
                assert (
                    data["sections"]["photos"]["cards"][number]["shares"][rank][at]["share"]
                    == one.share
                )
    # The channels of a place before its non-linearity are those after it.
    model = convlens.load()
    again = convlens.patches(
        model, [one.path for one in demo.photos], layers=["bn2"], show={"bn2": sorted(shown)}
    )
    assert torch.equal(again.layers[0].values, layer.values)


def test_sanity_check_of_the_maps_is_on_the_page(demo, text):
    found = demo.sections["randomization"]
    assert found.correlations.shape[2:] == (4, 1)
    assert found.maps_change and abs(found.means[-1]) < 0.3
    words = " ".join(Page(text).words)
    assert found.summary() in words
    (finding,) = [one for one in demo.findings if "random weights" in one.sentence]
    assert finding.mark == "fine" and finding.evidence in Page(text).ids


def test_boxes_give_the_pointing_game(tmp_path, photos):
    table = tmp_path / "boxes.csv"
    table.write_text(
        "file,class,left,top,right,bottom\none.png,3,0,0,30,40\ntwo.png,2|4,5,5,10,10\n"
    )
    made: Any = report(tiny(), photos, out=tmp_path / "page", boxes=table)
    cards = made.sections["photos"].cards
    assert [one.gradcam.classes.tolist() for one in cards[:2]] == [[[3]], [[2]]]
    assert len(cards[2].gradcam.names[0]) == 2
    whole, part, none = (one.pointing for one in cards)
    assert whole.has_box.all() and part.has_box.all() and not none.has_box.any()
    speaks = bool((cards[0].gradcam.maps > 0).any())
    assert bool(whole.hits) == speaks and float(whole.box_area) == 1
    # Squashed from 40 x 30 to 32 x 32.
    assert cards[1].boxes == ((5 * 32 / 30, 4.0, 10 * 32 / 30, 8.0),)
    (finding,) = [one for one in made.findings if "object's box" in one.sentence]
    assert "of 2 maps" in finding.sentence
    page = made.page.read_text("utf-8")
    assert "its box" in page and str(table) in page


def test_differences_of_classes_on_a_page(tmp_path, photos):
    made: Any = report(tiny(), photos, out=tmp_path / "page", classes=["4 - 1", 0])
    card = made.sections["photos"].cards[0]
    cam = card.gradcam
    assert cam.classes.tolist() == [[4, 0]] and cam.subtracted.tolist() == [[1, -1]]
    assert cam == convlens.gradcam(tiny(), card.image, classes=["4 - 1", 0])
    assert "classes=['4 - 1', 0]" in made.page.read_text("utf-8").replace("&#39;", "'")


def decoded(source: str) -> np.ndarray:
    content = base64.b64decode(source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)))


def test_gabor_fits_stand_beside_the_filters(tmp_path, photos):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 7), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    axis = torch.arange(7.0) - 3
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    with torch.no_grad():
        for number, theta in enumerate((0.3, -0.9)):
            network[0].weight[number] = convlens.gabor(x, y, 1, 0.1, 0.1, 1.6, 0, 0, 0, theta)
    made: Any = convlens.report(convlens.wrap(network, size=32), photos, out=tmp_path / "page")
    expected = convlens.fit_gabor(convlens.wrap(network, size=32), null_size=1000)
    assert made.sections["gabor"].fit.verdicts == expected.verdicts
    assert torch.equal(made.sections["gabor"].fit.r2, expected.r2)
    (finding,) = [one for one in made.findings if "Gabor-like" in one.sentence]
    assert f"{expected.count('Gabor-like')} of 6 filters of 0" in finding.sentence
    text = (tmp_path / "page" / "index.html").read_text()
    assert "the Gabor function nearest to it" in text
    dots = re.findall(r'<circle class="gabor" cx="([-\d.]+)" cy="([-\d.]+)"', text)
    assert len(dots) == expected.count("Gabor-like") > 0
    outer = math.ceil(10 * float(expected.frequency.max())) / 10
    right = {
        (round(190 * f / outer * math.cos(a), 1), round(-190 * f / outer * math.sin(a), 1))
        for f, a, verdict in zip(
            expected.frequency.tolist(), torch.deg2rad(expected.orientation).tolist(),
            expected.verdicts, strict=True,
        ) if verdict == "Gabor-like"
    }  # fmt: skip
    assert {(float(x), float(y)) for x, y in dots} == right
    assert "filters --fit" not in text  # a network of one's own has Python lines only
    assert "convlens.fit_gabor(model, seed=0)" in text


def test_simple_and_complex_channels_are_told(demo, text):
    """Of a few layers with small fields, the first among them, as the view counts them."""
    layers = demo.sections["simple_complex"].layers
    assert layers[0].layer == "conv_stem"
    assert len({one.layer for one in layers}) == len(layers) > 2
    first = layers[0]
    told = convlens.orientation_tuning(convlens.load(), layer=first.layer, orientations=8, phases=8)
    assert (first.simple, first.complex, first.silent) == told.counts()
    assert "cells" in Page(text).ids
    assert f'data-at="sections.simple_complex.layers.0.simple">{first.simple}<' in text


def test_feature_maps_lead_from_the_first_layer_to_the_final_place(demo, text):
    found = demo.sections["feature_maps"]
    first, last = found.layers[0], found.layers[-1]
    assert (first.layer, last.layer, last.final) == ("conv_stem", "conv_head", True)
    model = convlens.load()
    for one in (first, last):
        told = convlens.feature_maps(
            model, model.prepare(demo.photos[found.photo].path), layer=one.layer
        )
        inner = told.maps[:, one.size[0] // 8 :, :][:, : one.size[0] - one.size[0] // 8 * 2]
        inner = inner[:, :, one.size[1] // 8 : one.size[1] - one.size[1] // 8]
        spread = inner.flatten(1).std(dim=1, correction=0)
        assert set(one.channels) == set(spread.topk(8).indices.tolist())
        chosen = told.maps[list(one.channels)]
        assert one.scale == pytest.approx(float(chosen.abs().max()))
        assert one.tiles.shape == (8, *one.size, 3)
        # Brighter where the map is greater, on one scale for the row.
        where = int(chosen.flatten().argmax())
        colors = one.tiles.reshape(-1, 3)
        assert colors[where].tolist() == [253, 231, 36]
    assert "maps" in Page(text).ids
    assert "convlens maps" in text


def test_made_images_stand_beside_the_patches(demo, text, data):
    """The images are those of the view with the steps that the page names."""
    channels = demo.sections["channels"]
    assert len(channels.maximized) == len(channels.patches.layers)
    for layer, found in zip(channels.patches.layers, channels.maximized, strict=True):
        assert [one.objective for one in found.maxima] == [
            f"{layer.layer}:{shown.channel}" for shown in layer.shown
        ]
        assert 16 <= found.steps <= 96
        assert found.stopped == ""
    first = channels.maximized[0]
    alone = convlens.maximize(
        convlens.load(), first.maxima[2].objective, steps=first.steps,
        image_size=tuple(first.maxima[2].images.shape[2:]),
    )  # fmt: skip
    torch.testing.assert_close(
        alone.maxima[0].reached, first.maxima[2].reached, rtol=0.02, atol=0.02
    )
    assert text.count('class="synthetic"') == len(channels.addresses)
    assert f"{first.steps} steps on" in text
    last = channels.maximized[-1]
    beaten = sum(float(one.reached[0]) >= one.dataset_best for one in last.maxima)
    assert f"{beaten} of {len(last.maxima)} activate their channel" in text


def test_classes_are_made_that_the_photos_are_taken_for(demo, text, data):
    answered = {one.names[0] for one in demo.photos}
    made = [one.objective for one in demo.sections["class_images"].maxima]
    assert len(made) == min(6, len(answered))
    assert set(made) <= answered
    assert all(int(one.rank[0]) == 1 for one in demo.sections["class_images"].maxima)
    assert all(name in text for name in made)


def test_a_dream_of_the_first_photo(demo, text, data):
    """As its own command makes it, with as many steps as the page says."""
    found = demo.sections["dream"]
    octaves, steps = len(found.sizes), found.objective.shape[1] - 1
    assert (octaves, max(found.image.shape)) == (3, 320) and 1 <= steps <= 10
    shown = next(one for one in demo.photos if one.shown)
    again = convlens.dream(
        convlens.load(), shown.path, layer=found.layer, octaves=3, steps=steps, size=320
    )
    assert torch.allclose(again.image, found.image, atol=0.02)
    assert float(found.rise[-1]) > 1
    assert data["sections"]["dream"]["objective"][2][-1] == float(found.objective[2, -1])
    command = f"--layer {found.layer} --octaves 3 --steps {steps} --size 320"
    assert command in text
    assert f"3 octaves of {steps} step" in " ".join(Page(text).words)


def test_dead_channels_are_a_finding(tmp_path, photos):
    model = tiny()
    with torch.no_grad():
        model.network[0].bias[1] = -100
    made = convlens.report(model, photos, out=tmp_path / "page")
    (finding,) = [one for one in made.findings if one.evidence == "channels"]
    assert finding.mark == "look"
    assert "1 of " in finding.sentence and "never fire on these 3 photos" in finding.sentence


def test_perturbed_pixels_survive_on_the_page(demo, text):
    import base64
    import io

    article = text.split('id="photo-2"')[1].split("</article>")[0]
    figure = article.split('<figure class="flip">')[1]
    found = re.search(r'src="data:image/png;base64,([^"]+)"', figure)
    assert found
    pixels = torch.tensor(list(Image.open(io.BytesIO(base64.b64decode(found[1]))).tobytes()))
    assert pixels.equal(demo.sections["photos"].cards[1].flips.pixels[0].flatten().long())
