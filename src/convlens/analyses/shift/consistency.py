"""Consistency: how often two shifted views of a photo get the same prediction, in two protocols.

Crop: two windows of a photo that is slightly larger than the image, at offsets drawn for each photo
(Zhang, Making Convolutional Networks Shift-Invariant Again, 2019). Some of the photo leaves at one
side and something else enters at the other, as when a camera moves. Circular: the center crop
rolled around its edges, so that nothing is lost, but there is a seam. Equal predictions may both be
wrong, so the accuracy is reported, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from convlens.analyses.predictions.predictions import compute_logits_together
from convlens.analyses.shift.views import crop_center, crop_pairs, pad_squashed, roll_pairs
from convlens.capture.folded_networks import fold_batch_norms
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.models.output_head import predicted_classes
from convlens.passes.proportion import Proportion
from convlens.passes.reducer import State
from convlens.results import Result
from convlens.tracing.tracer import trace as trace_network

PROTOCOLS = ("crop", "circular")


@dataclass(frozen=True, eq=False)
class Consistency(Result):
    """How often two shifted views of an image get the same prediction.

    Attributes:
        protocol: "crop" or "circular".
        largest_offset: offsets are drawn from 0 (crop) or from minus as many (circular) to so many
            pixels, in rows and columns.
        agreement: the share of all images whose two views get the same prediction.
        agreement_if_correct: the same of the images whose center crop is predicted correctly;
            None without labels.
        accuracy: the share of images whose first view is predicted correctly; None without labels.
    """

    protocol: str
    largest_offset: int
    agreement: Proportion
    agreement_if_correct: Proportion | None
    accuracy: Proportion | None

    def summary(self) -> str:
        """The share of images whose two views agree, in words."""
        return (
            f"two shifted views ({self.protocol}, up to {self.largest_offset} pixels) get the same "
            f"prediction for {self.agreement.summary()}"
        )


@dataclass(frozen=True)
class ConsistencyReducer:
    """Predicts two views of each wide image in both protocols, and counts equal predictions.

    Attributes:
        model: the model; left untouched.
        size: height and width of the views.
        labels: for each image of the data set the classes that are right, or None.
        largest_offset: largest offset of a circular shift, in pixels.
        seed: seed of the offsets, which are drawn for each image by its number.
    """

    model: Model
    size: tuple[int, int]
    labels: PhotoLabels | None
    largest_offset: int
    seed: int

    def initial_state(self) -> State:
        """The counts of no images."""
        names = ["images", "labeled", "correct"]
        for protocol in PROTOCOLS:
            names += [
                f"{protocol}/{name}" for name in ("images", "agree", "agree_if_correct", "correct")
            ]
        return {name: torch.zeros((), dtype=torch.int64) for name in names}

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The counts of both sets of images together."""
        return {name: state_a[name] + state_b[name] for name in state_a}

    @fold_batch_norms()
    def process_batch(self, state: State, wide: Tensor, ids: Tensor) -> None:
        """Add a batch of wide images `(N, C, H + margin, W + margin)` to the counts."""
        wide = pad_squashed(self.model, wide.to(self.model.device))
        images = crop_center(wide, self.size)
        labels = [None if self.labels is None else self.labels[number] for number in ids.tolist()]
        pairs = {
            "crop": crop_pairs(wide, ids, self.size, self.seed),
            "circular": roll_pairs(images, ids, self.largest_offset, self.seed + 1),
        }
        views = {protocol: views for protocol, views in pairs.items() if views is not None}
        center, *predictions = self._predict([images, *chain.from_iterable(views.values())])
        center_correct = _are_correct(center, labels)
        state["images"] += len(images)
        state["labeled"] += sum(bool(classes) for classes in labels)
        state["correct"] += int(center_correct.sum())
        for number, protocol in enumerate(views):
            first, second = predictions[2 * number : 2 * number + 2]
            agree = first == second
            state[f"{protocol}/images"] += len(images)
            state[f"{protocol}/agree"] += int(agree.sum())
            state[f"{protocol}/agree_if_correct"] += int((agree & center_correct).sum())
            state[f"{protocol}/correct"] += int(_are_correct(first, labels).sum())

    def accuracy(self, state: Mapping[str, Tensor]) -> Proportion | None:
        """The share of labeled images whose center crop is predicted correctly."""
        labeled = int(state["labeled"])
        return Proportion.from_counts(int(state["correct"]), labeled) if labeled else None

    def result(self, state: Mapping[str, Tensor], protocol: str) -> Consistency | None:
        """The result of one protocol; None where it could not be tried."""
        images, agree, agree_if_correct, correct = (
            int(state[f"{protocol}/{name}"])
            for name in ("images", "agree", "agree_if_correct", "correct")
        )
        if not images:
            return None
        labeled, center_correct = int(state["labeled"]), int(state["correct"])
        return Consistency(
            protocol=protocol,
            largest_offset=self.largest_offset,
            agreement=Proportion.from_counts(agree, images),
            agreement_if_correct=Proportion.from_counts(agree_if_correct, center_correct)
            if labeled
            else None,
            accuracy=Proportion.from_counts(correct, labeled) if labeled else None,
        )

    def _predict(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """The predictions for each batch of images of one size, int64 `(N,)`."""
        batches = [images.contiguous(memory_format=torch.channels_last) for images in batches]
        trace = trace_network(self.model, batches[0])
        return [
            predicted_classes(logits, trace.output_head).cpu()
            for logits in compute_logits_together(self.model, trace, batches)
        ]


def _are_correct(predictions: Tensor, labels: Sequence[Sequence[int] | None]) -> Tensor:
    """Bool `(N,)`: the prediction is one of the right classes; False without a label."""
    pairs = zip(predictions.tolist(), labels, strict=True)
    return torch.tensor(
        [prediction in (classes or ()) for prediction, classes in pairs], dtype=torch.bool
    )
