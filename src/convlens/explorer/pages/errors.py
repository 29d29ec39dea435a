"""The page of the errors: accuracy, calibration, confused classes, the surest errors, causes."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from torch import Tensor

from convlens.analyses.error_analysis.evidence import ErrorEvidence
from convlens.analyses.error_analysis.result import ErrorAnalysis, WrongPrediction
from convlens.explorer.addresses import LABELS
from convlens.explorer.event_stream import Computation, fill_template, stream
from convlens.explorer.photo_errors import (
    LabeledPhotos,
    analysis_key,
    analyze_errors,
    count_passes,
    list_labeled_photos,
)
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.rendering import FAST, attempt, render, session_of
from convlens.html.charts import reliability_chart
from convlens.html.pictures import Picture, PictureBudget
from convlens.models.label_tables import format_labels
from convlens.passes.proportion import Proportion
from convlens.results.reproduction import Reproduction

_SIDE = 160  # CSS pixels of a photo
_SMALL = 64  # CSS pixels of a patch and of a similar photo
_CLASSES = 10  # with the lowest accuracy
_BYTES = 8_000_000  # of the pictures of a page


@dataclass(frozen=True)
class ErrorTile:
    """An error with its pictures.

    Attributes:
        error: the error.
        photo: its photo.
        picture: the photo as the network sees it.
        evidence: what was measured about it; None where it was not examined.
        words: its causes that are supported, and what makes its prediction right.
        overlay: Grad-CAM of the right minus the predicted class; None without one.
        patches: the strongest patches of the channel that contributes most to the prediction.
        similar: the most similar photos of the right and of the predicted class, each with the name
            of its class.
    """

    error: WrongPrediction
    photo: StoredPhoto
    picture: Picture | None
    evidence: ErrorEvidence | None = None
    words: str = ""
    overlay: Picture | None = None
    patches: tuple[Picture | None, ...] = ()
    similar: tuple[tuple[str, StoredPhoto, Picture | None], ...] = ()


@dataclass(frozen=True)
class ClassAccuracy:
    """How often the photos of a class are predicted correctly."""

    index: int
    name: str
    accuracy: Proportion


async def errors(request: Request) -> Response:
    """The page, whose content is computed while it is open; in an export it is computed first."""
    session = session_of(request)
    network = await session.network()
    labeled = await list_labeled_photos(session)
    content, reason = "", ""
    if request.app.state.static:
        computed, reason = await attempt(analyze_errors(session, labeled, with_causes=False))
        if computed is not None:
            content = _show_analysis(request, labeled, *computed)
    return render(
        request, "pages/errors.html.jinja", network=network, labeled=labeled, content=content,
        reason=reason, table=LABELS,
    )  # fmt: skip


async def error_events(request: Request) -> Response:
    """The analysis without causes, as events."""
    return await _stream_analysis(request, _show_analysis, with_causes=False)


async def cause_events(request: Request) -> Response:
    """The causes of errors, as events."""
    return await _stream_analysis(request, _show_causes, with_causes=True)


async def _stream_analysis(
    request: Request, show: Callable[..., str], *, with_causes: bool
) -> Response:
    """The analysis as events, of which the last holds what a function shows of it."""
    session = session_of(request)
    labeled = await list_labeled_photos(session)
    computation = Computation(
        analysis_key(session, labeled, with_causes=with_causes),
        lambda: analyze_errors(session, labeled, with_causes=with_causes),
        lambda computed: show(request, labeled, *computed),
    )
    return stream(request, computation)


async def labels_table(request: Request) -> Response:
    """The labels of the photos as a CSV file, which the commands of the page read."""
    session = session_of(request)
    network, labeled = await session.network(), await list_labeled_photos(session)
    rows = [
        (_name_in_table(photo), right)
        for photo, right in zip(labeled.photos, labeled.labels, strict=True)
    ]
    text = format_labels(rows, session.model.labels, network.num_classes)
    # A name that is no UTF-8 fits no photo then, which `convlens errors` says.
    return Response(text.encode(errors="replace"), media_type="text/csv; charset=utf-8")


def _name_in_table(photo: StoredPhoto) -> str:
    assert photo.path is not None  # as it has a label
    # A name that starts with a dot would be relative to the folder of the table.
    hidden = photo.file_name.startswith(".")
    return str(photo.path.absolute()) if hidden else photo.file_name


def _show_analysis(
    request: Request, labeled: LabeledPhotos, result: ErrorAnalysis, reproduction: Reproduction
) -> str:
    budget = PictureBudget(_BYTES, compression=FAST)
    shown = result.wrong[: result.shown]
    return fill_template(
        request, "error_analysis.html.jinja", result=result, labeled=labeled,
        reproduction=reproduction, passes=count_passes(result),
        chart=reliability_chart(result.calibration.equal_width.drawn_bins()),
        classes=_list_classes(result), to=session_of(request).addresses,
        static=request.app.state.static,
        tiles=[_make_tile(labeled, result, error, budget) for error in shown],
    )  # fmt: skip


def _list_classes(result: ErrorAnalysis) -> list[ClassAccuracy]:
    """The classes with the lowest accuracy, those with more photos first."""
    classes = [
        ClassAccuracy(index, name, Proportion.from_counts(right, count))
        for index, name, right, count in zip(
            result.classes, result.class_names, result.class_right.tolist(),
            result.class_counts.tolist(), strict=True,
        )
        if count
    ]  # fmt: skip
    classes.sort(key=lambda entry: (entry.accuracy.share, -entry.accuracy.total))
    return classes[:_CLASSES]


def _make_tile(
    labeled: LabeledPhotos, result: ErrorAnalysis, error: WrongPrediction, budget: PictureBudget
) -> ErrorTile:
    return ErrorTile(
        error, labeled.photos[error.number],
        _draw(budget, result.pixels_of(error.number), _SIDE),
    )  # fmt: skip


def _show_causes(
    request: Request, labeled: LabeledPhotos, result: ErrorAnalysis, reproduction: Reproduction
) -> str:
    budget = PictureBudget(_BYTES, compression=FAST)
    return fill_template(
        request, "error_causes.html.jinja", result=result, causes=result.causes,
        reproduction=reproduction, to=session_of(request).addresses,
        tiles=[_explain(labeled, result, error, budget) for error in result.wrong[: result.shown]],
    )  # fmt: skip


def _explain(
    labeled: LabeledPhotos, result: ErrorAnalysis, error: WrongPrediction, budget: PictureBudget
) -> ErrorTile:
    """An error with the evidence about it."""
    tile, causes = _make_tile(labeled, result, error, budget), result.causes
    evidence = result.evidence_of(error.number)
    pixels = result.pixels_of(error.number)
    if causes is None or evidence is None or pixels is None:
        return tile
    patches = causes.patches_of(evidence)
    pairs = (
        (error.label_name, evidence.similar_right), (error.prediction_name, evidence.similar_wrong),
    )  # fmt: skip
    return ErrorTile(
        error=error, photo=tile.photo, picture=tile.picture, evidence=evidence,
        words=causes.describe(evidence),
        overlay=_draw(budget, causes.overlay(causes.evidence.index(evidence), pixels), _SIDE),
        patches=tuple(_draw(budget, tile, _SMALL) for tile in patches.tiles) if patches else (),
        similar=tuple(
            (name, labeled.photos[number], _draw(budget, result.pixels_of(number), _SMALL))
            for name, numbers in pairs
            for number in numbers[:1]
        ),
    )  # fmt: skip


def _draw(budget: PictureBudget, pixels: Tensor | None, side: int) -> Picture | None:
    return None if pixels is None else budget.thumbnail(pixels, side)
