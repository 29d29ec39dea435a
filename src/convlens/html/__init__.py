"""Parts that every HTML output shares: templates, styles, ES modules, numbers, pictures, scales.

The report, the indexes of folders, notebooks and the explorer are built from these parts. The
package knows no analysis: its functions take tensors and plain values.

`base.html.jinja` is the document and `macros.html.jinja` holds the parts inside it. The stylesheet
is in parts in the folder `styles`, and the ES modules are in `modules`.

templates.py  loads templates, stylesheet and ES modules
numbers.py    numbers, each with its place in the JSON file beside the document
pictures.py   pixels as pictures within a budget of bytes
scales.py     the colors of color bars
charts.py     the coordinates of line charts
figures.py    matplotlib figures and formulas as SVG in the document's colors and fonts
"""
