"""Pictures of the gallery: what a script assigns to `figure`."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst

_DPI = 160


def scrape(block: tuple[Any, ...], block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figure of a block of code, and return the directive that shows it.

    Figures of convlens are made without pyplot, so that sphinx-gallery's own scraper does not see
    them.

    Args:
        block: kind, text and line of the block.
        block_vars: the variables of the script, and the paths of its next pictures.
        gallery_conf: settings of the gallery.
    """
    figure = block_vars["example_globals"].pop("figure", None)
    if figure is None:
        return ""
    path = Path(next(block_vars["image_path_iterator"]))
    figure.savefig(path, dpi=_DPI, bbox_inches="tight")
    return figure_rst([str(path)], gallery_conf["src_dir"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx that pages with such pictures can be read and written in parallel."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
