"""The result of `check`: findings, each fine, broken, or undecided."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.text import printable
from convlens.wording import counted

Status = Literal["fine", "broken", "cannot tell"]
FINE: Status = "fine"
BROKEN: Status = "broken"
CANNOT_TELL: Status = "cannot tell"


@dataclass(frozen=True, eq=False)
class CheckFinding(Result):
    """One thing that was checked.

    Attributes:
        name: what was checked, such as "preprocessing".
        status: "fine", "broken", or "cannot tell" where the photos do not decide.
        sentence: what was found, without full stop.
        value: the measured number, or None.
        limit: the number that it was compared with, or None.
    """

    name: str
    status: Status
    sentence: str
    value: float | None = None
    limit: float | None = None

    def summary(self) -> str:
        """The finding in words."""
        return f"{self.status}: {self.name}: {self.sentence}"


@dataclass(frozen=True, eq=False)
class ModelCheck(NetworkResult):
    """What `check` found.

    Attributes:
        model: name of the model.
        images: number of photos that were examined.
        skipped: the photos that could not be read, with the reason.
        findings: the findings, in the order of the checks.
    """

    model: str
    images: int
    skipped: tuple[str, ...]
    findings: tuple[CheckFinding, ...]

    @property
    def broken(self) -> tuple[CheckFinding, ...]:
        """The findings that are broken."""
        return tuple(finding for finding in self.findings if finding.status == BROKEN)

    def __getitem__(self, name: str) -> CheckFinding:
        """A finding by its name.

        Raises:
            KeyError: there is none of this name.
        """
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def summary(self) -> str:
        """The broken findings, or that there is none, in words."""
        model = printable(self.model)
        if not self.broken:
            undecided = sum(finding.status == CANNOT_TELL for finding in self.findings)
            words = f"; {undecided} undecided" if undecided else ""
            return f"{model}: none of {counted(len(self.findings), 'check')} is broken{words}"
        return "\n".join(
            f"{model}: {finding.name} is broken: {finding.sentence}" for finding in self.broken
        )

    def table(self) -> Table:
        """The findings."""
        rows = [[finding.name, finding.status, finding.sentence] for finding in self.findings]
        return Table.of(["check", "status", "finding"], rows, most=len(rows))

    def junit_xml(self) -> str:
        """The findings as JUnit XML, which CI systems read: a test case for each.

        A broken finding is a failure, an undecided one a skipped test.
        """
        return write_junit(printable(self.model), self.findings)


def write_junit(suite: str, findings: Sequence[CheckFinding]) -> str:
    """Findings as the text of a JUnit XML file.

    Args:
        suite: name of the test suite.
        findings: the findings.
    """
    count = {status: sum(each.status == status for each in findings) for status in
             (BROKEN, CANNOT_TELL)}  # fmt: skip
    root = ElementTree.Element(
        "testsuite", name=f"convlens check {suite}", tests=str(len(findings)),
        failures=str(count[BROKEN]), skipped=str(count[CANNOT_TELL]), errors="0",
    )  # fmt: skip
    for finding in findings:
        sentence = printable(finding.sentence)
        case = ElementTree.SubElement(root, "testcase", classname="convlens", name=finding.name)
        if finding.status == BROKEN:
            ElementTree.SubElement(case, "failure", message=sentence)
        elif finding.status == CANNOT_TELL:
            ElementTree.SubElement(case, "skipped", message=sentence)
        else:
            ElementTree.SubElement(case, "system-out").text = sentence
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
