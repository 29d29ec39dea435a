"""Randomization: does a Grad-CAM depend on what the network has learned?

The sanity check of Adebayo et al. 2018: the network's parameters are replaced by random ones, stage
by stage from the logits down, and each time the maps are made anew. A map that stays as it was
shows the image, not the network.

The maps of all channels of one photo have much in common, so that a random weighting of them may
resemble the true map, or its negative: single correlations are far from zero, their mean over
several draws is not. Maps of different photos are compared too, to see what is large here.

Each parameter is drawn from a normal distribution with its own mean and standard deviation, so that
activations keep about their size: with the usual initialization and the statistics of trained
batch norms they would vanish or overflow, and the maps change for that reason alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import torch
from matplotlib.figure import Figure
from scipy.stats import rankdata
from torch import Tensor, nn

from convlens.analyses.gradcam.gradcam import ClassSelection, explain, select_node_group
from convlens.analyses.predictions.predictions import check_one_vector
from convlens.capture import recording
from convlens.drawing import render_figure
from convlens.errors import ConvlensError
from convlens.models.model import Model
from convlens.results import Result
from convlens.runtime.clone import clone_network
from convlens.runtime.guard import unwrap_network
from convlens.tracing.selection import Side
from convlens.tracing.trace import Trace, trace


@dataclass(frozen=True, eq=False)
class Randomization(Result):
    """Rank correlations of maps of a network that was randomized from the top with the true ones.

    Attributes:
        stages: what became random at each stage, besides all before it: names of layers, the
            first and the last of several.
        correlations: float32 `(S, D, N, K)`, Spearman's rank correlation of the signed maps, by
            stage, draw, image and class; 0 where a map is the same everywhere.
        between: float32 `(N (N - 1) / 2, K)`, likewise between the true maps of every two images:
            what the maps have in common whatever is on the image.
        names: of the classes, by image.
        layer: names of the values whose channels were weighted.
        cells: of a map.
        seed: of the random parameters.
    """

    stages: tuple[str, ...]
    correlations: Tensor
    between: Tensor
    names: tuple[tuple[str, ...], ...]
    layer: tuple[str, ...]
    cells: int
    seed: int

    @property
    def means(self) -> tuple[float, ...]:
        """The mean correlation over draws, images and classes, for each stage."""
        return tuple(self.correlations.flatten(1).mean(dim=1).tolist())

    @property
    def sizes(self) -> tuple[float, ...]:
        """The mean of its magnitude, which for unrelated maps is not 0 but as `mean_size`."""
        return tuple(self.correlations.flatten(1).abs().mean(dim=1).tolist())

    @property
    def mean_between(self) -> float | None:
        """The mean correlation between images, or None for one image."""
        return float(self.between.mean()) if self.between.numel() else None

    @property
    def mean_size(self) -> float | None:
        """The mean magnitude of that, or None for one image."""
        return float(self.between.abs().mean()) if self.between.numel() else None

    @property
    def changes(self) -> bool:
        """Whether the mean correlation with everything random is below a half."""
        return self.means[-1] < 0.5

    def brief(self) -> str:
        """The end of it in a few words."""
        count = self.correlations.shape[2]
        return (
            f"rank correlation {_signed(self.means[-1])} with the maps of the same network with "
            f"random weights, on {count} photo{'s' if count != 1 else ''}"
        )

    def sentence(self) -> str:
        """In words, how the maps change."""
        draws, count = self.correlations.shape[1:3]
        first, last = _signed(self.means[0]), _signed(self.means[-1])
        words = (
            f"rank correlation of the maps with those of a network made random: {first} with "
            f"{self.stages[0]} random, {last} with everything (magnitude {self.sizes[-1]:.2f}); "
            f"mean of {count} photo{'s' if count != 1 else ''} and {draws} "
            f"draw{'s' if draws != 1 else ''}"
        )
        if self.mean_between is not None:
            words += (
                f"; between true maps of different photos {_signed(self.mean_between)} (magnitude "
                f"{self.mean_size:.2f})"
            )
        return words

    def figure(self) -> Figure:
        """The correlation after each stage, every map and their mean."""
        figure = Figure(figsize=(1.8 + 0.55 * len(self.stages), 3.6), layout="constrained")
        axes = figure.subplots()
        at = range(len(self.stages) + 1)
        flat = torch.cat(
            [torch.ones(1, self.correlations[0].numel()), self.correlations.flatten(1)]
        )
        axes.plot(at, flat, color="0.75", linewidth=1)
        axes.plot(at, (1.0, *self.means), color="#b2182b", linewidth=2, marker="o", label="mean")
        if self.mean_between is not None:
            axes.axhline(
                self.mean_between, color="0.3", linestyle="--", label="between different photos"
            )
        axes.axhline(0, color="0.3", linewidth=0.8)
        axes.set_xticks(at, ("nothing", *self.stages), rotation=35, ha="right", fontsize="small")
        axes.set(ylim=(-1.05, 1.05), ylabel="rank correlation", xlabel="random down to")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
        return figure

    def pictures(self) -> dict[str, Tensor]:
        """The figure."""
        return {"randomization": render_figure(self.figure())}


@recording()
def randomization(
    model: Model,
    images: Tensor,
    *,
    classes: ClassSelection | None = None,
    top: int = 1,
    layer: str | None = None,
    side: Side = "pre",
    stages: int = 10,
    draws: int = 3,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Randomization:
    """Compare Grad-CAMs with those of the network made random, from the logits downwards.

    A copy that shares the weights is used, of which one parameter after the other is replaced: at
    the end it has taken as much memory as the parameters.

    Args:
        model: left untouched.
        images: `(N, C, H, W)` inside the bounds; a few are enough.
        classes: as for `gradcam`; those of the true network stay where they are the highest.
        top: likewise.
        layer: as for `gradcam`.
        side: as for `gradcam`.
        stages: at most so many. Each is a block, or a layer outside of blocks, or several that
            follow each other; the last to run is a stage of its own.
        draws: how often everything is drawn anew.
        seed: of the random parameters.
        progress: called with how many stages are done and how many there are.

    Raises:
        ConvlensError: as `gradcam`; fewer than one stage; no parameters.
    """
    if stages < 1 or draws < 1:
        raise ConvlensError(f"{stages} stages, {draws} draws; give at least 1 of each")
    found = trace(model, images)
    node_group = select_node_group(found, layer, side)
    check_one_vector(model, found, "randomization")
    true = explain(model, found, images, [node_group], classes=classes, top=top)[0]
    same = torch.stack([true.classes, true.subtracted], dim=2)
    parts = randomization_stages(found, unwrap_network(model.network), stages)
    if not parts:
        raise ConvlensError(f"{model.name} has no parameters that could be random")
    generator = torch.Generator(device=model.device).manual_seed(seed)
    rows: list[Tensor] = []
    for _ in range(draws):
        copied = replace(model, network=clone_network(unwrap_network(model.network)))
        for part in parts:
            progress(len(rows), draws * len(parts))
            for path in part:
                _randomize(copied.network, path, generator)
            maps = explain(copied, found, images, [node_group], classes=same)[0].maps
            rows.append(_correlations(maps, true.maps))
    progress(len(rows), len(rows))
    pairs = list(combinations(range(len(images)), 2))
    between = [_correlations(true.maps[[one]], true.maps[[other]])[0] for one, other in pairs]
    return Randomization(
        stages=tuple(_name(part) for part in parts),
        correlations=torch.stack(rows)
        .unflatten(0, (draws, len(parts)))
        .transpose(0, 1)
        .contiguous(),
        between=torch.stack(between) if between else torch.zeros(0, true.maps.shape[1]),
        names=true.names,
        layer=true.layer,
        cells=true.maps[0, 0].numel(),
        seed=seed,
    )


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's: the correlation of the ranks, mean ranks where values are equal.

    Returns:
        -1 to 1; 0 where either is the same everywhere.
    """
    first, second = (
        torch.from_numpy(rankdata(values.flatten().double().numpy())) for values in (one, other)
    )
    first, second = first - first.mean(), second - second.mean()
    size = float(first.norm() * second.norm())
    return float(first @ second) / size if size > 0 else 0.0


def _signed(number: float) -> str:
    text = f"{number:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "\N{MINUS SIGN}")


def _correlations(maps: Tensor, others: Tensor) -> Tensor:
    """`(N, K)` of maps `(N, K, h, w)`."""
    return torch.tensor(
        [
            [rank_correlation(one, other) for one, other in zip(row, others_row, strict=True)]
            for row, others_row in zip(maps, others, strict=True)
        ]
    )


def randomization_stages(found: Trace, network: nn.Module, most: int) -> list[list[str]]:
    """Paths of modules with parameters, by stage, what ran last first."""
    last: dict[str, int] = {}
    for time, operation in enumerate(found.recording.operations):
        if operation.call is not None:
            path = operation.call.path
            # A container whose code reads the parameters of what it contains counts for these.
            last[path] = time
    holders = [path for path, module in network.named_modules() if _own(module)]
    ran = [(when, path) for path in holders if (when := _ran(last, path)) is not None]
    groups: list[list[str]] = []
    for _, path in sorted(ran, reverse=True):
        if groups and _block(groups[-1][0]) == _block(path):
            groups[-1].append(path)
        else:
            groups.append([path])
    count = min(most, len(groups))
    if count < 2:
        return [[path for group in groups for path in group]] if groups else []
    head, rest = groups[0], groups[1:]
    cuts = [number * len(rest) // (count - 1) for number in range(count)]
    merged = [rest[a:b] for a, b in pairwise(cuts)]
    return [head, *([path for group in part for path in group] for part in merged)]


def _ran(last: dict[str, int], path: str) -> int | None:
    """When a module, or the one whose code stands in for it, ran last."""
    while path not in last and path:
        path = path.rpartition(".")[0]
    return last.get(path)


def _own(module: nn.Module) -> list[nn.Parameter]:
    return [one for one in module._parameters.values() if one is not None]


def _block(path: str) -> str:
    """`layer4.2` for all that is in it: the first name, with a second that is a number."""
    first, *rest = path.split(".")
    return ".".join([first, rest[0]]) if rest else first


def _name(part: Sequence[str]) -> str:
    blocks = list(dict.fromkeys(_block(path) for path in part))
    return blocks[0] if len(blocks) == 1 else f"{blocks[0]} … {blocks[-1]}"


def _randomize(network: nn.Module, path: str, generator: torch.Generator) -> None:
    """Replace the parameters that a module holds itself; the old ones stay as they are."""
    module = network.get_submodule(path)
    for name, parameter in list(module._parameters.items()):
        if parameter is None or not parameter.is_floating_point() or parameter.numel() < 2:
            continue
        with torch.no_grad():
            plain = parameter.detach().float()
            drawn = torch.empty_like(plain).normal_(generator=generator)
            drawn.mul_(plain.std()).add_(plain.mean())
            module._parameters[name] = nn.Parameter(drawn.to(parameter.dtype), requires_grad=False)
