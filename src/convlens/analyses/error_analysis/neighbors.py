"""The nearest photos of a photo in the last layer, among those of its right and predicted class.

The features are what the last layer with weights reads. Their similarity is the cosine of the angle
between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.patches import top_k
from convlens.capture.nodes import capture_nodes
from convlens.models.model import Model
from convlens.passes.options import PassOptions
from convlens.passes.reducer import State
from convlens.passes.run import run_reducer
from convlens.passes.source import Source
from convlens.tracing.outputs.last_operations import WEIGHTED
from convlens.tracing.trace import Trace

_BATCH_SIZE = 32


@dataclass(frozen=True)
class Queries:
    """The photos whose neighbors are searched, each among the photos of one class.

    Attributes:
        features: float32 `(Q, D)`, of length 1.
        ids: the number of each in the source, which is not its own neighbor; -1 for none.
        classes: for each the class among whose photos its neighbors are searched.
    """

    features: Tensor
    ids: Sequence[int]
    classes: Sequence[int]


@dataclass(frozen=True)
class Neighbors:
    """The nearest photos of one class for each of several photos.

    Attributes:
        photos: int64 `(Q, k)`, numbers of the photos in the source, the nearest first; -1 where
            there are fewer.
        similarities: float32 `(Q, k)`, the cosine of the angle between the features; NaN where
            there are fewer.
    """

    photos: Tensor
    similarities: Tensor


def find_feature_node(trace: Trace) -> int:
    """The node that the last layer with weights reads on the way to the logits."""
    node, producers = trace.logits, trace.structure.producers
    while (operation := producers.get(node)) is not None:
        node = max(part for part in operation.inputs if part in trace.on_image)
        if operation.name in WEIGHTED:
            break
    return node


def compute_features(model: Model, trace: Trace, node: int, images: Tensor) -> Tensor:
    """The features of images, of length 1, float32 `(N, D)`."""
    parts = []
    with torch.no_grad():
        for part in images.split(_BATCH_SIZE):
            parts.append(_to_features(capture_nodes(model, trace, part, [node])[node]))
    return torch.cat(parts)


def find_neighbors(
    model: Model,
    trace: Trace,
    node: int,
    source: Source,
    labels: Sequence[int],
    queries: Queries,
    *,
    count: int,
    pass_options: PassOptions,
) -> Neighbors:
    """Find the nearest photos of one class for each query, in one pass over the source.

    Args:
        model: the model.
        trace: its trace.
        node: the node of the features.
        source: the photos that are searched.
        labels: the class of each of them.
        queries: the photos whose neighbors are searched.
        count: number of neighbors k.
        pass_options: how the pass runs.
    """
    ids, query_classes, photo_classes = (
        torch.tensor(numbers, dtype=torch.int64)
        for numbers in (queries.ids, queries.classes, labels)
    )
    reducer = _NeighborReducer(node, queries.features, ids, query_classes, photo_classes, count)
    table = run_reducer(
        model, trace, reducer, source, stage="neighbors",
        pass_options=pass_options.without_resuming(),
    ).state  # fmt: skip
    exists = table["values"] > -torch.inf
    return Neighbors(table["images"].where(exists, -1), table["values"].where(exists, torch.nan))


@dataclass(frozen=True)
class _NeighborReducer:
    """Keeps for each query the most similar photos of its class."""

    node: int
    features: Tensor
    query_ids: Tensor
    classes: Tensor
    labels: Tensor
    count: int

    @property
    def nodes(self) -> tuple[int, ...]:
        return (self.node,)

    def initial_state(self) -> State:
        return top_k.empty_table(len(self.features), self.count)

    def update(self, state: State, node: int, maps: Tensor, ids: Tensor) -> None:
        similarities = _to_features(maps.detach()) @ self.features.T
        candidate = self.labels[ids][:, None] == self.classes
        candidate &= ids[:, None] != self.query_ids
        similarities = similarities.masked_fill(~candidate, -torch.inf)
        top_k.insert(state, similarities, ids, torch.zeros(similarities.shape, dtype=torch.int64))

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        return top_k.merge(state_a, state_b)


def _to_features(maps: Tensor) -> Tensor:
    """Vectors of length 1, float32 `(N, D)` on the CPU; maps are averaged over their positions."""
    pooled = maps.flatten(2).mean(dim=2) if maps.ndim > 2 else maps
    return torch.nn.functional.normalize(pooled.float(), dim=1).cpu()
