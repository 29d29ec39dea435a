"""Counts right and wrong predictions of a data set, by class, by confidence and by pair."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.calibration.histogram import add_confidences, empty_histogram
from convlens.analyses.calibration.temperature import TEMPERATURES, sum_losses
from convlens.analyses.error_analysis import kept_photos
from convlens.analyses.error_analysis.right_classes import (
    column_of,
    has_label,
    mark_right,
    to_columns,
)
from convlens.analyses.predictions.predictions import check_logits
from convlens.models.model import Model
from convlens.models.output_head import SOFTMAX, predicted_classes, probabilities
from convlens.passes.random_numbers import random_keys
from convlens.passes.reducer import State

LARGEST_CONFUSION = 2048  # classes up to which every pair is counted, in 32 MB
ERROR_TABLES = ("confident", "sample")  # errors that are kept: the surest, and random ones
RIGHT_TABLE = "right"  # random photos that are predicted correctly, for comparison
_SIZES = {"confident": 256, "sample": 4096, RIGHT_TABLE: 64}
_TOP = 5
_FIXED_POINT = 2**32  # probabilities are summed as integers, so that the order does not matter
_KEY = 2**60  # of a confidence of 1


@dataclass(frozen=True)
class ErrorReducer:
    """Compares the logits of each photo with its label.

    Attributes:
        model: the model, for messages.
        logits: index of the node of the logits.
        columns: number of predictions K, see `right_classes`.
        output_head: how logits become probabilities.
        labels: int64 `(N, M)`, the right classes of each photo, from `pad_labels`.
        bins: number of bins of the reliability diagrams.
        seed: seed of the random errors that are kept.
    """

    model: Model
    logits: int
    columns: int
    output_head: str
    labels: Tensor
    bins: int
    seed: int

    @property
    def nodes(self) -> tuple[int, ...]:
        """The node of the logits."""
        return (self.logits,)

    @property
    def counts_pairs(self) -> bool:
        """Whether every pair of classes is counted."""
        return self.columns <= LARGEST_CONFUSION

    def initial_state(self) -> State:
        """The counts of no photos."""
        by_class = ("class_photos", "class_right", "class_top5", "class_confidence")
        state = {name: torch.zeros(self.columns, dtype=torch.int64) for name in by_class}
        state |= {name: torch.zeros((), dtype=torch.int64) for name in ("photos", "unlabeled")}
        state["losses"] = torch.zeros(len(TEMPERATURES), dtype=torch.int64)
        if self.counts_pairs:
            state["pairs"] = torch.zeros(self.columns, self.columns, dtype=torch.int64)
        state |= _prefixed("histogram", empty_histogram(self.bins))
        for name, size in _SIZES.items():
            state |= _prefixed(name, kept_photos.empty_table(size))
        return state

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The counts of both sets of photos together."""
        merged = {name: state_a[name] + state_b[name] for name in state_a}
        for name in _SIZES:
            tables = part_of(state_a, name), part_of(state_b, name)
            merged |= _prefixed(name, kept_photos.merge(*tables))
        return merged

    def update(self, state: State, node: int, maps: Tensor, ids: Tensor) -> None:
        """Add the logits of a batch, in place."""
        padded = self.labels[ids]
        labeled = has_label(padded)
        state["unlabeled"] += int((~labeled).sum())
        if not bool(labeled.any()):
            return
        logits = check_logits(self.model, maps.detach()).float().cpu()[labeled]
        padded, ids = padded[labeled], ids[labeled]
        scores, head = to_columns(logits, self.output_head)
        predictions = column_of(predicted_classes(logits, self.output_head))
        shares = probabilities(scores, head)
        right = mark_right(padded, self.columns)
        first = column_of(padded[:, 0])  # the label of photos that may be called several things
        correct = right.gather(1, predictions[:, None])[:, 0]
        rank = _rank_right_classes(scores, right)
        confidences = shares.gather(1, predictions[:, None])[:, 0]
        state["photos"] += len(ids)
        for name, values in (
            ("class_photos", torch.ones_like(first)),
            ("class_right", correct.long()),
            ("class_top5", (correct | (rank < _TOP)).long()),
            ("class_confidence", _to_fixed_point(shares.gather(1, first[:, None])[:, 0])),
        ):
            state[name].index_add_(0, first, values)
        if head == SOFTMAX:
            state["losses"] += sum_losses(scores, right)
        add_confidences(part_of(state, "histogram"), self.bins, confidences, correct)
        wrong = ~correct
        if self.counts_pairs:
            increments = torch.ones(int(wrong.sum()), dtype=torch.int64)
            state["pairs"].index_put_(
                (first[wrong], predictions[wrong]), increments, accumulate=True
            )
        photos = {
            "photo": ids,
            "label": first,
            "prediction": predictions,
            "confidence": confidences,
            "label_probability": (shares * right).sum(dim=1).clamp(max=1),
            "label_rank": rank,
        }
        random = random_keys(ids, 1, self.seed)[:, 0]
        for name, key, rows in (
            ("confident", (confidences * _KEY).long(), wrong),
            ("sample", random, wrong),
            (RIGHT_TABLE, random, correct),
        ):
            table = part_of(state, name)
            entries = {"key": key, **photos}
            kept_photos.insert(table, {column: values[rows] for column, values in entries.items()})
            state |= _prefixed(name, table)


def part_of(state: Mapping[str, Tensor], name: str) -> State:
    """The tensors of one part of a state, by their names inside it; they are not copied."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}


def class_confidences(state: Mapping[str, Tensor]) -> Tensor:
    """The mean probability of each class over the photos that have it as label, float64 `(K,)`."""
    return state["class_confidence"].double() / _FIXED_POINT / state["class_photos"]


def _rank_right_classes(scores: Tensor, right: Tensor) -> Tensor:
    """How many classes have a higher score than the best right class, int64 `(N,)`."""
    best_right, best = scores.masked_fill(~right, -torch.inf).max(dim=1, keepdim=True)
    # Among equal scores the first one counts as greater, as in the prediction.
    indices = torch.arange(scores.shape[1])
    before = (scores > best_right) | ((scores == best_right) & (indices < best))
    return before.sum(dim=1)


def _prefixed(name: str, part: State) -> State:
    return {f"{name}/{key}": tensor for key, tensor in part.items()}


def _to_fixed_point(shares: Tensor) -> Tensor:
    return (shares * _FIXED_POINT).round().long()
