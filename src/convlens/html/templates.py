"""Loads the templates, the stylesheet and the ES modules."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from convlens.text import printable
from convlens.wording import begin_sentence, counted, plural

_PACKAGE = "convlens.html"
# Each works alone, so that a document includes those that it needs.
MODULES = (
    "scripted",
    "copy",
    "overlay_toggle",
    "zoom",
    "slider",
    "tables",
    "navigation",
    "address",
)
# A later file may refine the rules of an earlier one.
STYLES = ("base", "layout", "tables", "figures", "charts", "cards", "frame")


@dataclass(frozen=True)
class Module:
    """One ES module of a document.

    Attributes:
        text: the source.
        sha256: base64 digest of the source, for the Content-Security-Policy.
    """

    text: Markup
    sha256: str


@cache  # an environment keeps the templates that it has compiled
def environment(package: str) -> Environment:
    """The template environment of a package whose templates may extend and import those here.

    Args:
        package: dotted name of the package. A template that it lacks is taken from this package.
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader(_PACKAGE, "")]),
        autoescape=True,
        finalize=_make_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "breakable": _breakable, "counted": counted, "plural": plural, "sentence": begin_sentence,
    }  # fmt: skip
    return templates


def _breakable(name: str) -> Markup:
    """The name of a layer with a place to break the line behind each dot."""
    return escape(_make_printable(name)).replace(".", Markup(".<wbr>"))


def _make_printable(value: Any) -> Any:
    """A value as a template shows it: text without characters that a browser would obey."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value, lines=True)
    return value


def stylesheet() -> Markup:
    """The shared stylesheet: the files of `STYLES` one after the other."""
    return Markup("\n".join(_read(f"styles/{name}.css") for name in STYLES))


def modules() -> list[Module]:
    """All ES modules, in the order in which a document runs them."""
    sources = [_read(f"modules/{name}.js") for name in MODULES]
    return [Module(Markup(source), _sha256(source)) for source in sources]


def _read(name: str) -> str:
    return (files(_PACKAGE) / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
