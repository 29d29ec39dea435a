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
from convlens.page.sections import gabor
from support.pages import Page, tiny

pytest_plugins = "support.pages"
pytestmark = pytest.mark.usefixtures("less_work")


def test_slides_are_adversarial_to_the_pixel(demo, text):
    slide = demo.sections["robustness"].slides[0]
    match = re.search(r'<div class="slides".*?<details', text, re.DOTALL)
    sources = re.findall(r'<img src="data:image/png;base64,([^"]*)"', match.group())
    assert len(sources) == 4
    model = convlens.load()
    for index, source in enumerate(sources, start=1):
        with Image.open(io.BytesIO(base64.b64decode(source))) as picture:
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        predictions = convlens.predict(model, pixels, top=1)
        assert predictions.names[0][0] == slide.names[index]
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
    paths = [photo.path for photo in demo.photos]
    name, channels = layers[1].layer, [entry.channel for entry in layers[1].shown]
    again = convlens.patches(model, paths, layers=[name], show={name: channels})
    assert again.layers[0] == layers[1]
    fields = [max(layer.field_size) for layer in layers]
    assert fields == sorted(fields) and fields[-1] < 300
    for number, entry in enumerate(layers):
        assert entry.crop_check.holds
        assert entry.crop_check.checked > 60
        assert len(entry.shown) == 12
        for index, strip in enumerate(entry.shown):
            assert (f"{entry.layer}:{strip.channel}" in page.ids) == bool(strip.photos)
            texts = data["sections"]["channels"]["patches"]["layers"][number]["shown"][index]
            fires = [value for value in entry.values[strip.channel].tolist()[:8] if value > 0]
            assert texts["values"] == pytest.approx(fires)
    sources = [img["src"] for img in page.all("img") if img.get("src")]
    tiles = [decoded(source) for source in sources if source.startswith("data:image/jpeg")]
    expected = layers[0].shown[0].tiles
    strip = np.concatenate([tile.numpy() for tile in expected], axis=1)
    assert any(
        abs(pixels.astype(int)[:, :64] - strip[:, :64].astype(int)).mean() < 6
        for pixels in tiles
        if pixels.shape[1] == 66 * len(expected) - 2
    )


def test_channels_that_add_most_to_a_map_are_shown_and_linked(demo, text, data):
    page = Page(text)
    layer = demo.sections["channels"].patches.layers[-1]
    shown = {entry.channel for entry in layer.shown}
    links = {link["href"] for link in page.all("a") if link.get("href")}
    for number, card in enumerate(demo.sections["photos"].cards):
        cam, shares = card.gradcam, card.shares[0]
        assert shares == cam.channel_shares(0, 0, top=3)
        # The first of each photo is among them, and its name leads there.
        address = f"{layer.layer}:{shares[0].channel}"
        assert shares[0].channel in shown
        assert address in page.ids and f"#{quote(address)}" in links
        for rank, share in enumerate(card.shares):
            for at, item in enumerate(share):
                assert (
                    data["sections"]["photos"]["cards"][number]["shares"][rank][at]["share"]
                    == item.share
                )
    # The channels of a place before its non-linearity are those after it.
    model = convlens.load()
    again = convlens.patches(
        model, [photo.path for photo in demo.photos], layers=["bn2"], show={"bn2": sorted(shown)}
    )
    assert torch.equal(again.layers[0].values, layer.values)


def test_sanity_check_of_the_maps_is_on_the_page(demo, text):
    randomization = demo.sections["randomization"]
    assert randomization.correlations.shape[2:] == (4, 1)
    assert randomization.maps_change and abs(randomization.means[-1]) < 0.3
    words = " ".join(Page(text).words)
    assert randomization.summary() in words
    (finding,) = [finding for finding in demo.findings if "random weights" in finding.sentence]
    assert finding.mark == "fine" and finding.evidence in Page(text).ids


def test_boxes_give_the_pointing_game(tmp_path, photos):
    table = tmp_path / "boxes.csv"
    table.write_text(
        "file,class,left,top,right,bottom\none.png,3,0,0,30,40\ntwo.png,2|4,5,5,10,10\n"
    )
    page_report: Any = report(tiny(), photos, out=tmp_path / "page", boxes=table)
    cards = page_report.sections["photos"].cards
    assert [card.gradcam.classes.tolist() for card in cards[:2]] == [[[3]], [[2]]]
    assert len(cards[2].gradcam.names[0]) == 2
    whole, part, none = (card.pointing for card in cards)
    assert whole.has_box.all() and part.has_box.all() and not none.has_box.any()
    speaks = bool((cards[0].gradcam.maps > 0).any())
    assert bool(whole.hits) == speaks and float(whole.box_area) == 1
    # Squashed from 40 x 30 to 32 x 32.
    assert cards[1].boxes == ((5 * 32 / 30, 4.0, 10 * 32 / 30, 8.0),)
    (finding,) = [finding for finding in page_report.findings if "object's box" in finding.sentence]
    assert "of 2 maps" in finding.sentence
    page = page_report.page.read_text("utf-8")
    assert "its box" in page and str(table) in page


def test_differences_of_classes_on_a_page(tmp_path, photos):
    page_report: Any = report(tiny(), photos, out=tmp_path / "page", classes=["4 - 1", 0])
    card = page_report.sections["photos"].cards[0]
    cam = card.gradcam
    assert cam.classes.tolist() == [[4, 0]] and cam.subtracted.tolist() == [[1, -1]]
    assert cam == convlens.gradcam(tiny(), card.image, classes=["4 - 1", 0])
    assert "classes=['4 - 1', 0]" in page_report.page.read_text("utf-8").replace("&#39;", "'")


def decoded(source: str) -> np.ndarray:
    content = base64.b64decode(source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.slow
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
    page_report: Any = convlens.report(
        convlens.wrap(network, size=32), photos, out=tmp_path / "page"
    )
    expected = convlens.fit_gabor(convlens.wrap(network, size=32), null_size=gabor.NOISE)
    assert page_report.sections["gabor"].fit.verdicts == expected.verdicts
    assert torch.equal(page_report.sections["gabor"].fit.r2, expected.r2)
    (finding,) = [
        finding for finding in page_report.findings if "Gabor functions" in finding.sentence
    ]
    assert f"Of 6 filters of 0, {expected.count('Gabor-like')} look like Gabor" in finding.sentence
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
    assert f"convlens.fit_gabor(model, null_size={gabor.NOISE}, seed=0)" in text


def test_simple_and_complex_channels_are_counted(demo, text):
    """Of a few layers with small fields, the first among them, as the view counts them."""
    layers = demo.sections["simple_complex"].layers
    assert layers[0].layer == "conv_stem"
    assert len({layer.layer for layer in layers}) == len(layers) > 2
    first = layers[0]
    tuning = convlens.orientation_tuning(
        convlens.load(), layer=first.layer, orientations=8, phases=8
    )
    assert (first.simple, first.complex, first.silent) == tuning.counts()
    assert "cells" in Page(text).ids
    assert f'data-at="sections.simple_complex.layers.0.simple">{first.simple}<' in text


def test_feature_maps_lead_from_the_first_layer_to_the_final_place(demo, text):
    result = demo.sections["feature_maps"]
    first, last = result.layers[0], result.layers[-1]
    assert (first.layer, last.layer, last.final) == ("conv_stem", "conv_head", True)
    model = convlens.load()
    for layer in (first, last):
        maps = convlens.feature_maps(
            model, model.prepare(demo.photos[result.photo].path), layer=layer.layer
        )
        inner = maps.maps[:, layer.size[0] // 8 :, :][:, : layer.size[0] - layer.size[0] // 8 * 2]
        inner = inner[:, :, layer.size[1] // 8 : layer.size[1] - layer.size[1] // 8]
        spread = inner.flatten(1).std(dim=1, correction=0)
        assert set(layer.channels) == set(spread.topk(8).indices.tolist())
        channels_shown = maps.maps[list(layer.channels)]
        assert layer.scale == pytest.approx(float(channels_shown.abs().max()))
        assert layer.tiles.shape == (8, *layer.size, 3)
        # Brighter where the map is greater, on one scale for the row.
        where = int(channels_shown.flatten().argmax())
        colors = layer.tiles.reshape(-1, 3)
        assert colors[where].tolist() == [253, 231, 36]
    assert "maps" in Page(text).ids
    assert "convlens maps" in text


def test_made_images_stand_beside_the_patches(demo, text, data):
    """The images are those of the view with the steps that the page names."""
    channels = demo.sections["channels"]
    assert len(channels.maximized) == len(channels.patches.layers)
    for layer, maximization in zip(channels.patches.layers, channels.maximized, strict=True):
        assert [maximum.objective for maximum in maximization.maxima] == [
            f"{layer.layer}:{shown.channel}" for shown in layer.shown
        ]
        assert 16 <= maximization.steps <= 96
        assert maximization.stopped == ""
    first = channels.maximized[0]
    alone = convlens.maximize(
        convlens.load(), first.maxima[2].objective, steps=first.steps,
        image_size=tuple(first.maxima[2].images.shape[2:]),
    )  # fmt: skip
    torch.testing.assert_close(
        alone.maxima[0].reached, first.maxima[2].reached, rtol=0.02, atol=0.02
    )
    assert text.count('class="synthetic"') == len(channels.addresses)
    assert f"synthetic images ({first.steps} steps, " in text
    last = channels.maximized[-1]
    beaten = sum(float(maximum.reached[0]) >= maximum.dataset_best for maximum in last.maxima)
    assert f"{beaten} of {len(last.maxima)} synthetic images ({last.steps} steps, " in text


def test_classes_are_made_that_the_photos_are_taken_for(demo, text, data):
    answered = {photo.names[0] for photo in demo.photos}
    objectives = [maximum.objective for maximum in demo.sections["class_images"].maxima]
    assert len(objectives) == min(6, len(answered))
    assert set(objectives) <= answered
    assert all(int(maximum.rank[0]) == 1 for maximum in demo.sections["class_images"].maxima)
    assert all(name in text for name in objectives)


def test_a_dream_of_the_first_photo(demo, text, data):
    """As its own command makes it, with as many steps as the page says."""
    dream = demo.sections["dream"]
    octaves, steps = len(dream.sizes), dream.objective.shape[1] - 1
    assert (octaves, max(dream.image.shape)) == (3, 320) and 1 <= steps <= 10
    shown = next(photo for photo in demo.photos if photo.shown)
    again = convlens.dream(
        convlens.load(), shown.path, layer=dream.layer, octaves=3, steps=steps, image_size=320
    )
    assert torch.allclose(again.image, dream.image, atol=0.02)
    assert float(dream.rise[-1]) > 1
    assert data["sections"]["dream"]["objective"][2][-1] == float(dream.objective[2, -1])
    command = f"--layer {dream.layer} --octaves 3 --steps {steps} --image-size 320"
    assert command in text
    assert f"3 octaves of {steps} step" in " ".join(Page(text).words)


def test_dead_channels_are_a_finding(tmp_path, photos):
    model = tiny()
    with torch.no_grad():
        model.network[0].bias[1] = -100
    page_report = convlens.report(model, photos, out=tmp_path / "page")
    (finding,) = [finding for finding in page_report.findings if finding.evidence == "channels"]
    assert finding.mark == "look"
    assert "1 of " in finding.sentence and "never fire on these 3 photos" in finding.sentence


def test_perturbed_pixels_survive_on_the_page(demo, text):
    import base64
    import io

    article = text.split('id="photo-2"')[1].split("</article>")[0]
    figure = article.split('<figure class="flip"')[1]
    match = re.search(r'src="data:image/png;base64,([^"]+)"', figure)
    assert match
    pixels = torch.tensor(list(Image.open(io.BytesIO(base64.b64decode(match[1]))).tobytes()))
    assert pixels.equal(demo.sections["photos"].cards[1].flips.pixels[0].flatten().long())
