"""Formulas of the site as SVG, drawn by matplotlib, so that the site needs no connection."""

import hashlib

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from convlens.html.figures import formula_svg


def _svg(tex: str) -> str:
    # One formula may stand several times on a page; its paths are then the same.
    prefix = "formula-" + hashlib.sha256(tex.encode()).hexdigest()[:8]
    return str(formula_svg(f"${tex}$", prefix))


def _visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(f'<span class="formula">{_svg(node.astext())}</span>')
    raise nodes.SkipNode


def _visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{_svg(node.astext())}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the renderer `mathtext`."""
    app.add_html_math_renderer("mathtext", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
