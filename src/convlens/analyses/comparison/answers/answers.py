"""`compare_answers`: which answers differ between two networks, in one pass over photos."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from convlens.analyses.comparison.answers.answer_work import (
    KINDS,
    AnswerWork,
    takes_same_images,
)
from convlens.analyses.comparison.answers.class_pairing import pair_classes
from convlens.analyses.comparison.answers.paired_difference import PairedDifference
from convlens.analyses.comparison.answers.result import AnswerChanges, AnswerPair
from convlens.analyses.predictions.photo_labels import check_photo_labels
from convlens.analyses.predictions.predictions import check_one_vector
from convlens.data.datasets.photo_dataset import as_dataset
from convlens.models.labels import PhotoLabels, class_name, class_names
from convlens.models.model import Model, check_model
from convlens.passes.options import PassOptions
from convlens.passes.proportion import Proportion
from convlens.passes.run import PassResult, run_pass
from convlens.passes.source import (
    PhotosOrImages,
    Source,
    check_photos,
    open_source,
)
from convlens.results.network_result import keep_warnings
from convlens.runtime.fingerprints import fingerprint
from convlens.runtime.guard import unwrap_network
from convlens.tracing.model_fingerprint import fingerprint_model
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network

_SHOWN = 24  # photos that are named of each kind of change
_SAME = 4  # photos with the same answer that are named


@keep_warnings
def compare_answers(
    first: Model,
    second: Model,
    photos: PhotosOrImages,
    *,
    labels: PhotoLabels | None = None,
    strict: bool = False,
    pass_options: PassOptions = PassOptions(),
) -> AnswerChanges:
    """Count the answers of two networks that differ on the same photos, and the right ones.

    Each photo takes one forward pass of each network. A photo is decoded once if both networks have
    the same preprocessing, and otherwise for each of them.

    Args:
        first: the first model, such as the one before a change; left untouched.
        second: the second model; left untouched.
        photos: files, a data set of them, or images `(N, C, H, W)` inside the bounds of the first
            model, which the second one is given rescaled to its own bounds.
        labels: for each photo the indices of the right classes by the first network, or None;
            default: no labels.
        strict: raise for a photo that cannot be read instead of leaving it out; default: leave it
            out.
        pass_options: how the pass runs; see `PassOptions`. Its stage is `answers`. Default:
            `PassOptions()`.

    Returns:
        Counts, McNemar's exact test with labels, and the photos with the surest changed answers.

    Raises:
        ConvlensError: the networks have no class in common, or do not give one vector of class
            scores; labels that do not fit; no photo can be read.

    References:
        McNemar, Psychometrika 1947; Newcombe, Statistics in Medicine 1998, method 10.

    Example:
        >>> import torch, convlens
        >>> networks = [
        ...     torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
        ...     for _ in range(2)
        ... ]
        >>> before, after = (convlens.wrap(network, size=8) for network in networks)
        >>> images = torch.rand(20, 3, 8, 8)
        >>> convlens.compare_answers(before, before, images).identical
        True
        >>> convlens.compare_answers(before, after, images).images
        20
    """
    check_model(first)
    check_model(second)
    photos = check_photos(first, photos)
    source = open_source(first, photos, strict=strict)
    if labels is not None:
        check_photo_labels(first, labels, len(source))
    traces = trace_network(first), trace_network(second)
    for model, trace in zip((first, second), traces, strict=True):
        check_one_vector(model, trace, "diff")
    classes = pair_classes(first, second, *(trace.num_outputs for trace in traces))
    second_fingerprint = fingerprint_model(second)
    work = AnswerWork(
        first=first,
        second=second,
        photos=(
            None
            if isinstance(photos, Tensor) or takes_same_images(first, second)
            else as_dataset(photos)
        ),
        classes=classes,
        labels=labels,
        top=_SHOWN,
        folds=_fold_alike(first, second, traces, second_fingerprint),
    )
    settings = {
        "analysis": "diff", "second": f"{second.name} {second_fingerprint}",
        "labels": fingerprint(labels),
    }  # fmt: skip
    finished = run_pass(
        first, work, source, stage="answers", pass_options=pass_options, settings=settings
    )
    if work.folds and int(finished.state["equal_logits"]) == int(finished.state["photos"]):
        # Folding may round a small change of a weight away, and "equal" means every bit.
        work = replace(work, folds=False)
        finished = run_pass(
            first, work, source, stage="answers", pass_options=pass_options.in_subfolder("exact"),
            settings=settings,
        )  # fmt: skip
    return _make_result(work, source, finished)


def _make_result(work: AnswerWork, source: Source, finished: PassResult) -> AnswerChanges:
    """The result of the pass."""
    state, classes = finished.state, work.classes
    total = int(state["photos"])
    right = None
    if int(state["labeled"]):
        counts = (int(state[name]) for name in ("both", "lost", "gained", "neither"))
        right = PairedDifference.from_counts(*counts)
    return AnswerChanges(
        first=work.first.name,
        second=work.second.name,
        images=total,
        skipped=tuple(finished.skipped.values()),
        same=Proportion.from_counts(int(state["same"]), total),
        equal_logits=int(state["equal_logits"]),
        largest_change=float(state["largest_change"]) if classes.same else float("nan"),
        right=right,
        class_difference=classes.difference,
        same_index=Proportion.from_counts(int(state["same_index"]), total),
        probability_changes=state["probability_changes"],
        pairs=tuple(_list_pairs(work, source, state)),
    )


def _fold_alike(
    first: Model, second: Model, traces: tuple[Trace, Trace], second_fingerprint: str
) -> bool:
    """Whether folding changes the logits of both networks alike, and they are not the same anyway.

    Of one network in two formats, only one might be folded, and equal logits would differ.
    """
    networks = [unwrap_network(model.network) for model in (first, second)]
    return (
        type(networks[0]) is type(networks[1])
        and traces[0].batch_norm_pairs == traces[1].batch_norm_pairs
        and fingerprint_model(first) != second_fingerprint
    )


def _list_pairs(work: AnswerWork, source: Source, state: Mapping[str, Tensor]) -> list[AnswerPair]:
    """The answers for the photos that the pass has kept, kind by kind."""
    entries = [
        (row, column)
        for row, kind in enumerate(KINDS)
        for column in range(_SAME if kind == "same" else work.top)
        if state["values"][row, column] > -torch.inf
    ]
    pairs = []
    for row, column in entries:
        number = int(state["images"][row, column])
        first_class, second_class = state["classes"][row, column].tolist()
        first_probability, second_probability = state["probabilities"][row, column].tolist()
        pairs.append(
            AnswerPair(
                number=number,
                photo=source.name(number),
                kind=KINDS[row],
                labels=class_names(
                    work.first.labels,
                    (work.labels[number] or ()) if work.labels is not None else (),
                ),
                first=class_name(work.first.labels, first_class),
                second=class_name(work.second.labels, second_class),
                first_class=first_class,
                second_class=second_class,
                first_probability=first_probability,
                second_probability=second_probability,
            )
        )
    return pairs
