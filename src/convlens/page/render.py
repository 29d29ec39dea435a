"""Renders the page: the template of each section, inside the frame of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from convlens.html.numbers import number_writer
from convlens.html.pictures import PictureBudget
from convlens.html.templates import environment, modules, stylesheet
from convlens.page.first_screen import FirstScreen
from convlens.page.inputs import Inputs
from convlens.page.result import Report
from convlens.page.section import Section


@dataclass(frozen=True)
class SectionView:
    """What one section shows.

    Attributes:
        variables: variables of its template.
        left_out: what the budget left out, in sentences.
    """

    variables: dict[str, Any]
    left_out: tuple[str, ...]


def view_sections(sections: Sequence[Section], inputs: Inputs) -> dict[str, SectionView]:
    """Pictures and drawings of each section that has a result, within its budget of bytes."""
    views = {}
    for section in sections:
        result = inputs.results.get(section.name)
        if result is None:
            continue
        pictures = PictureBudget(section.budget.bytes)
        variables = section.view(inputs, result, pictures)
        left_out = list(section.left_out(inputs, result))
        if pictures.missing:
            left_out.append(
                f"{pictures.missing} pictures do not fit into the {pictures.limit / 1e6:.3g} MB "
                f"of the section {section.title}"
            )
        views[section.name] = SectionView(variables, tuple(left_out))
    return views


def render(
    sections: Sequence[Section],
    inputs: Inputs,
    report: Report,
    views: Mapping[str, SectionView],
    first_screen: FirstScreen,
) -> str:
    """The page as HTML.

    Args:
        sections: the sections in the order of the page.
        inputs: inputs of the report.
        report: complete but for the duration of this step.
        views: from `view_sections`.
        first_screen: from `view_first_screen`.
    """
    templates = environment(__package__)
    data = report.to_json()
    names = {section.name for section in sections}
    rendered: dict[str, _Rendered] = {}
    # The last first, so that parts are rendered before their parents.
    for section in reversed(sections):
        parts = [part for part in sections if part.parent == section.name]
        body = _render_section(
            templates, section, inputs, report, data, views.get(section.name),
            Markup("\n").join(rendered[part.name].body for part in parts),
        )  # fmt: skip
        rendered[section.name] = body
    return templates.get_template("page.html.jinja").render(
        report=report,
        model=report.model,
        sections=[section for section in sections if section.parent not in names],
        rendered=rendered,
        section_styles=[rendered[section.name].style for section in sections],
        methods=[entry for section in sections for entry in section.method],
        first_screen=first_screen,
        report_number=number_writer(data),
        created=_date(report.created),
        style=stylesheet(),
        modules=modules(),
    )


@dataclass(frozen=True)
class _Rendered:
    """HTML and CSS of one section."""

    body: Markup
    style: Markup


def _render_section(
    templates: Environment,
    section: Section,
    inputs: Inputs,
    report: Report,
    data: dict[str, Any],
    view: SectionView | None,
    parts: Markup,
) -> _Rendered:
    if view is None:
        return _Rendered(_render_failure(templates, section, inputs) + parts, Markup())
    template = templates.get_template(f"sections/{section.name}.html.jinja")
    module = template.make_module(
        {
            "result": report.sections[section.name],
            "reproduction": report.reproductions[section.name],
            "report": report,
            "model": report.model,
            "photos": report.photos,
            "failures": report.failures,
            "parts": parts,
            "number": number_writer(data, f"sections.{section.name}"),
            "report_number": number_writer(data),
            **view.variables,
        }
    )
    return _Rendered(Markup(str(module)), getattr(module, "style", Markup()))


def _render_failure(templates: Environment, section: Section, inputs: Inputs) -> Markup:
    reason = inputs.stages.failures.get(section.name)
    if reason is None:
        return Markup()
    is_reported = reason == inputs.predictions_failure
    return Markup(
        templates.get_template("failure.html.jinja").render(
            mark_word="look" if is_reported else section.failure_mark,
            title=section.title if section.parent else "",
            reason=reason,
        )
    )


def _date(created: str) -> str:
    at = datetime.fromisoformat(created)
    return f"{at.day} {at:%B %Y, %H:%M}"
