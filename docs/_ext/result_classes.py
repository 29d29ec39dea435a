"""The page of all result classes, written from their registry before the site is built."""

from pathlib import Path
from typing import TYPE_CHECKING

from convlens.results.registry import CONVLENS_CLASSES

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

_HEAD = """\
Result classes
==============

.. This page is written by docs/_ext/result_classes.py.

An analysis returns an object of one of these classes: a frozen dataclass of raw tensors in stated
units. :class:`convlens.Result` describes what all of them can do: ``summary()``, ``table()``,
``pictures()``, ``figure()``, ``save()`` and ``load()``.

.. autosummary::
   :toctree: generated
   :nosignatures:

"""


def write_page(folder: Path) -> Path:
    """Write the page into a folder, and return its path.

    Args:
        folder: the folder of the reference.
    """
    page = folder / "results.rst"
    classes = [f"{module}.{name}" for name, module in sorted(CONVLENS_CLASSES.items())]
    text = _HEAD + "".join(f"   ~{path}\n" for path in classes)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")
    return page


def _write(app: "Sphinx", config: "Config") -> None:
    write_page(Path(app.srcdir) / "reference")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Write the page before autosummary reads it."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
