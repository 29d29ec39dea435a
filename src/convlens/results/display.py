"""HTML for notebooks: a result with its summary, picture, table and fields; named values."""

from collections.abc import Mapping
from typing import Any

from convlens.drawing import render_figure
from convlens.drawing.result_figure import CSS_DPI, NOTEBOOK_DPI
from convlens.errors import ConvlensError
from convlens.html.pictures import Picture, PictureBudget
from convlens.html.templates import environment
from convlens.results.description import describe

PICTURE_BYTES = 1_000_000  # of the picture of one result, at most


def result_html(result: Any, fields: Mapping[str, Any]) -> str:
    """A result as a fragment of HTML.

    Args:
        result: a `Result`.
        fields: its fields by name.

    Returns:
        The summary, the warnings, the figure as a picture of at most 1 MB, the table, and a fold
        with all fields.
    """
    template = environment("convlens.results").get_template("result.html.jinja")
    table = result.table()
    return template.render(
        name=type(result).__name__,
        summary=result.summary(),
        picture=_figure_picture(result),
        warnings=fields.get("warnings", ()),
        table=table.without_empty_columns() if table is not None else None,
        fields=[(name, describe(value)) for name, value in fields.items()],
    )


def rows_html(title: str, rows: list[tuple[str, str]]) -> str:
    """A title and named values as a fragment of HTML.

    Args:
        title: text above the values.
        rows: a name and a value each.
    """
    template = environment("convlens.results").get_template("rows.html.jinja")
    return template.render(title=title, rows=rows)


def _figure_picture(result: Any) -> Picture | None:
    """The figure of a result within the budget of bytes; None if it has nothing to draw."""
    try:
        figure = result.figure()
    except ConvlensError:  # it has no pictures
        return None
    pixels = render_figure(figure, NOTEBOOK_DPI)
    scale = CSS_DPI / NOTEBOOK_DPI
    budget = PictureBudget(PICTURE_BYTES)
    side = round(max(pixels.shape[:2]) * scale)
    return (
        budget.scaled(pixels, scale, hard=False)
        or budget.smooth(pixels, side)
        or budget.smooth(render_figure(figure, CSS_DPI // 2), side)
    )
