"""Matplotlib figures inside an HTML document: SVG in the document's colors and fonts."""

import io
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from convlens.drawing.figures import SIGNED
from convlens.drawing.palette import (
    ACCENT,
    ACCENT_FILL,
    FILL,
    INK,
    LINE,
    MUTED,
    SECOND,
    SECOND_FILL,
)

_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
# Colors of text and lines, and the custom properties of the stylesheet that replace them. Colors
# that stand for data are kept.
_PROPERTIES = {
    "#000000": "ink",
    INK: "ink",
    MUTED: "muted",
    LINE: "grid",
    ACCENT: "accent",
    ACCENT_FILL: "accent-fill",
    FILL: "fill",
    SECOND: "second",
    SECOND_FILL: "second-fill",
}
_CSS_PIXELS = 4 / 3  # in a point
_FORMULA_SIZE = 13  # of the font, in points

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _LINK)


def inline_svg(figure: Figure, label: str, prefix: str) -> Markup:
    """A figure as an SVG element whose text and lines have the colors and fonts of the document.

    Args:
        figure: the figure; its background is left out.
        label: what it shows, for those who do not see it.
        prefix: beginning of the identifiers inside the element, different for each element of a
            document.

    Returns:
        The element, as large as the figure. The stylesheet may make it smaller.
    """
    return _to_svg(figure, label, prefix, "figure", "none", dpi="figure")


def formula_svg(tex: str, prefix: str) -> Markup:
    """A formula as an SVG element in the color of the text.

    Args:
        tex: the formula between dollar signs, in the part of TeX that matplotlib reads.
        prefix: as for `inline_svg`.
    """
    figure = Figure(figsize=(8, 1))
    with matplotlib.rc_context({"mathtext.fontset": "cm"}):
        figure.text(0, 0.5, tex, fontsize=_FORMULA_SIZE)
        return _to_svg(
            figure, tex.strip("$"), prefix, "formula", "path", bbox_inches="tight", pad_inches=0.03
        )


def _to_svg(
    figure: Figure,
    label: str,
    prefix: str,
    kind: str,
    fonttype: str,
    **options: Any,
) -> Markup:
    """The figure with the class `kind`; text stays text ("none") or becomes lines ("path")."""
    file = io.StringIO()
    signed = _name_signed_artists(figure)
    # Pictures of one board stay apart, because some of them may be signed.
    with matplotlib.rc_context(
        {"svg.hashsalt": prefix, "svg.fonttype": fonttype, "image.composite_image": False}
    ):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None}, **options)
    root = ElementTree.fromstring(file.getvalue())
    _mark_signed_elements(root, signed)
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    used = set(re.findall(r'(?:href="|url\()#([\w-]+)', file.getvalue()))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        for name, value in element.attrib.items():
            element.set(name, _use_properties(_prefix_identifiers(value, used, prefix)))
    width, height = (float(root.attrib[name].removesuffix("pt")) for name in ("width", "height"))
    root.attrib |= {
        "width": f"{width * _CSS_PIXELS:.0f}", "height": f"{height * _CSS_PIXELS:.0f}",
        "role": "img", "aria-label": label, "class": kind,
    }  # fmt: skip
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _name_signed_artists(figure: Figure) -> set[str]:
    """Give artists with signed colors a group identifier, which becomes that of their element."""
    artists = figure.findobj(lambda artist: artist.get_label() == SIGNED)
    for number, artist in enumerate(artists):
        artist.set_gid(f"{SIGNED}-{number}")
    return {f"{SIGNED}-{number}" for number in range(len(artists))}


def _mark_signed_elements(root: ElementTree.Element, identifiers: set[str]) -> None:
    """Give the pictures of these elements, or else the elements themselves, the class `signed`."""
    for element in root.iter():
        if element.get("id") in identifiers:
            for part in list(element.iter(f"{{{_SVG}}}image")) or [element]:
                part.set("class", SIGNED)


def _prefix_identifiers(value: str, used: set[str], prefix: str) -> str:
    """An attribute with the prefix before each identifier in it."""
    if value in used:
        return f"{prefix}-{value}"
    return re.sub(
        r"#([\w-]+)",
        lambda match: f"#{prefix}-{match[1]}" if match[1] in used else match[0],
        value,
    )


def _use_properties(value: str) -> str:
    """A style with the document's colors and, for text, its font."""
    value = re.sub(r"font: (?:[\w.-]+ )*?([\d.]+px) [^;]*", r"font-size: \1", value)
    value = re.sub(r"font-family: [^;]*;? ?", "", value)
    return re.sub(
        r"#[0-9a-f]{6}\b",
        lambda match: f"var(--{_PROPERTIES[match[0]]})" if match[0] in _PROPERTIES else match[0],
        value,
    )
