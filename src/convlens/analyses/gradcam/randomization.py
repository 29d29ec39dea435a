"""Randomization: do Grad-CAM maps depend on what the network has learned?

The sanity check of Adebayo et al. 2018: the network's parameters are replaced by random ones, stage
by stage from the logits down, and the maps are computed again after each stage. A map that does
not change depends on the image alone, not on what the network has learned.

The maps of all channels of one photo have much in common, so that a random weighting of them may
resemble the true map or its negative. Single correlations are therefore far from zero; their mean
over several draws is not. Maps of different photos are compared as well, to show which correlations
are large for this network.

Each parameter is drawn from a normal distribution with the parameter's own mean and standard
deviation, so that activations keep about their size. With the usual initialization and the
statistics of trained batch norms, activations would vanish or overflow, and the maps would change
for that reason alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Unpack

import torch
from torch import Tensor, nn

from convlens.analyses.gradcam.gradcam import explain
from convlens.analyses.gradcam.layers import select_node_group
from convlens.analyses.gradcam.options import GradCamKeywords, GradCamOptions, spell_out_options
from convlens.analyses.gradcam.randomization_result import Randomization
from convlens.analyses.predictions.predictions import check_one_vector
from convlens.capture.gradients import enable_gradients
from convlens.errors import ConvlensError
from convlens.models.model import ImagesLike, Model, check_model
from convlens.results.network_result import keep_warnings
from convlens.runtime.callbacks import or_ignore
from convlens.runtime.clone import clone_network
from convlens.runtime.guard import unwrap_network
from convlens.runtime.memory_format import copy_memory_formats
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace


@keep_warnings
@spell_out_options
@enable_gradients()
def randomization(
    model: Model,
    images: ImagesLike,
    *,
    stages: int = 10,
    draws: int = 3,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[GradCamKeywords],
) -> Randomization:
    """Compare Grad-CAM maps with those of the network made random, from the logits down.

    One parameter after the other is replaced in a copy of the network that shares the weights. At
    the end the copy takes as much memory as the parameters.

    Args:
        model: the model. It is left untouched.
        images: float32 `(N, C, H, W)` inside the model's bounds, or photos as `Model.prepare`
            takes them; a few are enough.
        stages: greatest number of stages; default 10. A stage is a block, a layer outside of
            blocks, or several of these in a row; the layer that runs last is a stage of its own.
        draws: how often all parameters are drawn; default 3.
        seed: seed of the random parameters; default 0.
        progress: called with the number of stages that are done and of all stages; default: not
            called.
        **options: the fields of `GradCamOptions` except `pixel` and `target`. Where no classes are
            given, those that score highest in the true network are kept.

    Returns:
        The rank correlations of the maps after each stage.

    Raises:
        ConvlensError: as `gradcam`; a pixel or a target; less than one stage or draw; a network
            without parameters.

    References:
        Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.

    Example:
        >>> import torch, convlens
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(), torch.nn.Linear(4, 2),
        ... )
        >>> model = convlens.wrap(network, size=8)
        >>> check = convlens.randomization(model, torch.rand(2, 3, 8, 8), classes=1, draws=1)
        >>> check.stages, check.correlations.shape
        (('4', '0'), torch.Size([2, 1, 2, 1]))
    """
    check_model(model)
    check_counts(stages, draws)
    settings = GradCamOptions(**options)
    if settings.target is not None or settings.pixel is not None:
        raise ConvlensError(
            "randomization needs classes, but a target or a pixel is given; give classes instead"
        )
    images = model.to_images(images)
    model_trace = trace(model, images)
    node_group = select_node_group(model_trace, settings)
    check_one_vector(model, model_trace, "randomization")
    true_cam = explain(model, model_trace, images, [node_group], settings)[0]
    same_classes = replace(
        settings, classes=torch.stack([true_cam.classes, true_cam.subtracted], dim=2)
    )
    network = unwrap_network(model.network)
    stage_paths = randomization_stages(model_trace, network, stages)
    if not stage_paths:
        raise ConvlensError(f"{model.name} has no parameters, so there is nothing to randomize")
    generator = torch.Generator().manual_seed(seed)
    correlations: list[Tensor] = []
    report = or_ignore(progress)
    for _ in range(draws):
        copy = replace(model, network=clone_network(network))
        copy_memory_formats(network, copy.network)
        for paths in stage_paths:
            report(len(correlations), draws * len(stage_paths))
            for path in paths:
                _randomize(copy.network, path, generator)
            cam = explain(copy, model_trace, images, [node_group], same_classes)[0]
            correlations.append(_correlate(cam.maps, true_cam.maps))
    report(len(correlations), len(correlations))
    between = [
        _correlate(true_cam.maps[[image]], true_cam.maps[[other_image]])[0]
        for image, other_image in combinations(range(len(images)), 2)
    ]
    by_draw = torch.stack(correlations).unflatten(0, (draws, len(stage_paths)))
    return Randomization(
        stages=tuple(_stage_name(paths) for paths in stage_paths),
        correlations=by_draw.transpose(0, 1).contiguous(),
        between_images=torch.stack(between)
        if between
        else torch.zeros(0, true_cam.maps.shape[1], dtype=torch.float32),
        names=true_cam.names,
        nodes=true_cam.nodes,
        cells=true_cam.maps[0, 0].numel(),
        seed=seed,
    )


def check_counts(stages: int, draws: int) -> None:
    """Raise ConvlensError for less than one stage or draw."""
    if stages < 1 or draws < 1:
        raise ConvlensError(f"{stages} stages, {draws} draws; give at least 1 of each")


def rank_correlation(values: Tensor, other_values: Tensor) -> float:
    """Spearman's rank correlation; equal values have their mean rank.

    Args:
        values: a tensor of any shape.
        other_values: a tensor of the same shape.

    Returns:
        -1 to 1; 0 where either tensor is constant.
    """
    from scipy.stats import rankdata  # takes a second to import

    ranks, other_ranks = (
        torch.from_numpy(rankdata(tensor.flatten().double().numpy()))
        for tensor in (values, other_values)
    )
    ranks, other_ranks = ranks - ranks.mean(), other_ranks - other_ranks.mean()
    norms = float(ranks.norm() * other_ranks.norm())
    return float(ranks @ other_ranks) / norms if norms > 0 else 0.0


def randomization_stages(model_trace: Trace, network: nn.Module, most: int) -> list[list[str]]:
    """Group the modules with parameters into stages, from the one that runs last.

    Args:
        model_trace: trace of the network.
        network: the network whose modules are grouped.
        most: greatest number of stages.

    Returns:
        Dotted names of the modules of each stage.
    """
    last_runs: dict[str, int] = {}
    for time, operation in enumerate(model_trace.recording.operations):
        if operation.call is not None:
            # A container whose code reads the parameters of its children counts for these.
            last_runs[operation.call.path] = time
    holders = [path for path, module in network.named_modules() if _own_parameters(module)]
    ran = [(last, path) for path in holders if (last := _last_run(last_runs, path)) is not None]
    groups: list[list[str]] = []
    for _, path in sorted(ran, reverse=True):
        if groups and _block_name(groups[-1][0]) == _block_name(path):
            groups[-1].append(path)
        else:
            groups.append([path])
    count = min(most, len(groups))
    if count < 2:
        return [[path for group in groups for path in group]] if groups else []
    first_group, later_groups = groups[0], groups[1:]
    cuts = [number * len(later_groups) // (count - 1) for number in range(count)]
    merged = [later_groups[start:stop] for start, stop in pairwise(cuts)]
    return [first_group, *([path for group in part for path in group] for part in merged)]


def _correlate(maps: Tensor, other_maps: Tensor) -> Tensor:
    """Rank correlations `(N, K)` of maps `(N, K, h, w)`."""
    return torch.tensor([
        [
            rank_correlation(cells, other_cells)
            for cells, other_cells in zip(row, other_row, strict=True)
        ]
        for row, other_row in zip(maps, other_maps, strict=True)
    ], dtype=torch.float32)  # fmt: skip


def _last_run(last_runs: dict[str, int], path: str) -> int | None:
    """When a module, or the container whose code runs instead of it, ran last."""
    while path not in last_runs and path:
        path = path.rpartition(".")[0]
    return last_runs.get(path)


def _own_parameters(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module._parameters.values() if parameter is not None]


def _block_name(path: str) -> str:
    """The first two parts of a dotted name: `layer4.2` for all modules inside it."""
    first, *inner = path.split(".")
    return ".".join([first, inner[0]]) if inner else first


def _stage_name(paths: Sequence[str]) -> str:
    blocks = list(dict.fromkeys(_block_name(path) for path in paths))
    return blocks[0] if len(blocks) == 1 else f"{blocks[0]} … {blocks[-1]}"


def _randomize(network: nn.Module, path: str, generator: torch.Generator) -> None:
    """Replace the parameters that a module itself holds; the old tensors stay as they are."""
    module = network.get_submodule(path)
    for name, parameter in list(module._parameters.items()):
        if parameter is None or not parameter.is_floating_point() or parameter.numel() < 2:
            continue
        with torch.no_grad():
            values = parameter.detach().float()
            # On the CPU, so that a seed draws the same weights for every device.
            noise = torch.empty_like(values, device="cpu").normal_(generator=generator)
            noise = noise.to(values.device).mul_(values.std()).add_(values.mean())
            module._parameters[name] = nn.Parameter(noise.to(parameter.dtype), requires_grad=False)
