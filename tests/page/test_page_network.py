"""The section on the network: the drawing beside the table of layers."""

import re

from convlens.page import sections
from convlens.page.report import report
from support.pages import tiny

pytest_plugins = "support.pages"


def test_the_drawing_has_a_box_with_a_title_for_each_layer_that_computes(
    tmp_path, photos, monkeypatch
):
    monkeypatch.setattr(sections, "SECTIONS", ("network",))
    written = report(tiny(), photos, out=tmp_path / "page")
    text = written.page.read_text("utf-8")
    drawing = re.search(r'<figure class="architecture">.*?</figure>', text, re.DOTALL).group()
    titles = re.findall(r"<title>(.*?)</title>", drawing)
    assert titles == [
        "image, 3 × 32 × 32",
        "0, Conv2d, 8 × 16 × 16",
        "2, Conv2d, 8 × 16 × 16",
        "4, AdaptiveAvgPool2d, 8 × 1 × 1",
        "6, Linear, 5",
    ]
    assert drawing.count("<polyline") == 4
    assert all(kind in drawing for kind in ("convolution", "pooling", "fully connected"))
