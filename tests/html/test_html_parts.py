"""The shared parts of HTML outputs: numbers, pictures, scales, charts, templates."""

import base64
import hashlib
import io
import re

import pytest
import torch
from PIL import Image

from convlens.html import scales
from convlens.html.charts import Series, line_chart, polyline
from convlens.html.numbers import FORMATS, number_writer, short
from convlens.html.pictures import PictureBudget, row_of
from convlens.html.templates import MODULES, environment, modules, stylesheet
from convlens.wording import capitalized, counted, enumerated, percent

# numbers


def test_a_number_names_its_value_and_its_place():
    write = number_writer({"layers": [{"share": 0.25}]}, prefix="layers.0")
    assert write("share", "percent") == (
        '<data value="0.25" data-at="layers.0.share">25.0\N{NO-BREAK SPACE}%</data>'
    )
    assert 'data-at="layers.0.share"' in number_writer({"layers": [{"share": 1}]})(
        "layers.0.share", "count"
    )
    with pytest.raises(KeyError):
        write("missing", "count")


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("count", 12345, "12,345"), ("short", 4652008, "4.65 M"), ("signed", -0.125, "−0.12"),
        ("signed", 0.0, "0"), ("norm", 0.00012, "1e−4"), ("norm", 12.3, "12"),
        ("nats", 0.5, "+0.50"),
        ("p", 0.0002, "< 0.001"), ("seconds", 1.26, "1.3 s"), ("number", -0.12345, "−0.123"),
    ],
)  # fmt: skip
def test_numbers_have_the_text_of_their_format(form, value, text):
    assert FORMATS[form](value) == text


def test_words_of_numbers():
    assert [short(value) for value in (999, 1000, 2.5e9, 1e12)] == ["999", "1 k", "2.5 G", "1 T"]
    assert percent(0.256) == "26 %"
    assert (counted(1, "photo"), counted(2, "photo")) == ("1 photo", "2 photos")
    assert enumerated(["a", "b"]) == "a, b"
    assert enumerated(list("abcdef"), most=4) == "a, b, c, d and 2 more"
    assert (capitalized("pGD breaks"), capitalized("")) == ("PGD breaks", "")


# pictures


def decoded(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def test_pictures_stop_at_their_budget_of_bytes():
    pixels = torch.zeros(4, 4, 3, dtype=torch.uint8)
    alone = PictureBudget(10**6).pixelated(pixels)
    assert alone is not None
    size = len(alone.source)
    pictures = PictureBudget(2 * size + 1)
    assert pictures.pixelated(pixels) and pictures.pixelated(pixels)
    assert pictures.left == 1 and pictures.missing == 0
    assert pictures.pixelated(pixels) is None
    assert pictures.left == 1 and pictures.missing == 1


def test_small_pictures_are_enlarged_whole_and_exact_ones_keep_their_pixels():
    pixels = torch.randint(0, 256, (50, 100, 3), dtype=torch.uint8)
    pictures = PictureBudget(10**6)
    small = pictures.photo(pixels)
    assert small is not None and small.hard
    assert (small.width, small.height) == (200, 100)  # twice: the most that 224 has room for
    large = torch.randint(0, 256, (120, 300, 3), dtype=torch.uint8)
    exact = pictures.photo(large, exact=True)
    assert exact is not None and not exact.hard
    assert (exact.width, exact.height) == (224, 90)
    assert torch.tensor(list(decoded(exact.source).tobytes())).equal(large.flatten().long())
    smooth = pictures.photo(large)
    assert smooth is not None and smooth.source.startswith("data:image/jpeg")


def test_tiles_stand_in_a_row():
    tiles = torch.zeros(3, 8, 8, 3, dtype=torch.uint8)
    row = row_of(list(tiles))
    assert row.shape[0] == 8 and row.shape[1] > 24
    picture = PictureBudget(10**6).strip(tiles)
    assert picture is not None and (picture.width, picture.height) == (row.shape[1], 8)
    assert PictureBudget(10**6).strip(torch.zeros(0, 8, 8, 3, dtype=torch.uint8)) is None


# scales and charts


def test_scales_lead_from_the_least_value_to_the_greatest():
    for scale in (scales.signed(), scales.unsigned(), scales.overlaid(), scales.grays()):
        stops = re.findall(r"rgb\((\d+) (\d+) (\d+)\)", scale)
        assert len(stops) >= 3 and stops[0] != stops[-1]
    assert scales.grays().startswith("rgb(0 0 0)") and scales.grays().endswith("rgb(255 255 255)")
    red, _, blue = (int(value) for value in re.findall(r"\d+", scales.signed())[-3:])
    assert red > blue  # positive is red


def test_a_chart_places_shares_inside_its_frame():
    chart = line_chart([0, 1, 8], [Series("a", [1, 0.5, 0], [1, 0.4, 0], [1, 0.6, 0.1])])
    left, top, right, bottom = chart.frame
    (line,) = chart.lines
    assert [mark.y for mark in line.marks] == [top, (top + bottom) / 2, bottom]
    assert all(left < mark.x < right for mark in line.marks)
    assert line.marks[1].high < line.marks[1].y < line.marks[1].low  # y points downwards
    assert [text for _, text in chart.across] == ["0", "1", "8"]
    assert polyline([0, 1], [0, 1], 10, 4) == "0.0,4.0 10.0,0.0"


# templates


def test_modules_match_their_digests():
    loaded = modules()
    assert len(loaded) == len(MODULES)
    for module in loaded:
        digest = hashlib.sha256(str(module.text).encode()).digest()
        assert module.sha256 == base64.b64encode(digest).decode()
        assert "</script" not in module.text


def test_a_document_allows_only_its_own_modules():
    page = environment("convlens.html").get_template("base.html.jinja")
    text = page.render(style=stylesheet(), modules=modules())
    assert text.startswith("<!doctype html>")
    for module in modules():
        assert f"'sha256-{module.sha256}'" in text
        assert f'<script type="module">{module.text}</script>' in text


def test_text_from_outside_is_escaped():
    macros = environment("convlens.html").from_string(
        '{% from "macros.html.jinja" import image, reproduce %}'
        "{{ image(picture, evil) }}{{ reproduce(again) }}"
    )
    evil = '"><script>'
    picture = PictureBudget(10**4).pixelated(torch.zeros(2, 2, 3, dtype=torch.uint8))
    text = macros.render(picture=picture, evil=evil, again={"command": evil, "python": evil})
    assert "<script>" not in text and "&lt;script&gt;" in text
