"""Evidence for maximized images: the activations that they reach, measured without transforms.

Each image is run once more. Its activation is compared with the greatest activation in a data set,
images from different random starts are compared with each other, and a class is reported with its
probability and rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from convlens.analyses.maximize.ascent import AscentResult, AscentTask
from convlens.analyses.maximize.result import ObjectiveMaximum
from convlens.analyses.patches.activation_statistics import BIN_EDGES
from convlens.analyses.patches.result import Patches
from convlens.capture.nodes import capture_nodes
from convlens.models.model import Model
from convlens.models.output_head import probabilities

_BATCH = 16  # images that are run at once


def evaluate_images(
    model: Model,
    tasks: Sequence[AscentTask],
    results: Sequence[AscentResult],
    patches: Patches | None,
) -> tuple[ObjectiveMaximum, ...]:
    """Measure what the images reach, objective by objective.

    Args:
        model: guarded by the caller.
        tasks: those that were begun, the seeds of each objective in order.
        results: the outcome of each task.
        patches: the activations in a data set to compare with, or None.
    """
    responses = _measure_responses(model, tasks, results)
    by_objective: dict[int, list[int]] = {}
    for index, task in enumerate(tasks):
        by_objective.setdefault(task.number, []).append(index)
    return tuple(
        _objective_maximum(tasks, results, responses, indices, patches)
        for indices in by_objective.values()
    )


@dataclass(frozen=True)
class _Response:
    """The response of the network to one image."""

    reached: float
    mean: float
    probability: float
    rank: int
    change: Tensor  # `(C,)` or `(classes,)`: activations at the optimized node minus plain gray's


def _measure_responses(
    model: Model, tasks: Sequence[AscentTask], results: Sequence[AscentResult]
) -> list[_Response]:
    """The response to each image. Images of one node and size are run together with plain gray."""
    groups: dict[tuple[str, str, tuple[int, int]], list[int]] = {}
    for index, task in enumerate(tasks):
        objective = task.objective
        key = (objective.optimized_node_name, objective.node_name, task.crop_plan.size)
        groups.setdefault(key, []).append(index)
    responses: dict[int, _Response] = {}
    for indices in groups.values():
        objective, crop_plan = tasks[indices[0]].objective, tasks[indices[0]].crop_plan
        trace, optimized_node = crop_plan.trace, crop_plan.node
        node = trace.find_node(objective.node_name) if objective.layer else optimized_node
        for first in range(0, len(indices), _BATCH):
            batch = indices[first : first + _BATCH]
            images = torch.stack([results[index].image for index in batch])
            gray = torch.full_like(images[:1], sum(model.bounds) / 2)
            images = torch.cat([images, gray]).to(model.device)
            with torch.no_grad():
                activations = capture_nodes(
                    model, trace, images.contiguous(memory_format=torch.channels_last),
                    [optimized_node, node],
                )  # fmt: skip
            optimized, reported = (
                trace.channels_first(index, activations[index]).float().cpu()
                for index in (optimized_node, node)
            )
            for number, index in enumerate(batch):
                responses[index] = _response(
                    tasks[index], optimized[number], reported[number], optimized[-1]
                )
    return [responses[index] for index in range(len(tasks))]


def _response(task: AscentTask, optimized: Tensor, reported: Tensor, gray: Tensor) -> _Response:
    """The response of one image.

    Args:
        task: task of the image.
        optimized: activations `(C, h, w)` or logits `(classes,)` at the optimized node.
        reported: the same at the reported node.
        gray: the same for plain gray, at the optimized node.
    """
    objective, crop_plan = task.objective, task.crop_plan
    weights = objective.weights
    if not objective.layer:
        score = float(optimized @ weights)
        index, is_single = int(weights.argmax()), int((weights != 0).sum()) == 1
        has_rank = is_single and len(optimized) > 1
        rank = int((optimized > optimized[index]).sum()) + 1 if has_rank else 0
        shares = probabilities(optimized, crop_plan.trace.output_head, dim=0)
        probability = float(shares[index]) if is_single else float("nan")
        return _Response(score, score, probability, rank, optimized - gray)
    if crop_plan.position is not None:
        row, column = crop_plan.position
        reached = float(reported[:, row, column] @ weights)
        change = (optimized - gray)[:, row, column]
        return _Response(reached, reached, float("nan"), 0, change)
    optimized_map, reported_map = (
        torch.einsum("chw,c->hw", activations, weights)[crop_plan.averaged]
        for activations in (optimized, reported)
    )
    reached = float(reported_map.max() if objective.sign > 0 else reported_map.min())
    change = (optimized - gray).mean(dim=(1, 2))
    return _Response(reached, float(optimized_map.mean()), float("nan"), 0, change)


def _objective_maximum(
    tasks: Sequence[AscentTask],
    results: Sequence[AscentResult],
    responses: Sequence[_Response],
    indices: Sequence[int],
    patches: Patches | None,
) -> ObjectiveMaximum:
    """The maximum of one objective, whose tasks have these indices."""
    objective, own_responses = tasks[indices[0]].objective, [responses[index] for index in indices]
    other_changes = [
        responses[index].change
        for index, task in enumerate(tasks)
        if index not in indices
        and task.objective.optimized_node_name == objective.optimized_node_name
    ]
    changes = [response.change for response in own_responses]
    best, percentile, photos = _compare_with_dataset(
        objective.node_name, objective.channel, objective.sign, own_responses[0].reached, patches
    )
    return ObjectiveMaximum(
        objective=objective.text,
        layer=objective.layer,
        node_name=objective.node_name,
        optimized_node_name=objective.optimized_node_name,
        images=torch.stack([results[index].image for index in indices]),
        curve=pad_sequence(
            [results[index].curve for index in indices],
            batch_first=True,
            padding_value=float("nan"),
        ),
        reached=torch.tensor([response.reached for response in own_responses], dtype=torch.float32),
        mean=torch.tensor([response.mean for response in own_responses], dtype=torch.float32),
        probability=torch.tensor(
            [response.probability for response in own_responses], dtype=torch.float32
        ),
        rank=torch.tensor([response.rank for response in own_responses], dtype=torch.int64),
        agreement=_mean_cosine(changes, changes, same=True),
        other_agreement=_mean_cosine(changes, other_changes, same=False),
        dataset_best=best,
        percentile=percentile,
        dataset_photos=photos,
        had_gradient=tuple(results[index].had_gradient for index in indices),
        window=tasks[indices[0]].crop_plan.window,
    )


def _mean_cosine(first: Sequence[Tensor], second: Sequence[Tensor], *, same: bool) -> float:
    """Mean cosine similarity of all pairs; if both lists are the `same`, each pair counts once."""
    pairs = [
        float(F.cosine_similarity(a, b, dim=0))
        for i, a in enumerate(first)
        for j, b in enumerate(second)
        if not same or i < j
    ]
    return sum(pairs) / len(pairs) if pairs else float("nan")


def _compare_with_dataset(
    node_name: str, channel: int | None, sign: int, reached: float, patches: Patches | None
) -> tuple[float, float, int]:
    """Greatest activation in the data set, share of photos below `reached`, number of photos."""
    unknown = (float("nan"), float("nan"), 0)
    if patches is None or channel is None or sign < 0:
        return unknown
    for layer in patches.layers:
        if layer.node_name == node_name:
            counts = layer.histogram[channel].double()
            below = int(torch.bucketize(torch.tensor(reached, dtype=torch.float32), BIN_EDGES))
            share = float(counts[:below].sum() / counts.sum().clamp(min=1))
            best = float(layer.values[channel, 0])
            return best, 1.0 if reached >= best else share, patches.images_read
    return unknown
