"""Renders the page of the chapter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from convlens.html.figures import formula_svg, inline_svg
from convlens.html.templates import environment, modules, stylesheet
from convlens.textbook.notion import Notion
from convlens.wording import begin_sentence

_CSS_DPI = 96  # CSS pixels for each inch


@dataclass(frozen=True)
class ComputedFigure:
    """A notion with its figure.

    Attributes:
        notion: the notion.
        figure: the figure of its result.
        command: the command that makes it.
        python: the Python lines that make it.
        summary: the result in a sentence; empty if it has none.
    """

    notion: Notion
    figure: Figure
    command: str
    python: str
    summary: str


@dataclass(frozen=True)
class _Block:
    """A figure as the template shows it."""

    notion: Notion
    picture: Markup
    width: int  # of the picture, in CSS pixels
    formula: Markup
    command: str
    python: str
    summary: str


def render(figures: Sequence[ComputedFigure], titles: Mapping[str, str]) -> str:
    """The page as HTML.

    Args:
        figures: the figures in the order of the chapter.
        titles: the title of each section by its number.
    """
    sections: dict[str, list[_Block]] = {}
    for computed in figures:
        notion = computed.notion
        sections.setdefault(notion.section, []).append(
            _Block(
                notion=notion,
                picture=inline_svg(computed.figure, notion.title, notion.name),
                width=round(computed.figure.get_figwidth() * _CSS_DPI),
                formula=formula_svg(notion.formula, f"{notion.name}-formula")
                if notion.formula
                else Markup(),
                command=computed.command,
                python=computed.python,
                summary=begin_sentence(computed.summary.split("\n")[0]),
            )
        )
    return (
        environment(__package__)
        .get_template("chapter.html.jinja")
        .render(sections=sections, titles=titles, style=stylesheet(), modules=modules())
    )
