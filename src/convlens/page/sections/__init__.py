"""The sections of the page, in the order in which they are computed and shown.

To add a section `NAME`:

1. Write `NAME.py` with a class that derives from `convlens.page.section.Section` and an instance
   of it called `SECTION`. Set `name`, `title` and `budget`; write `compute`, `reproduction`, and
   where they apply `findings`, `tiles`, `thumbnail`, `left_out` and `view`. The result is that of
   an analysis, or a frozen dataclass of such results that derives from `convlens.results.Result`; a
   new result class also has its line in `convlens.results.registry`.
2. Write `NAME.html.jinja`, the body of the section beneath its heading. It takes every number from
   `number(path, format)`, with a path inside the result and a format of
   `convlens.html.numbers.FORMATS`, so that `report.json` holds it. Macros for pictures, marks,
   color bars, charts and copy buttons come from `macros.html.jinja` in `convlens.html`, and so do
   `explained` (a figure with its explanation beside it), `data_table` and `more` (a fold). Style
   rules of this section alone are written in a block `{% set style %}` of the template.
3. Add NAME to `SECTIONS`. The frame of the page gives it its heading, its entry in the navigation
   and its address `#NAME`, shows the message of a `ConvlensError` in its place if it cannot be
   computed, shows its tiles and findings on the first screen, and writes its result and its
   reproduction to `report.json` under `sections.NAME` and `reproductions.NAME`.

A tile or a finding names the photos and channels that it is about by their addresses on the page
(`photo-3-map`, `LAYER:K`). The frame asks all sections for the thumbnails of these addresses.

What several sections need is in `convlens.page.inputs.Inputs`: the model, its trace and anatomy,
the photos with predictions, the images of those that are shown in full. A section reads the result
of an earlier one with `inputs.result("NAME", ResultClass)`; it must work without it.

To remove a section, delete its two files and its line here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convlens.page.section import Section

SECTIONS = (
    "photos",
    "errors",
    "weights",
    "randomization",
    "robustness",
    "shift",
    "channels",
    "class_images",
    "simple_complex",
    "feature_maps",
    "dream",
    "filters",
    "gabor",
    "training",
    "network",
    "effective_field",
    "preprocessing",
)


def load_sections() -> "list[Section]":
    """The sections of `SECTIONS`, in this order."""
    return [import_module(f"{__name__}.{name}").SECTION for name in SECTIONS]
