"""`error_analysis`: accuracy, confusions, calibration and errors of labeled photos, in one pass."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from convlens.analyses.calibration.result import summarize_calibration
from convlens.analyses.error_analysis.evidence import ErrorCauses
from convlens.analyses.error_analysis.explain_errors import ExaminedErrors, explain_errors
from convlens.analyses.error_analysis.kept_photos import filled_entries
from convlens.analyses.error_analysis.photo_selection import read_pixels, select_photos
from convlens.analyses.error_analysis.reducer import (
    ERROR_TABLES,
    RIGHT_TABLE,
    ErrorReducer,
    class_confidences,
    part_of,
)
from convlens.analyses.error_analysis.result import (
    ConfusedPair,
    ErrorAnalysis,
    WrongPrediction,
)
from convlens.analyses.error_analysis.right_classes import class_of, count_columns, pad_labels
from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.analyses.predictions.photo_labels import check_photo_labels
from convlens.analyses.predictions.predictions import check_one_vector
from convlens.errors import ConvlensError
from convlens.models.labels import PhotoLabels, class_name
from convlens.models.model import Model, check_model
from convlens.models.output_head import PROBABILITIES, SOFTMAX, is_binary
from convlens.passes.options import PassOptions
from convlens.passes.proportion import Proportion
from convlens.passes.run import PassResult, run_reducer
from convlens.passes.source import PhotosOrImages, Source, check_photos, open_source
from convlens.results.network_result import keep_warnings
from convlens.runtime.fingerprints import fingerprint
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network

_BINS = 15  # as in Guo et al. 2017
_TOP5_CLASSES = 5  # with no more, every right class is among the first five
_PAIRS, _PHOTOS_OF_PAIR = 10, 6
_MIN_PHOTOS = 5  # of a class, before its mean probability tells that a label may be wrong
_LIKELY = 0.5  # the least probability of a prediction that questions a label


@keep_warnings
def error_analysis(
    model: Model,
    photos: PhotosOrImages,
    labels: PhotoLabels,
    *,
    bins: int = _BINS,
    show: int = 16,
    examine: int = 32,
    boxes: Mapping[str, tuple[ObjectBox, ...]] | None = None,
    seed: int = 0,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> ErrorAnalysis:
    """Measure how often, where and how surely a network is wrong on labeled photos.

    One forward pass over the data gives the accuracy of all photos and of each class, the pairs of
    classes that are confused, the calibration, and the errors. Memory does not grow with the number
    of photos, apart from their names and labels. Each error that is examined takes about 40 forward
    passes, and as many photos that are predicted correctly 25 for comparison; up to 100 photos of
    each of their classes, and up to 200 of all, take one.

    Args:
        model: the model; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds.
        labels: for each photo the indices of the classes that are right, or None to leave the
            photo out. A prediction of any of them is correct; the first one is the photo's class.
            For a network with one output 0, or -1 for "not class 0".
        bins: number of bins of the reliability diagrams; default 15.
        show: number of errors with a picture, the surest first; default 16.
        examine: number of errors, drawn at random, over which causes are counted; they and those
            with a picture are examined one by one. 0 leaves this out. Default 32.
        boxes: objects on the photos, as `read_boxes` gives them; evidence outside of them counts as
            background. Default: none.
        seed: seed of the resamples behind the intervals, and of the random errors that are kept
            where there are more than 4,096; default 0.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        pass_options: how the pass runs; see `PassOptions`. The stages are `photos`, `errors`,
            `neighbors` and `patches`. Default: `PassOptions()`.

    Returns:
        Accuracy with 95 % intervals, confusions, calibration and errors.

    Raises:
        ConvlensError: if the labels do not fit or there are none, bins or show cannot be used, the
            network gives no vector of class scores, no photo can be read, or the resume folder is
            of another pass.

    References:
        Calibration: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. Labels that
        may be wrong: Northcutt et al., Confident Learning, JAIR 2021.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        >>> model = convlens.wrap(network, size=8)
        >>> result = convlens.error_analysis(model, torch.rand(20, 3, 8, 8), [(0,), (1,)] * 10)
        >>> result.images, len(result.wrong) == result.errors == int(result.confusion.sum())
        (20, True)
    """
    check_model(model)
    if bins < 2 or min(show, examine) < 0:
        raise ConvlensError(
            f"{bins} bins, show {show}, examine {examine}; give at least 2 bins, 0 errors or more"
        )
    photos = check_photos(model, photos)
    source = open_source(model, photos, strict=strict)
    check_photo_labels(model, labels, len(source))
    if not any(labels):
        raise ConvlensError("none of the photos has a label; give the right classes of some")
    trace = trace_network(model)
    check_one_vector(model, trace, "an error analysis")
    reducer, finished = _count_predictions(model, trace, source, labels, bins, seed, pass_options)
    state = finished.state
    binary = is_binary(trace.num_outputs, trace.output_head)
    names = tuple(
        class_name(model.labels, class_of(column, binary=binary))
        for column in range(reducer.columns)
    )
    wrong = _collect_errors(state, source, names, binary=binary)
    pairs = _collect_pairs(state, wrong, names, binary=binary)
    causes = None
    if examine and wrong:
        causes = explain_errors(
            model, photos, labels, _choose_examined(state, wrong, show, examine),
            confusion=state.get("pairs"), skipped=finished.skipped, boxes=boxes, seed=seed,
            pass_options=pass_options,
        )  # fmt: skip
    pictured = _choose_pictured(wrong, pairs, causes, show)
    has_top5 = reducer.columns > _TOP5_CLASSES
    total = int(state["photos"])
    return ErrorAnalysis(
        model=model.name,
        images=total,
        unlabeled=int(state["unlabeled"]),
        skipped=tuple(finished.skipped.values()),
        accuracy=Proportion.from_counts(int(state["class_right"].sum()), total),
        top5=Proportion.from_counts(int(state["class_top5"].sum()), total) if has_top5 else None,
        classes=tuple(class_of(column, binary=binary) for column in range(reducer.columns)),
        class_names=names,
        class_counts=state["class_photos"],
        class_right=state["class_right"],
        class_top5=state["class_top5"],
        confusion=state["pairs"].int() if reducer.counts_pairs else None,
        pairs=tuple(pairs),
        calibration=summarize_calibration(
            part_of(state, "histogram"), bins,
            state["losses"] if _has_losses(trace.output_head, binary=binary) else None, seed=seed,
        ),
        wrong=tuple(wrong),
        shown=min(show, len(wrong)),
        pictured=pictured,
        causes=causes,
        pixels=read_pixels(model, select_photos(model, photos, pictured)),
        seed=seed,
    )  # fmt: skip


def _count_predictions(
    model: Model,
    trace: Trace,
    source: Source,
    labels: PhotoLabels,
    bins: int,
    seed: int,
    pass_options: PassOptions,
) -> tuple[ErrorReducer, PassResult]:
    """Count right and wrong predictions in one pass; also returns the reducer that did it."""
    reducer = ErrorReducer(
        model, trace.logits, count_columns(trace.num_outputs, trace.output_head),
        trace.output_head, pad_labels(labels), bins, seed,
    )  # fmt: skip
    settings = {"analysis": "errors", "bins": bins, "seed": seed, "labels": fingerprint(labels)}
    finished = run_reducer(
        model, trace, reducer, source, pass_options=pass_options, settings=settings
    )
    if not int(finished.state["photos"]):
        raise ConvlensError("none of the photos that can be read has a label; give more labels")
    return reducer, finished


def _choose_examined(
    state: Mapping[str, Tensor], wrong: Sequence[WrongPrediction], show: int, examine: int
) -> ExaminedErrors:
    """The surest errors and a random sample of all, with as many random right predictions."""
    sample = filled_entries(part_of(state, "sample"))["photo"][:examine].tolist()
    chosen = {error.number for error in wrong[:show]} | set(sample)
    errors = [error for error in wrong if error.number in chosen]
    sampled = set(sample)
    right = filled_entries(part_of(state, RIGHT_TABLE))["photo"][: len(sample)].tolist()
    return ExaminedErrors(errors, [error.number in sampled for error in errors], right)


def _choose_pictured(
    wrong: Sequence[WrongPrediction],
    pairs: Iterable[ConfusedPair],
    causes: ErrorCauses | None,
    show: int,
) -> tuple[int, ...]:
    """The numbers of the photos that the pictures show, ascending."""
    if not show:
        return ()
    suspicious = [error for error in wrong if error.label_suspicious]
    numbers = {error.number for error in (*wrong[:show], *suspicious[:show])}
    numbers.update(number for pair in pairs for number in pair.numbers)
    for evidence in causes.evidence[:show] if causes is not None else ():
        numbers |= {evidence.number, *evidence.similar_right, *evidence.similar_wrong}
    return tuple(sorted(numbers))


def _has_losses(output_head: str, *, binary: bool) -> bool:
    """Whether there are logits of classes that exclude each other, which a temperature divides."""
    return output_head == SOFTMAX or (binary and output_head != PROBABILITIES)


def _collect_errors(
    state: Mapping[str, Tensor], source: Source, names: Sequence[str], *, binary: bool
) -> list[WrongPrediction]:
    """The errors that are kept, the surest first."""
    typical = class_confidences(state).where(state["class_photos"] >= _MIN_PHOTOS, torch.inf)
    errors: dict[int, WrongPrediction] = {}
    for table in ERROR_TABLES:
        entries = filled_entries(part_of(state, table))
        columns = {name: column.tolist() for name, column in entries.items()}
        for row, number in enumerate(columns["photo"]):
            if number in errors:
                continue
            label, prediction = columns["label"][row], columns["prediction"][row]
            confidence = columns["confidence"][row]
            errors[number] = WrongPrediction(
                number=number,
                photo=source.name(number),
                label=class_of(label, binary=binary),
                label_name=names[label],
                prediction=class_of(prediction, binary=binary),
                prediction_name=names[prediction],
                confidence=confidence,
                label_probability=columns["label_probability"][row],
                label_rank=columns["label_rank"][row],
                label_suspicious=confidence >= max(_LIKELY, float(typical[prediction])),
            )
    return sorted(errors.values(), key=lambda error: (-error.confidence, error.number))


def _collect_pairs(
    state: Mapping[str, Tensor],
    wrong: Iterable[WrongPrediction],
    names: Sequence[str],
    *,
    binary: bool,
) -> list[ConfusedPair]:
    """The most frequent pairs of label and prediction; of more classes than are counted none."""
    if "pairs" not in state:
        return []
    counts = state["pairs"].flatten()
    # Among equally frequent pairs, those whose class has fewer photos come first.
    photos = state["class_photos"].repeat_interleave(len(names))
    cells = counts.nonzero().flatten().tolist()
    cells.sort(key=lambda cell: (-int(counts[cell]), int(photos[cell]), cell))
    numbers: dict[tuple[int, int], list[int]] = {}
    for error in wrong:
        numbers.setdefault((error.label, error.prediction), []).append(error.number)
    pairs = []
    for cell in cells[:_PAIRS]:
        label, prediction = divmod(cell, len(names))
        pair = class_of(label, binary=binary), class_of(prediction, binary=binary)
        pairs.append(
            ConfusedPair(
                label=pair[0],
                label_name=names[label],
                prediction=pair[1],
                prediction_name=names[prediction],
                share=Proportion.from_counts(int(counts[cell]), int(photos[cell])),
                numbers=tuple(numbers.get(pair, [])[:_PHOTOS_OF_PAIR]),
            )
        )
    return pairs
