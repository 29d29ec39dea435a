"""The report as a result: the model, the photos, the findings, and the result of each section."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convlens.analyses.predictions.predictions import Predictions
from convlens.passes.proportion import Proportion
from convlens.results import Result, Table
from convlens.results.network_result import NetworkResult
from convlens.results.reproduction import Reproduction
from convlens.wording import counted

Mark = Literal["fine", "look", "broken"]


@dataclass(frozen=True, eq=False)
class Finding(Result):
    """One sentence about what was measured.

    Attributes:
        mark: "fine", "look" (worth a look) or "broken".
        sentence: the measurement, with its number and the count that it rests on.
        evidence: address on the page of the evidence.
        rank: position among findings of one mark, from 0 (whether the numbers can be trusted at
            all) to 9 (details of single channels).
        examples: addresses of the photos or channels that it is about, the most telling first.
            The page links to them, with thumbnails where a section has one for the address.
        section: name of the section that it is from; the report sets it.
    """

    mark: Mark
    sentence: str
    evidence: str
    rank: int = 5
    examples: tuple[str, ...] = ()
    section: str = ""

    def summary(self) -> str:
        """The mark and the sentence."""
        return f"{self.mark}: {self.sentence}"


@dataclass(frozen=True, eq=False)
class Tile(Result):
    """The answer to one question on the first screen: a mark, a number and pictures.

    Attributes:
        title: what is asked about, in one or two words.
        mark: "fine", "look" (worth a look) or "broken".
        number: what was measured, in a few words: "7 of 8 right".
        sentence: what the number means, in one or two short sentences.
        evidence: address on the page of the evidence.
        rank: position among the tiles, from 0.
        proportion: the share of photos that the number states, with its interval; None for a
            number that does not count photos.
        examples: addresses of its pictures, as those of a finding.
    """

    title: str
    mark: Mark
    number: str
    sentence: str
    evidence: str
    rank: int
    proportion: Proportion | None = None
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReportPhoto(Result):
    """One photo and what the network predicts for it.

    Attributes:
        name: name of its file, as short as it is unique.
        path: path of the photo as the caller gave it.
        notes: what was done to its pixels while it was read.
        predictions: the five classes with the highest probability, or None where the network
            predicts no classes.
        names: names of these classes.
        probabilities: probabilities of these classes.
        expected: indices of the right classes, or None without a label.
        expected_names: their names.
        right: whether the first class is one of them, or None without a label.
        shown: whether sections show it in full.
    """

    name: str
    path: str
    notes: tuple[str, ...] = ()
    predictions: Predictions | None = None
    names: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    expected: tuple[int, ...] | None = None
    expected_names: tuple[str, ...] = ()
    right: bool | None = None
    shown: bool = False


@dataclass(frozen=True, eq=False)
class SkippedPhoto(Result):
    """A photo that could not be read, and why.

    Attributes:
        path: path of the file, as it was given.
        reason: why it cannot be read.
    """

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Subject(Result):
    """The model as it was used.

    Attributes:
        name: name of the model.
        spec: what `load` was given, or None.
        origin: where weights and preprocessing come from.
        preprocessing: how a photo becomes an image, in words.
        size: height and width of the image.
        channels: number of channels of the image.
        mean: subtracted, if `center` does not say otherwise.
        center: `data`, or `image` where each image's own mean is subtracted.
        std: divided by.
        bounds: least and greatest value of a pixel.
        device: device on which the network ran.
        output: shape of the logits for one image.
        final_activation: final activation of the network: "softmax", "sigmoid", or empty where
            neither is known.
        output_head: "softmax" or "sigmoid", by which logits become probabilities.
        prediction_rule: how predictions are read, in words, where that is not by a softmax.
        parameters: numbers that the network has learned.
        multiply_adds: number of multiply-adds for one image.
    """

    name: str
    spec: str | None
    origin: str
    preprocessing: str
    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    center: str
    std: tuple[float, ...]
    bounds: tuple[float, float]
    device: str
    output: tuple[int, ...]
    final_activation: str
    output_head: str
    prediction_rule: str
    parameters: int
    multiply_adds: int

    @property
    def per_pixel(self) -> bool:
        """Whether the network predicts a class for each pixel (segmentation)."""
        return any(side != 1 for side in self.output[1:])


@dataclass(frozen=True, eq=False)
class Report(NetworkResult):
    """A page, and all that it shows.

    Attributes:
        folder: where `index.html` and `report.json` lie.
        model: the model as the report used it.
        findings: findings of all sections, the broken ones first and the fine ones last.
        tiles: tiles of all sections, in the order of the first screen.
        photos: those that were read, in the order given.
        skipped: those that could not be read.
        num_photos: how many photos the report was asked for, read or not.
        sections: the result of each section by its name; a section that could not be computed is
            missing.
        failures: for each part that could not be computed, the reason.
        reproductions: for each section how to compute its result again.
        left_out: what the budgets of the page left out, in sentences.
        options: options with which the report was made.
        command: the command line, or None from Python.
        versions: versions of the libraries.
        threads: number of threads of each operation on the CPU; the last bits of a result may
            depend on it.
        created: when, in ISO 8601.
        seconds: seconds that each stage took.
    """

    folder: str
    model: Subject
    findings: tuple[Finding, ...]
    tiles: tuple[Tile, ...]
    photos: tuple[ReportPhoto, ...]
    skipped: tuple[SkippedPhoto, ...]
    num_photos: int
    sections: dict[str, Result]
    failures: dict[str, str]
    reproductions: dict[str, Reproduction]
    left_out: tuple[str, ...]
    options: dict[str, str | int | bool | None]
    command: str | None
    versions: dict[str, str]
    threads: int
    created: str
    seconds: dict[str, float]

    def summary(self) -> str:
        """What the page is about, what was found, and where it lies, in words."""
        marks = ", ".join(
            f"{sum(finding.mark == mark for finding in self.findings)} {mark}"
            for mark in ("broken", "look", "fine")
        )
        return (
            f"{self.model.name} on {counted(len(self.photos), 'photo')}: "
            f"{counted(len(self.findings), 'finding')} ({marks}); the page is {self.page}"
        )

    def table(self) -> Table:
        """The findings, the broken ones first."""
        rows = [(finding.mark, finding.sentence) for finding in self.findings]
        return Table.of(["mark", "finding"], rows)

    @property
    def page(self) -> Path:
        """The page itself."""
        return Path(self.folder) / "index.html"

    @property
    def data(self) -> Path:
        """The file with every number of the page."""
        return Path(self.folder) / "report.json"
