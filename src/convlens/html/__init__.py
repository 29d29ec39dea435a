"""Parts that every HTML output shares: templates, styles, ES modules, numbers, pictures, scales.

The report, the indexes of folders, notebooks and the explorer are built from these parts. The
package knows no analysis: its functions take tensors and plain values.

- `base.html.jinja` is the document, `macros.html.jinja` the parts inside it.
- `styles/` holds the stylesheet in parts, `modules/` the ES modules.
- `templates` loads all of these.
- `numbers` writes numbers so that each names its place in the JSON file beside the document.
- `pictures` turns pixels into images within a budget of bytes.
- `scales` gives the colors of color bars, `charts` the coordinates of line charts.
- `figures` turns matplotlib figures and formulas into SVG in the document's colors and fonts.
"""
