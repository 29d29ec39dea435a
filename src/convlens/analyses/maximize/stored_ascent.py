"""Gradient ascents in the disk cache: each batch of images is one entry."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convlens.analyses.maximize.ascent import AscentOptions, AscentResult, AscentTask, ascend
from convlens.analyses.maximize.parameterization import Parameterization
from convlens.cache.entries import read_entry, write_entry
from convlens.cache.environment import describe_environment
from convlens.cache.folder import active_folder
from convlens.models.model import Model
from convlens.runtime.fingerprints import to_plain
from convlens.tracing.caching.known_code import describe_known_model
from convlens.tracing.model_fingerprint import describe_operations

_KIND = "maximize"


def ascend_once(
    model: Model,
    tasks: Sequence[AscentTask],
    parameterization: Parameterization,
    options: AscentOptions,
    start: Tensor | None,
    after_step: Callable[[int], bool],
    preview: Callable[[Tensor], None] | None,
) -> tuple[list[AscentResult], str]:
    """Optimize a batch of images, or read them from the disk cache.

    The images that are optimized together are one entry, because a convolution's last bits may
    depend on the other images of its batch. An ascent that was interrupted is not kept.

    Args, return value and errors are those of `ascend`.
    """
    key = _key(model, tasks, parameterization, options, start)
    entry = read_entry(_KIND, key) if key is not None else None
    if entry is not None:
        outcomes = zip(
            entry.tensors["images"], entry.tensors["curves"], entry.data["had_gradient"],
            strict=True,
        )  # fmt: skip
        after_step(options.steps)
        return [AscentResult(*outcome) for outcome in outcomes], entry.data["ended"]
    results, ended = ascend(model, tasks, parameterization, options, start, after_step, preview)
    is_whole = bool(ended) or len(results[0].curve) == options.steps
    if key is not None and is_whole:
        tensors = {
            "images": torch.stack([result.image for result in results]),
            "curves": torch.stack([result.curve for result in results]),
        }
        had_gradient = [result.had_gradient for result in results]
        write_entry(_KIND, key, {"had_gradient": had_gradient, "ended": ended}, tensors)
    return results, ended


def _key(
    model: Model,
    tasks: Sequence[AscentTask],
    parameterization: Parameterization,
    options: AscentOptions,
    start: Tensor | None,
) -> dict[str, Any] | None:
    """Everything on which the images depend; None where the cache is not used for this model."""
    description = (
        describe_known_model(model) if start is None and active_folder() is not None else None
    )
    if description is None:
        return None
    crop_plans = [task.crop_plan for task in tasks]
    trace = crop_plans[0].trace  # the tasks share the crop's size and the optimized node
    return {
        "model": description,
        "environment": describe_environment(str(model.device)),
        "operations": to_plain(describe_operations(trace.recording)),
        "output_head": trace.output_head if not tasks[0].objective.layer else "",
        "tasks": [[to_plain(task.objective), task.seed] for task in tasks],
        "crops": [
            [plan.node, plan.size, plan.position, plan.window, str(plan.averaged)]
            for plan in crop_plans
        ],
        "parameterization": to_plain(parameterization),
        "options": to_plain(options),
    }
