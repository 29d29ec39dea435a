"""The section on errors: accuracy, confused classes, calibration, and what explains the errors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convlens.analyses.error_analysis.dataset_pass import error_analysis
from convlens.analyses.error_analysis.evidence import UNEXPLAINED, ErrorEvidence
from convlens.analyses.error_analysis.result import ErrorAnalysis, WrongPrediction
from convlens.html.charts import reliability_chart
from convlens.html.pictures import SIDE, Picture, PictureBudget
from convlens.page.budget import Budget
from convlens.page.inputs import Inputs
from convlens.page.result import Finding
from convlens.page.section import Section
from convlens.passes.options import PassOptions
from convlens.results.reproduction import Reproduction
from convlens.wording import counted, percent

_LEAST_LABELED = 16  # photos; of fewer, the cards of the photos say all
_PASSES = 70  # forward passes of one error and of one right prediction for comparison, about
_BINS = 5  # of the page's few photos


@dataclass(frozen=True)
class _ErrorView:
    """One error: its pictures, which are None where they found no room, and its evidence.

    Attributes:
        at: path of the error inside the result.
        name: short name of the photo.
        number: number of the photo among those of the report, from 1.
        error: the error.
        evidence: what was measured about it; None where it was not examined.
        photo: the photo.
        overlay: Grad-CAM of the right minus the predicted class.
        words: its causes that are supported, and what makes its prediction right.
        similar_right: the most similar photo of the right class; None without one.
        similar_wrong: that of the predicted class; None without one.
    """

    at: str
    name: str
    number: int
    error: WrongPrediction
    evidence: ErrorEvidence | None
    photo: Picture | None
    overlay: Picture | None
    words: str
    similar_right: Picture | None
    similar_wrong: Picture | None


class ErrorsSection(Section[ErrorAnalysis]):
    """Where and why the network is wrong on the photos that have labels."""

    name = "errors"
    title = "Errors"
    budget = Budget(items=12, bytes=900_000, work=1.2e12)
    missing = "No analysis of errors"

    def compute(self, inputs: Inputs) -> ErrorAnalysis | None:
        """The analysis of all photos with labels; None for few of them, or without an error.

        Raises:
            ConvlensError: the network does not predict one class for each photo.
        """
        labeled = [photo for photo in inputs.photos if photo.expected]
        if len(labeled) < _LEAST_LABELED or all(photo.right for photo in labeled):
            return None
        numbers = range(len(inputs.photos))
        return error_analysis(
            inputs.model,
            inputs.paths(numbers),
            [photo.expected for photo in inputs.photos],
            bins=_BINS,
            show=self._count(inputs),
            examine=self._count(inputs),
            boxes=inputs.options.boxes,
            seed=inputs.options.seed,
            pass_options=PassOptions(
                progress=lambda _, done, total: inputs.stages.report("errors", done, total)
            ),
        )

    def _count(self, inputs: Inputs) -> int:
        """Errors that are shown, and errors over which causes are counted."""
        return self.budget.affordable(_PASSES * inputs.multiply_adds)

    def findings(self, inputs: Inputs, result: ErrorAnalysis) -> Iterator[Finding]:
        """The most frequent cause, labels that may be wrong, and confidence that is too high."""
        if result.causes is not None:
            causes = [cause for cause in result.causes.causes if cause.name != UNEXPLAINED]
            best = max(causes, key=lambda cause: cause.explained.count)
            if best.explained.count:
                yield Finding(
                    "look",
                    f"{best.explained.count} of {counted(result.causes.examined, 'error')} that "
                    f"were examined are explained by this: {best.measured}.",
                    "errors", rank=3,
                )  # fmt: skip
        if result.suspicious:
            first = result.suspicious[0]
            yield Finding(
                "look",
                f"{counted(len(result.suspicious), 'label')} may be wrong: the network is as sure "
                f"of another class as it is on average of photos of that class. The surest is "
                f"{inputs.photos[first.number].name} ({first.label_name}, predicted as "
                f"{first.prediction_name}, {percent(first.confidence)}).",
                "errors", rank=4,
            )  # fmt: skip
        error = result.calibration.equal_width.error
        if error.low > 0:
            high = result.calibration.mean_gap > 0
            yield Finding(
                "look",
                f"The network’s confidence is {'higher' if high else 'lower'} than its accuracy: "
                f"expected calibration error {error.summary()}.",
                "errors", rank=6,
            )  # fmt: skip

    def left_out(self, inputs: Inputs, result: ErrorAnalysis) -> Iterator[str]:
        """Errors beyond the budget."""
        if result.shown < len(result.wrong):
            yield (
                f"the surest {result.shown} of {counted(len(result.wrong), 'error')} have a picture"
            )

    def reproduction(self, inputs: Inputs, result: ErrorAnalysis) -> Reproduction:
        """The same analysis of the same photos."""
        count = self._count(inputs)
        boxes = inputs.options.boxes_path
        return inputs.reproducer.over_photos(
            "errors",
            "errors",
            "error_analysis",
            inputs.photos,
            words=[
                "--bins", str(_BINS), "--show", str(count), "--examine", str(count),
                *(["--boxes", boxes] if boxes is not None else []),
            ],
            arguments=[
                f"bins={_BINS}", f"show={count}", f"examine={count}",
                f"seed={inputs.options.seed}",
                *([f"boxes=convlens.read_boxes({boxes!r}, model)"] if boxes is not None else []),
            ],
            labeled=True,
        )  # fmt: skip

    def view(
        self, inputs: Inputs, result: ErrorAnalysis, pictures: PictureBudget
    ) -> dict[str, Any]:
        """The reliability diagram, and the errors with their pictures."""
        names = [photo.name for photo in inputs.photos]
        return {
            "chart": reliability_chart(result.calibration.equal_width.drawn_bins()),
            "errors": [_view_error(result, row, names, pictures) for row in range(result.shown)],
        }


def _view_error(
    result: ErrorAnalysis, row: int, names: list[str], pictures: PictureBudget
) -> _ErrorView:
    error = result.wrong[row]
    evidence = result.evidence_of(error.number)
    pixels = result.pixels_of(error.number)
    overlay, words = None, ""
    if result.causes is not None and evidence is not None:
        words = result.causes.describe(evidence)
        if pixels is not None:
            overlay = result.causes.overlay(result.causes.evidence.index(evidence), pixels)

    def show_first(numbers: Sequence[int]) -> Picture | None:
        photo = result.pixels_of(numbers[0]) if numbers else None
        return None if photo is None else pictures.photo(photo, side=SIDE // 2)

    return _ErrorView(
        at=f"wrong.{row}",
        name=names[error.number],
        number=error.number + 1,
        error=error,
        evidence=evidence,
        photo=None if pixels is None else pictures.photo(pixels, side=SIDE * 3 // 4),
        overlay=None if overlay is None else pictures.photo(overlay, side=SIDE * 3 // 4),
        words=words,
        similar_right=show_first(evidence.similar_right if evidence else ()),
        similar_wrong=show_first(evidence.similar_wrong if evidence else ()),
    )


SECTION = ErrorsSection()
