"""Collects the findings and the tiles of all sections, in the order of the page."""

from collections.abc import Sequence
from dataclasses import replace

from convlens.page.inputs import Inputs
from convlens.page.result import Finding, Mark, SkippedPhoto, Tile
from convlens.page.section import Section
from convlens.wording import counted, enumerated

_WORST_FIRST: tuple[Mark, ...] = ("broken", "look", "fine")


def collect_findings(
    sections: Sequence[Section],
    inputs: Inputs,
    skipped: Sequence[SkippedPhoto],
    num_photos: int,
    warnings: Sequence[str],
) -> tuple[Finding, ...]:
    """The findings of all sections, and the warnings.

    The broken ones come first and the fine ones last, then the rank decides.

    Args:
        sections: the sections in the order of the page.
        inputs: inputs with the results of all sections.
        skipped: the photos that could not be read.
        num_photos: how many photos the report was asked for.
        warnings: what the analyses warned of, in sentences without a full stop.
    """
    findings = [
        Finding("look", f"{sentence}.", "network", rank=0, section="network")
        for sentence in warnings
    ]
    findings += _find_skipped(skipped, num_photos)
    reported = {inputs.predictions_failure}  # one cause may fail several sections
    for section in sections:
        result = inputs.results.get(section.name)
        section_findings: list[Finding] = []
        if result is not None:
            section_findings += section.findings(inputs, result)
        elif section.missing and section.name in inputs.stages.failures:
            reason = inputs.stages.failures[section.name]
            if reason not in reported:
                sentence = f"{section.missing}: {reason}."
                section_findings.append(Finding(section.failure_mark, sentence, section.name))
            reported.add(reason)
        findings += [replace(finding, section=section.name) for finding in section_findings]
    unique = list({finding.sentence: finding for finding in findings}.values())
    return tuple(
        sorted(unique, key=lambda finding: (_WORST_FIRST.index(finding.mark), finding.rank))
    )


def collect_tiles(sections: Sequence[Section], inputs: Inputs) -> tuple[Tile, ...]:
    """The tiles of all sections by their rank.

    Args:
        sections: the sections in the order of the page.
        inputs: inputs with the results of all sections.
    """
    tiles: list[Tile] = []
    for section in sections:
        result = inputs.results.get(section.name)
        if result is not None:
            tiles += section.tiles(inputs, result)
    return tuple(sorted(tiles, key=lambda tile: tile.rank))


def _find_skipped(skipped: Sequence[SkippedPhoto], num_photos: int) -> list[Finding]:
    if not skipped:
        return []
    names = enumerated([photo.path.rpartition("/")[2] for photo in skipped])
    sentence = (
        f"Unreadable, and left out: {len(skipped)} of {counted(num_photos, 'photo')} ({names})."
    )
    return [Finding("look", sentence, "left-out", rank=0, section="method")]
