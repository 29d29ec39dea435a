"""The pass that counts the answers of two networks on the same photos.

What is kept does not grow with the data: counts, histograms with fixed bins, and for each kind of
change the photos in which both networks are surest of their answers, with these answers.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.comparison.answers.class_pairing import NO_CLASS, ClassPairing
from convlens.analyses.patches import top_k
from convlens.analyses.predictions.predictions import compute_logits
from convlens.capture.folded_networks import fold_batch_norms
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.models.labels import NEGATIVE, PhotoLabels
from convlens.models.model import Model
from convlens.models.output_head import predict_with_probability, prediction_probabilities
from convlens.passes.reducer import State
from convlens.passes.source import PhotoSource, read_image_batch
from convlens.tracing.tracer import trace as trace_network

KINDS = ("lost", "gained", "changed", "same")  # of answers; "changed" without a gain or a loss
PROBABILITY_BINS = 40  # of the change of a probability, from -1 to 1
_COUNTS = (
    "photos", "labeled", "both", "lost", "gained", "neither", "same", "same_index", "equal_logits",
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """The answers of one network for a batch.

    Attributes:
        logits: float32 `(N, classes)`, on the CPU.
        classes: the predicted class of each image.
        probabilities: their probabilities, `(N,)`.
        output_head: how the logits become probabilities.
    """

    logits: Tensor
    classes: list[int]
    probabilities: Tensor
    output_head: str

    def probability_of(self, classes: Sequence[int]) -> Tensor:
        """The probability of a class of each image, `(N,)`."""
        columns = torch.tensor(classes, dtype=torch.int64)[:, None]
        return prediction_probabilities(self.logits, columns, self.output_head)[:, 0]


@dataclass(frozen=True)
class AnswerWork:
    """Runs two networks on each batch, each with its own preprocessing, and counts their answers.

    Attributes:
        first: the first model; the images of the pass are prepared for it.
        second: the second model.
        photos: the photos, which are prepared again for the second model; None where it takes the
            images of the first one.
        classes: the classes of the second network as those of the first.
        labels: the right classes of each photo by the first network, or None.
        top: number of photos that are kept of each kind.
        folds: whether copies of both networks with folded batch normalizations answer, which takes
            less time and changes the last bits of the logits.
    """

    first: Model
    second: Model
    photos: PhotoDataset | None
    classes: ClassPairing
    labels: PhotoLabels | None
    top: int
    folds: bool

    def initial_state(self) -> State:
        """The counts of no images."""
        counts = {name: torch.zeros((), dtype=torch.int64) for name in _COUNTS}
        bins = torch.zeros(PROBABILITY_BINS, dtype=torch.int64)
        largest = torch.zeros((), dtype=torch.float32)
        return {
            **counts,
            "probability_changes": bins,
            "largest_change": largest,
            **top_k.empty_table(len(KINDS), self.top),
            "classes": torch.zeros(len(KINDS), self.top, 2, dtype=torch.int64),
            "probabilities": torch.zeros(len(KINDS), self.top, 2, dtype=torch.float32),
        }

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The counts of both sets of images together."""
        summed = (*_COUNTS, "probability_changes")
        return {
            **{name: state_a[name] + state_b[name] for name in summed},
            "largest_change": torch.maximum(state_a["largest_change"], state_b["largest_change"]),
            **_keep_answers(top_k.merge(state_a, state_b), state_a, state_b),
        }

    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Answer a batch with both networks and add it to the counts."""
        with fold_batch_norms() if self.folds else nullcontext():
            first = answer(self.first, images)
            second = answer(self.second, self.images(images, ids))
        second_classes = [self.classes.translate(index) for index in second.classes]
        same = torch.tensor(
            [before == after for before, after in zip(first.classes, second_classes, strict=True)],
            dtype=torch.bool,
        )
        state["photos"] += len(images)
        state["same"] += int(same.sum())
        state["same_index"] += sum(
            before == after for before, after in zip(first.classes, second.classes, strict=True)
        )
        if first.logits.shape == second.logits.shape:
            unequal = (first.logits != second.logits).any(dim=1)
            state["equal_logits"] += int((~unequal).sum())
            if self.classes.same:
                change = (second.logits - first.logits).abs().max()
                state["largest_change"] = torch.maximum(state["largest_change"], change)
        self._add_probabilities(state, first, second)
        kinds = self._count_right_answers(state, first.classes, second_classes, same, ids)
        surest = torch.minimum(first.probabilities, second.probabilities)
        scores = torch.full((len(ids), len(KINDS)), -torch.inf, dtype=torch.float32)
        scores[torch.arange(len(ids)), kinds] = surest.float()
        earlier = {name: state[name] for name in ("images", "classes", "probabilities")}
        earlier["images"] = earlier["images"].clone()
        top_k.insert(state, scores, ids, torch.zeros_like(scores, dtype=torch.int64))
        batch = {
            "images": ids.expand(len(KINDS), -1),
            "classes": torch.tensor([first.classes, second.classes], dtype=torch.int64).T,
            "probabilities": torch.stack([first.probabilities, second.probabilities], 1).float(),
        }
        state.update(_keep_answers(state, earlier, batch))

    def images(self, images: Tensor, ids: Tensor) -> Tensor:
        """The images of a batch as the second model takes them.

        Args:
            images: as the first model takes them, `(N, C, H, W)`.
            ids: int64 `(N,)`, the numbers of the photos.

        Raises:
            ConvlensError: as `read_image_batch`.
        """
        if self.photos is None:
            return rescale(images, self.first, self.second).to(self.second.device)
        source = PhotoSource(self.second, self.photos)
        return read_image_batch(source, ids.tolist())

    def _add_probabilities(self, state: State, first: Answers, second: Answers) -> None:
        """Add the change of the probability of the first network's answer to the histogram."""
        of_second = {first_index: index for index, first_index in enumerate(self.classes.to_first)}
        of_second[NEGATIVE] = NEGATIVE
        rows = [row for row, prediction in enumerate(first.classes) if prediction in of_second]
        columns = [of_second.get(prediction, 0) for prediction in first.classes]
        change = (second.probability_of(columns) - first.probabilities)[rows].double()
        bins = ((change + 1) / 2 * PROBABILITY_BINS).long().clamp(0, PROBABILITY_BINS - 1)
        state["probability_changes"] += torch.bincount(bins, minlength=PROBABILITY_BINS)

    def _count_right_answers(
        self,
        state: State,
        first: Sequence[int],
        second: Sequence[int],
        same: Tensor,
        ids: Tensor,
    ) -> Tensor:
        """Count which network is right, and return the kind of each photo's answers."""
        kinds = torch.where(same, KINDS.index("same"), KINDS.index("changed"))
        if self.labels is None:
            return kinds
        for row, number in enumerate(ids.tolist()):
            right = self.labels[number]
            if not right:
                continue
            state["labeled"] += 1
            pair = (first[row] in right, second[row] in right and second[row] != NO_CLASS)
            name = {
                (True, True): "both", (True, False): "lost",
                (False, True): "gained", (False, False): "neither",
            }[pair]  # fmt: skip
            state[name] += 1
            if name in KINDS:
                kinds[row] = KINDS.index(name)
        return kinds


def _keep_answers(table: State, *parts: Mapping[str, Tensor]) -> State:
    """A table of photos, with the answers of both networks for them.

    Args:
        table: `images` holds the numbers of the photos, `(kinds, top)`.
        parts: where the answers for them are: `images` `(kinds, E)`, and `classes` and
            `probabilities`, `(kinds, E, 2)` or, if they are the same for all kinds, `(E, 2)`.
    """
    numbers = torch.cat([part["images"] for part in parts], dim=1)
    is_photo = table["images"][:, :, None] == numbers[:, None, :]
    entries = is_photo.int().argmax(dim=2)[:, :, None].expand(-1, -1, 2)
    is_free = (table["images"] == top_k.NO_IMAGE)[:, :, None]
    answers = {
        name: torch.cat([part[name].expand(len(KINDS), -1, 2) for part in parts], dim=1)
        .gather(1, entries)
        .masked_fill(is_free, 0)
        for name in ("classes", "probabilities")
    }
    return {**table, **answers}


def answer(model: Model, images: Tensor) -> Answers:
    """The answers of a network for a batch of images."""
    trace = trace_network(model, images)
    logits = compute_logits(model, trace, images)
    classes, probabilities = predict_with_probability(logits, trace.output_head)
    return Answers(logits.cpu(), classes.tolist(), probabilities.cpu(), trace.output_head)


def takes_same_images(first: Model, second: Model) -> bool:
    """Whether the images of one model are those of the other, up to the bounds of pixels."""
    return first.preprocessing == second.preprocessing and first.channels == second.channels


def rescale(images: Tensor, first: Model, second: Model) -> Tensor:
    """Images inside the bounds of the first model as images inside those of the second."""
    if first.bounds == second.bounds:
        return images
    return (images - first.bounds[0]) / first.span * second.span + second.bounds[0]
