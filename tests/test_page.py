"""The self-contained page: its numbers, its looks in a browser, and what it does with bad input."""

import base64
import io
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens.errors import ConvlensError, PhotoError
from convlens.page import Report, report
from convlens.page.budget import Purse, spread

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
COMMAND = "convlens report --out page"


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Iterator[Report]:
    folder = tmp_path_factory.mktemp("demo") / "page"
    # One thread: several of them beside other work take many times as long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield report(convlens.load(), out=folder, command=COMMAND)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def text(demo) -> str:
    return demo.page.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def data(demo) -> dict[str, Any]:
    return json.loads(demo.data.read_text(encoding="utf-8"))


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    paths = [folder / f"{name}.png" for name in ("one", "two", "three")]
    for path in paths:
        pixels = torch.randint(0, 256, (40, 30, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(path)
    return paths


def tiny(**options: Any) -> convlens.Model:
    """A small random network for 3 x 32 x 32, five classes."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    return convlens.wrap(network, size=32, name="tiny", **options)


class Page(HTMLParser):
    """Elements with their attributes and text; `data` elements by their place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: dict[str, str | None] | None = None
        self._silent = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")
        if tag == "data":
            self._open = dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            assert self._open["data-at"] is not None
            assert self._open["value"] is not None
            self.numbers.append((self._open["data-at"], self._open["value"], data))
            self._open = None
        if not self._silent:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [found["id"] for _, found in self.elements if found.get("id")]


def look_up(data: Any, place: str) -> Any:
    for key in place.split("."):
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


def shown(text: str) -> float:
    """The number that a person reads."""
    number = text.replace(",", "").replace("−", "-").replace("< ", "").replace("\xa0", " ")
    size = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 0.01, "s": 1.0}
    value, _, unit = number.partition(" ")
    return float(value) * size.get(unit, 1.0)


# numbers


def test_numbers_of_the_page_are_those_of_the_json(text, data):
    numbers = Page(text).numbers
    assert len(numbers) > 400
    for place, value, words in numbers:
        wanted = look_up(data, place)
        assert float(value) == wanted, place
        error = 0.051 if words.endswith(" s") else 0.00051 if "%" in words else 0.0051
        assert shown(words) == pytest.approx(wanted, rel=0.05, abs=error), place


def test_every_photo_and_finding_is_on_the_page(text, data):
    words = " ".join(Page(text).words)
    for finding in data["findings"]:
        assert finding["sentence"] in words
        assert finding["mark"] in ("fine", "look", "broken")
    for photo in data["photos"]:
        assert photo["name"] in words
        assert photo["names"][0] in words
    assert len(data["photos"]) == 8


def test_each_answer_stands_beside_its_probability(text, data):
    for number, photo in enumerate(data["photos"], start=1):
        article = text.split(f'id="photo-{number}"')[1].split("</ol>")[0]
        rows = re.findall(r'<span title="[^"]*">([^<]*)</span> <data value="([^"]*)"', article)
        wanted = zip(photo["names"], photo["probabilities"], strict=True)
        assert [(name, float(value)) for name, value in rows] == list(wanted)


def test_findings_count_what_the_photos_say(demo):
    sentences = " ".join(finding.sentence for finding in demo.findings)
    right = [photo.name for photo in demo.photos if photo.names[0] in photo.expected_names]
    assert f"Reads {len(right)} of 8 photos" in sentences
    for photo in demo.photos:
        assert (photo.name in sentences) == (photo.name not in right)
    flips = [photo.flips for photo in demo.photos]
    assert all(flip is not None for flip in flips)
    at = next(
        at
        for at in range(len(flips[0].levels))
        if sum(int(flip.answers[at] != flip.originals) for flip in flips) >= 4
    )
    count = sum(int(flip.answers[at] != flip.originals) for flip in flips)
    noise = sum(int(flip.noise_answers[at] != flip.originals) for flip in flips)
    assert f"{count} of 8 answers flip at {flips[0].levels[at]} grey level" in sentences
    assert f"random signs of that size flip {noise} of 8" in sentences
    speak = sum(bool((photo.gradcam.maps[0, 0] > 0).any()) for photo in demo.photos)
    assert f"in {speak} of 8 photos some cell speaks" in sentences
    assert "4 of 32 filters of conv_stem are next to nothing" in sentences


def test_numbers_are_what_the_views_give_in_one_call(demo):
    model = convlens.load()
    photo = demo.photos[1]
    image = model.prepare(photo.path)
    assert convlens.gradcam(model, image, top=2) == photo.gradcam
    attack = convlens.fgsm(model, image, score=False)
    assert convlens.flips(model, attack, levels=[photo.turn.level]).pixels.equal(photo.flips.pixels)
    assert demo.scale == max(one.gradcam.scale for one in demo.photos)


def test_fragility_and_shift_are_what_the_views_give_in_one_call(demo, text):
    model = convlens.load()
    paths = [one.path for one in demo.photos]
    labels = [one.expected for one in demo.photos]
    epsilons = ["1/255", "2/255", "4/255", "8/255"]
    assert demo.attacked == demo.shifted == tuple(range(8))
    assert convlens.fragility(model, paths, epsilons, labels=labels, steps=5) == demo.fragility
    moved = convlens.shift(model, paths, labels=labels, every=4)
    assert moved.consistency == demo.shift.consistency
    assert moved.offsets == demo.shift.offsets
    assert moved.equivariance.lost == demo.shift.equivariance.lost
    sentences = " ".join(finding.sentence for finding in demo.findings)
    assert "Loses shift equivariance at conv_stem (stride 2)" in sentences
    flattered = demo.fragility.cautions[0]
    assert flattered.sentence in sentences
    page = Page(text)
    places = {place for place, _, _ in page.numbers}
    assert {"fragility.curves.2.accuracies.4", "shift.equivariance.layers.0.inside.0",
            "shift.consistency.1.agree.low", "slides.2.probabilities.4"} <= places  # fmt: skip


def test_slides_are_adversarial_to_the_pixel(demo, text):
    slide = demo.slides[0]
    found = re.search(r'<div class="slides".*?</div>\s*<div class="again">', text, re.DOTALL)
    sources = re.findall(r'<img src="data:image/png;base64,([^"]*)"', found.group())
    assert len(sources) == 4
    model = convlens.load()
    for index, source in enumerate(sources, start=1):
        with Image.open(io.BytesIO(base64.b64decode(source))) as picture:
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        said = convlens.answers(model, pixels, top=1)
        assert said.names[0][0] == slide.names[index]
        apart = (pixels - slide.attack.images).abs().max() * 255
        assert abs(float(apart) - slide.epsilons[index]) < 0.01


def test_channels_are_those_of_the_view(demo, text, data):
    """Every strip has an address; its picture, its numbers and the proof are those of the view."""
    page = Page(text)
    # The last is that of the Grad-CAMs, where every unit sees the whole image.
    assert len(demo.patches.layers) == 5
    *layers, _ = demo.patches.layers
    model = convlens.load()
    paths = [one.path for one in demo.photos]
    again = convlens.patches(model, paths, layers=[layers[1].layer], show=12)
    assert again.layers[0] == layers[1]
    fields = [max(one.field) for one in layers]
    assert fields == sorted(fields) and fields[-1] < 300
    for number, one in enumerate(layers):
        assert one.proof.holds
        assert one.proof.checked > 60
        assert len(one.shown) == 12
        for index, strip in enumerate(one.shown):
            assert f"{one.layer}:{strip.channel}" in page.ids
            told = data["patches"]["layers"][number]["shown"][index]
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
    layer = demo.patches.layers[-1]
    shown = {one.channel for one in layer.shown}
    links = {link["href"] for link in page.all("a") if link.get("href")}
    for number, photo in enumerate(demo.photos):
        cam, shares = photo.gradcam, photo.shares[0]
        assert shares == cam.channels(0, 0, top=3)
        # The first of each photo is among them, and its name leads there.
        address = f"{layer.layer}:{shares[0].channel}"
        assert shares[0].channel in shown
        assert address in page.ids and f"#{quote(address)}" in links
        for rank, told in enumerate(photo.shares):
            for at, one in enumerate(told):
                assert data["photos"][number]["shares"][rank][at]["share"] == one.share
    # The channels of a place before its non-linearity are those after it.
    model = convlens.load()
    again = convlens.patches(
        model, [one.path for one in demo.photos], layers=["bn2"], show={"bn2": sorted(shown)}
    )
    assert torch.equal(again.layers[0].values, layer.values)


def test_sanity_check_of_the_maps_is_on_the_page(demo, text):
    found = demo.randomisation
    assert found.correlations.shape[2:] == (4, 1)
    assert found.changes and abs(found.means[-1]) < 0.3
    words = " ".join(Page(text).words)
    assert found.sentence() in words
    (finding,) = [one for one in demo.findings if "random weights" in one.sentence]
    assert finding.mark == "fine" and finding.evidence in Page(text).ids


def test_boxes_give_the_pointing_game(tmp_path, photos):
    table = tmp_path / "boxes.csv"
    table.write_text(
        "file,class,left,top,right,bottom\none.png,3,0,0,30,40\ntwo.png,2|4,5,5,10,10\n"
    )
    made = report(tiny(), photos, out=tmp_path / "page", boxes=table)
    assert [one.gradcam.classes.tolist() for one in made.photos[:2]] == [[[3]], [[2]]]
    assert len(made.photos[2].gradcam.names[0]) == 2
    whole, part, none = (one.pointing for one in made.photos)
    assert whole.boxed.all() and part.boxed.all() and not none.boxed.any()
    speaks = bool((made.photos[0].gradcam.maps > 0).any())
    assert bool(whole.hits) == speaks and float(whole.area) == 1
    # Squashed from 40 x 30 to 32 x 32.
    assert made.photos[1].boxes == ((5 * 32 / 30, 4.0, 10 * 32 / 30, 8.0),)
    (finding,) = [one for one in made.findings if "object's box" in one.sentence]
    assert "of 2 maps" in finding.sentence
    page = made.page.read_text("utf-8")
    assert "its box" in page and str(table) in page


def test_differences_of_classes_on_a_page(tmp_path, photos):
    made = report(tiny(), photos, out=tmp_path / "page", classes=["4 - 1", 0])
    cam = made.photos[0].gradcam
    assert cam.classes.tolist() == [[4, 0]] and cam.against.tolist() == [[1, -1]]
    assert cam == convlens.gradcam(tiny(), made.photos[0].image, classes=["4 - 1", 0])
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
    made = convlens.report(convlens.wrap(network, size=32), photos, out=tmp_path / "page")
    expected = convlens.likeness(convlens.wrap(network, size=32), null=1000)
    assert made.likeness.verdicts == expected.verdicts
    assert torch.equal(made.likeness.r2, expected.r2)
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
    assert "convlens.likeness(model, seed=0)" in text


def test_simple_and_complex_channels_are_told(demo, text):
    """Of a few layers with small fields, the first among them, as the view counts them."""
    assert demo.cells[0].layer == "conv_stem"
    assert len({one.layer for one in demo.cells}) == len(demo.cells) > 2
    first = demo.cells[0]
    told = convlens.tuning(convlens.load(), layer=first.layer, orientations=8, phases=8)
    assert (first.simple, first.complex, first.silent) == told.counts()
    assert "cells" in Page(text).ids
    assert f'data-at="cells.0.simple">{first.simple}<' in text


def test_feature_maps_lead_from_the_first_layer_to_the_final_place(demo, text):
    first, last = demo.maps[0], demo.maps[-1]
    assert (first.layer, last.layer, last.final) == ("conv_stem", "conv_head", True)
    model = convlens.load()
    for one in (first, last):
        told = convlens.maps(model, model.prepare(one.photo), layer=one.layer)
        inner = told.maps[:, one.size[0] // 8 :, :][:, : one.size[0] - one.size[0] // 8 * 2]
        inner = inner[:, :, one.size[1] // 8 : one.size[1] - one.size[1] // 8]
        spread = inner.flatten(1).std(dim=1, correction=0)
        assert set(one.channels) == set(spread.topk(8).indices.tolist())
        chosen = told.maps[list(one.channels)]
        assert one.scale == pytest.approx(float(chosen.abs().max()))
        assert one.tiles.shape == (8, *one.size, 3)
        # Brighter where the map is greater, on one scale for the row.
        where = int(chosen.flatten().argmax())
        colours = one.tiles.reshape(-1, 3)
        assert colours[where].tolist() == [253, 231, 36]
    assert "maps" in Page(text).ids
    assert "convlens maps" in text


def test_made_images_stand_beside_the_patches(demo, text, data):
    """The images are those of the view with the steps that the page names."""
    assert len(demo.maximized) == len(demo.patches.layers)
    for layer, found in zip(demo.patches.layers, demo.maximized, strict=True):
        assert [one.target for one in found.maxima] == [
            f"{layer.layer}:{shown.channel}" for shown in layer.shown
        ]
        assert 16 <= found.steps <= 96
        assert found.stopped == ""
    first = demo.maximized[0]
    alone = convlens.maximize(
        convlens.load(), first.maxima[2].target, steps=first.steps,
        canvas=tuple(first.maxima[2].images.shape[2:]),
    )  # fmt: skip
    torch.testing.assert_close(
        alone.maxima[0].reached, first.maxima[2].reached, rtol=0.02, atol=0.02
    )
    assert text.count('class="made"') == sum(len(one.shown) for one in demo.patches.layers)
    assert f"{first.steps} steps on" in text
    last = demo.maximized[-1]
    beaten = sum(float(one.reached[0]) >= one.best for one in last.maxima)
    assert f"{beaten} of {len(last.maxima)} excite their channel" in text


def test_classes_are_made_that_the_photos_are_taken_for(demo, text, data):
    answered = {one.names[0] for one in demo.photos}
    made = [one.target for one in demo.classes.maxima]
    assert len(made) == min(6, len(answered))
    assert set(made) <= answered
    assert all(int(one.rank[0]) == 1 for one in demo.classes.maxima)
    assert all(name in text for name in made)


def test_a_dream_of_the_first_photo(demo, text, data):
    """As its own command makes it, with as many steps as the page says."""
    found = demo.dream
    octaves, steps = len(found.sizes), found.objective.shape[1] - 1
    assert (octaves, max(found.image.shape)) == (3, 320) and 1 <= steps <= 10
    shown = next(one for one in demo.photos if one.shown)
    again = convlens.dream(
        convlens.load(), shown.path, layer=found.layer, octaves=3, steps=steps, size=320
    )
    assert torch.allclose(again.image, found.image, atol=0.02)
    assert float(found.rise[-1]) > 1
    assert data["dream"]["objective"][2][-1] == float(found.objective[2, -1])
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
    assert "1 of " in finding.sentence and "never fire" in finding.sentence


def test_perturbed_pixels_survive_on_the_page(demo, text):
    import base64
    import io

    article = text.split('id="photo-2"')[1].split("</article>")[0]
    figure = article.split('<figure class="flip">')[1]
    found = re.search(r'src="data:image/png;base64,([^"]+)"', figure)
    assert found
    pixels = torch.tensor(list(Image.open(io.BytesIO(base64.b64decode(found[1]))).tobytes()))
    assert pixels.equal(demo.photos[1].flips.pixels[0].flatten().long())


def test_two_runs_give_the_same_numbers(tmp_path, photos):
    made = []
    for _ in range(2):
        found = report(tiny(), photos, out=tmp_path / "page", seed=3).data.read_text("utf-8")
        made.append({k: v for k, v in json.loads(found).items() if k not in ("made", "seconds")})
    assert made[0] == made[1]


def test_the_seed_draws_the_noise(tmp_path, photos, monkeypatch):
    seeds = []

    def spy(*given: Any, seed: int) -> convlens.Result:
        seeds.append(seed)
        return convlens.flips(*given, seed=seed)

    monkeypatch.setattr("convlens.page.photos.flips", spy)
    report(tiny(), photos, out=tmp_path / "page", seed=7)
    assert seeds == [7, 7, 7]


def test_the_result_is_saved_and_loaded(tmp_path, photos):
    made = report(tiny(), photos[:1], out=tmp_path / "page")
    made.save(tmp_path / "saved")
    assert Report.load(tmp_path / "saved") == made


# the file


def test_page_is_small_and_asks_for_nothing(demo, text):
    assert demo.page.stat().st_size < 10_000_000
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href"):
            address = attributes.get(name)
            assert address is None or address.startswith(("#", "data:"))
    assert "url(" not in text and "@import" not in text


def test_links_lead_somewhere_and_ids_are_unique(text):
    from urllib.parse import unquote

    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    links = [link["href"] for link in page.all("a")]
    assert len(links) > 150
    for link in links:
        assert unquote(link).removeprefix("#") in page.ids
    assert {"photo-3", "finding-2", "filters", "layer-conv_stem"} <= set(page.ids)


def test_document_is_well_made(text):
    page = Page(text)
    assert [one["lang"] for one in page.all("html")] == ["en"]
    for tag in ("h1", "main", "header", "nav", "title"):
        assert len([name for name, _ in page.elements if name == tag]) == 1, tag
    assert all(image.get("alt") is not None for image in page.all("img"))
    figures = [figure for figure in page.all("img") if figure.get("src")]
    assert all(figure["alt"] for figure in figures)


def test_commands_are_quoted_and_name_the_photo(text, demo):
    import shlex

    path = next(photo.path for photo in demo.photos if photo.name == "chelsea.png")
    commands = [
        shlex.split(button["data-text"])
        for button in Page(text).all("button")
        if (button.get("data-text") or "").startswith("convlens ")
    ]
    wanted = ["convlens", "gradcam", path, "--class", "tiger cat", "--class", "Egyptian cat"]
    assert wanted in commands
    assert ["convlens", "fgsm", path, "--epsilon", "1/255"] in commands
    # "missile" is also a synonym of another class; as a whole label it names this one
    rocket = next(command for command in commands if command[2].endswith("rocket.jpg"))
    assert "missile" in rocket


def test_python_lines_run(demo, text):
    lines = [
        button["data-text"]
        for button in Page(text).all("button")
        if (button.get("data-text") or "").startswith("import convlens")
    ]
    line = next(line for line in lines if "gradcam" in line and "chelsea" in line)
    *before, last = line.splitlines()
    names: dict[str, Any] = {}
    exec("\n".join([*before, f"found = {last}"]), names)
    assert names["found"] == demo.photos[0].gradcam


def test_untrusted_text_is_escaped(tmp_path, photos):
    evil = photos[0].with_name('"><script>alert(1)<').with_suffix(".png")
    quoted = photos[0].with_name('it\'s "q" & <b>.png')
    for name in (evil, quoted):
        shutil.copy(photos[0], name)
    model = tiny(labels=["<i>zero</i>", "'one'", '"two"', "</style>", "&amp;"])
    made = report(model, [evil, quoted], out=tmp_path / "page", command="<script>alert(2)</script>")
    text = made.page.read_text("utf-8")
    page = Page(text)
    assert "<script>alert" not in text
    assert len(page.all("script")) == 1
    assert not page.all("b") or "<b>.png" not in text
    assert not page.all("i")
    words = " ".join(page.words)
    assert evil.name in words and quoted.name in words and "<i>zero</i>" in words


# bad input


def test_damaged_photos_are_named_and_left_out(tmp_path, photos):
    bad = photos[0].with_name("bad.png")
    bad.write_bytes(photos[0].read_bytes()[:60])
    made = report(tiny(), [photos[0], bad, photos[1]], out=tmp_path / "page")
    assert [photo.name for photo in made.photos] == ["one.png", "two.png"]
    words = " ".join(Page(made.page.read_text("utf-8")).words)
    assert "Left out 1 of 3 photos, which cannot be read: bad.png" in words
    skipped = json.loads(made.data.read_text("utf-8"))["skipped"]
    assert [one["path"] for one in skipped] == [str(bad)]
    assert skipped[0]["reason"] in words


def test_strict_stops_and_writes_nothing(tmp_path, photos):
    bad = photos[0].with_name("bad.png")
    bad.write_bytes(b"no photo")
    with pytest.raises(PhotoError, match=r"bad\.png"):
        report(tiny(), [photos[0], bad], out=tmp_path / "page", strict=True)
    with pytest.raises(PhotoError, match="none of 1 photos"):
        report(tiny(), [bad], out=tmp_path / "page")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_other_folders_are_refused_and_reports_replaced(tmp_path, photos):
    with pytest.raises(ConvlensError, match="holds other files"):
        report(tiny(), photos, out=photos[0].parent)
    assert sorted(path.name for path in photos[0].parent.iterdir()) == sorted(
        path.name for path in photos
    )
    with pytest.raises(ConvlensError, match="folder does not exist"):
        report(tiny(), photos, out=tmp_path / "no" / "page")
    for count in (1, 2):
        made = report(tiny(), photos[:count], out=tmp_path / "page")
        assert len(json.loads(made.data.read_text("utf-8"))["photos"]) == count
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "photos"]
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        "index.html", "report.json",
    ]  # fmt: skip


def test_a_failure_half_way_leaves_the_old_page(tmp_path, photos, monkeypatch):
    old = report(tiny(), photos[:1], out=tmp_path / "page").page.read_text("utf-8")
    monkeypatch.setattr("convlens.page.gather.render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(tiny(), photos, out=tmp_path / "page")
    assert (tmp_path / "page" / "index.html").read_text("utf-8") == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "photos"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "nolayer"}, "no layer 'nolayer'"),
        ({"classes": 5}, "class 5 of 5"),
        ({"classes": [0] * 9}, "9 classes"),
    ],
)
def test_misspelt_options_are_errors(tmp_path, photos, options, message):
    with pytest.raises(ConvlensError, match=message):
        report(tiny(), photos, out=tmp_path / "page", **options)


def test_photos_are_needed(tmp_path):
    with pytest.raises(ConvlensError, match="give photos for tiny"):
        report(tiny(), out=tmp_path / "page")
    with pytest.raises(ConvlensError, match="no photos"):
        report(tiny(), [], out=tmp_path / "page")


# other networks


def test_a_grey_network_gives_a_page(tmp_path, photos):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 10)
    )
    made = report(convlens.wrap(network, size=28), photos, out=tmp_path / "page")
    assert not made.failures
    assert all(photo.gradcam and photo.flips for photo in made.photos)
    assert "copy the Python" in made.page.read_text("utf-8")


def test_layer_classes_and_labels_are_used(tmp_path, photos):
    seen: list[tuple[str, int, int]] = []
    made = report(
        tiny(),
        photos,
        out=tmp_path / "page",
        labels={"one.png": (0, 1, 2, 3, 4), "two.png": ()},
        layer="0",
        classes=[4, 1, 0],
        progress=lambda *step: seen.append(step),
    )
    assert made.photos[0].gradcam.classes.tolist() == [[4, 1, 0]]
    assert made.photos[0].gradcam.layer == ("0",)
    assert [photo.right for photo in made.photos] == [True, None, None]
    assert made.diagnosis.photos == 1
    assert ("photos", 3, 3) in seen and ("answers", 1, 3) in seen
    stage, done, total = seen[-1]
    assert stage == "dream" and done == total
    told = {"channels, crops", "maximised images", "shift, offsets"}
    assert told <= {one[0] for one in seen}


def test_a_network_without_convolutions_gives_a_page(tmp_path, photos):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
    made = report(convlens.wrap(network, size=8), photos, out=tmp_path / "page")
    assert {"gradcam", "filters"} <= set(made.failures)
    words = " ".join(Page(made.page.read_text("utf-8")).words)
    assert "runs no convolution" in words
    assert all(photo.flips is not None for photo in made.photos)


def test_an_output_that_is_a_map_gives_a_page(tmp_path, photos):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    made = report(convlens.wrap(network, size=64), photos, out=tmp_path / "page")
    assert {"answers", "flips", "doctor"} <= set(made.failures)
    # A class is explained over the pixels whose answer it is.
    assert all(photo.gradcam.maps.any() for photo in made.photos)
    page = Page(made.page.read_text("utf-8"))
    assert "one vector of class scores" in " ".join(page.words)
    assert made.filters is not None and len(page.all("img")) > 3
    assert sum("vector of class scores" in finding.sentence for finding in made.findings) == 1


# the budget


def test_many_photos_are_spread(tmp_path, photos, monkeypatch):
    from dataclasses import replace

    from convlens.page import budget

    monkeypatch.setattr(budget, "PHOTOS", replace(budget.PHOTOS, items=2))
    made = report(tiny(), photos, out=tmp_path / "page")
    assert [photo.shown for photo in made.photos] == [True, True, False]
    assert made.photos[2].names and made.photos[2].gradcam is None
    assert any("2 of 3 photos" in sentence for sentence in made.left_out)
    monkeypatch.setattr(budget, "PHOTOS", replace(budget.PHOTOS, bytes=20_000))
    made = report(tiny(), photos, out=tmp_path / "page")
    assert any("found no room" in sentence for sentence in made.left_out)
    assert "No room on the page" in made.page.read_text("utf-8")


def test_spread_and_purse():
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread([1, 2], 4) == [1, 2]
    purse = Purse(10)
    assert purse.pays(6) and not purse.pays(5) and purse.pays(4) and not purse.pays(1)


# the browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium; apt-get install chromium")
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def visit(browser, demo) -> Iterator[Any]:
    """Opens the page; at the end nothing may have been requested or said on the console."""
    contexts, asked, said = [], [], []

    def open_page(width: int = 1280, address: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 844}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(demo.page.as_uri() + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert {url.partition("#")[0] for url in asked if not url.startswith("data:")} == {
        demo.page.as_uri()
    }
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_and_pictures_load(visit, demo, width, scheme):
    page = visit(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    loaded = page.evaluate("[...document.querySelectorAll('main img')].map(i => i.naturalWidth)")
    strips = [one for layer in demo.patches.layers for one in layer.shown]
    channels = 3 * len(strips) + sum(len(one.bands) > 0 for one in strips)
    slides = 3 * (5 + 2)
    plain = 8 * 5 + 32 + 6 + 2 + len(demo.maps)
    assert len(loaded) == plain + channels + slides + 1 and min(loaded) > 0
    assert page.evaluate(CONTRASTS) >= 4.5
    # Nothing but tables, code and the navigation is wider than the window.
    assert page.evaluate(OVERFLOWING, width) == []


CONTRASTS = """() => {
  const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const parse = (css) => {
    probe.clearRect(0, 0, 1, 1); probe.fillStyle = css; probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  let least = 21;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility() || element.closest("script, .unseen")) continue;
    let ground = element;
    while (ground && parse(getComputedStyle(ground).backgroundColor)[3] === 0) {
      ground = ground.parentElement;
    }
    const colours = [getComputedStyle(element).color,
                     getComputedStyle(ground ?? document.documentElement).backgroundColor];
    const [a, b] = colours.map((css) => light(parse(css))).sort((x, y) => y - x);
    least = Math.min(least, (a + .05) / (b + .05));
  }
  return least;
}"""

OVERFLOWING = """(width) => [...document.querySelectorAll("body *")]
  .filter((e) => e.getBoundingClientRect().right > width + 1 && e.checkVisibility()
    && !e.closest(".table, .unseen, nav"))
  .map((e) => e.outerHTML.slice(0, 80))"""


def test_keyboard_reaches_the_copy_buttons(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    classes = []
    for _ in range(60):
        page.keyboard.press("Tab")
        classes.append(page.evaluate("document.activeElement.className"))
    assert any("copy" in name for name in classes)
    assert any("zoom" in name for name in classes)


def test_copy_button_copies_the_command(visit):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.locator(".command .copy").click()
    page.wait_for_function("document.querySelector('.command .copy').innerText === 'copied'")
    assert page.evaluate("navigator.clipboard.readText()") == COMMAND


def test_slider_goes_through_the_epsilons(visit):
    page = visit()
    slides = page.locator(".slides").first
    frames = slides.locator(".slide")
    shown = lambda: [frames.nth(at).is_visible() for at in range(5)]  # noqa: E731
    assert shown() == [False, True, False, False, False]
    slides.locator("input[type=range]").press("End")
    assert shown() == [False, False, False, False, True]
    assert slides.locator("input").get_attribute("aria-valuetext") == "8/255"


def test_maps_give_way_to_the_photo(visit):
    page = visit()
    picture = page.locator("#photo-3 .map img").first
    drawn, plain = picture.get_attribute("src"), page.locator("#photo-3-plain").get_attribute("src")
    picture.click()
    assert picture.get_attribute("src") == plain != drawn
    picture.press("Enter")
    assert picture.get_attribute("src") == drawn
    page.keyboard.press("p")
    assert page.locator("#photo-5 .map img").last.get_attribute("aria-pressed") == "true"
    page.keyboard.press("p")
    assert picture.get_attribute("src") == drawn


def test_pictures_are_enlarged_and_escape_closes(visit):
    page = visit()
    page.locator("#photo-2 .flip .zoom").click()
    zoom = page.locator("#zoom")
    assert zoom.is_visible()
    shown, words = zoom.locator("img").get_attribute("src"), zoom.locator("p").inner_text()
    assert shown == page.locator("#photo-2 .flip > img").get_attribute("src")
    assert re.search(r"Enlarged \d times", words)
    page.keyboard.press("ArrowRight")
    assert zoom.locator("img").get_attribute("src") != shown
    page.keyboard.press("Escape")
    assert not zoom.is_visible()


def test_addresses_are_scrolled_to_and_highlighted(visit):
    page = visit(address="#photo-3")
    assert abs(page.locator("#photo-3").bounding_box()["y"]) < 100
    colour = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    assert page.evaluate(colour.format("#photo-3 > h3")) != page.evaluate(
        colour.format("#photo-4 > h3")
    )
    page.locator("#finding-2 a.self").click()
    page.go_back()
    assert page.url.endswith("#photo-3")


def test_page_is_complete_without_scripts(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#photo-8 .flip img").is_visible()
    assert page.locator("button:visible").count() == 0
    assert page.locator(".slide:visible").count() == 15
    assert page.locator("input:visible").count() == 0
    page.locator("#photo-1 .map noscript summary").first.click()
    assert page.locator("#photo-1 .map pre").first.inner_text().startswith("convlens gradcam")
