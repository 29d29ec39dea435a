"""Pictures of the same analysis of two networks, side by side."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from convlens.analyses.attacks.robustness import Robustness
from convlens.analyses.comparison.answers.result import AnswerPair, unique_names
from convlens.analyses.filters.filters import Filters
from convlens.analyses.gradcam.result import GradCam
from convlens.analyses.shift.shift import Shift
from convlens.drawing import (
    add_title,
    enlarge,
    make_sheet,
    new_figure,
    render_figure,
    stack_vertically,
)
from convlens.drawing.palette import ACCENT, MUTED
from convlens.wording import counted, percent

_FILTERS = 16  # pairs in the picture
_TILE = 48  # pixels of a filter
_MAP = 168  # pixels of a photo with its map
_COLORS = (MUTED, ACCENT)  # of the first and of the second network


def draw_filters(pair: Sequence[Filters], names: tuple[str, str]) -> Tensor:
    """The filters of both networks, in pairs that differ most where their shapes are the same."""
    first, second = pair
    if first.weights.shape != second.weights.shape:
        sheets = [layer_filters.pictures()["filters"] for layer_filters in pair]
        titled = [add_title(sheet, name) for sheet, name in zip(sheets, names, strict=True)]
        return stack_vertically(*titled)
    change = (second.weights - first.weights).flatten(1).norm(dim=1)
    order = change.argsort(descending=True, stable=True)[:_FILTERS].tolist()
    scale = max(first.scale, second.scale)
    rows = [replace(layer_filters, scale=scale).tiles() for layer_filters in pair]
    times = max(1, _TILE // max(rows[0][0].shape[:2]))
    norms = first.norms.clamp(min=torch.finfo(torch.float32).tiny)
    tiles = [enlarge(row[index], times) for row in rows for index in order]
    captions = [
        *(str(first.channels[index]) for index in order),
        *(percent(float(change[index] / norms[index])) for index in order),
    ]
    sheet = make_sheet(tiles, len(order), captions=captions, sides=["first", "second"])
    return add_title(
        sheet, f"first filters of {names[0]} and {names[1]}",
        f"the {len(order)} of {len(change)} that differ most; below the second their change "
        f"relative to the norm of the first",
    )  # fmt: skip


def draw_gradcams(pair: Sequence[GradCam], pairs: Sequence[AnswerPair]) -> Tensor:
    """Each photo with the map of each network for its own answer, on a scale of its own."""
    tiles, captions = [], []
    for number, (name, answers) in enumerate(zip(unique_names(pairs), pairs, strict=True)):
        photo = _fit(pair[0].photos()[number])
        maps = [_fit(cam.select_image(number).overlays()[0][0]) for cam in pair]
        tiles += [photo, *maps]
        label = f"label: {', '.join(answers.labels)}" if answers.labels else answers.kind
        captions += [
            f"{name}\n{label}",
            f"{answers.first}, {percent(answers.first_probability)}",
            f"{answers.second}, {percent(answers.second_probability)}",
        ]
    return add_title(
        make_sheet(tiles, 3, captions=captions, heads=["photo", "first network", "second network"]),
        "Grad-CAM of each network's own answer",
        "each map on its own scale",
    )


def _fit(picture: Tensor) -> Tensor:
    """A picture with a longer side of at least 168 pixels, with hard edges."""
    return enlarge(picture, max(1, _MAP // max(picture.shape[:2])))


def draw_robustness(pair: Sequence[Robustness]) -> Tensor:
    """Accuracy against epsilon of both networks, a plot for each attack."""
    names = [curve.name for curve in pair[0].curves]
    figure = new_figure(figsize=(2.4 * len(names) + 0.4, 2.8))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for robustness, color, ordinal in zip(pair, _COLORS, ("first", "second"), strict=True):
            curve = robustness[name]
            errors = (
                [max(0.0, a - low) for a, low in zip(curve.accuracies, curve.low, strict=True)],
                [max(0.0, high - a) for a, high in zip(curve.accuracies, curve.high, strict=True)],
            )
            axes.errorbar(
                [255 * fraction for fraction in robustness.fractions], curve.accuracies,
                yerr=errors, color=color, marker="o", markersize=3, capsize=2, linewidth=1.2,
                label=f"{ordinal} network",
            )  # fmt: skip
        axes.set_ylim(-0.03, 1.03)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("epsilon, of 255")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(
        "correct" if pair[0].reference == "label" else "unchanged predictions"
    )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return render_figure(figure, dpi=160)


def draw_shift(pair: Sequence[Shift]) -> Tensor | None:
    """The equivariance of the layers of both networks; None where it was not measured."""
    figure = new_figure(figsize=(7.0, 3.0))
    axes = figure.subplots()
    for shift, color, ordinal in zip(pair, _COLORS, ("first", "second"), strict=True):
        if shift.equivariance is None:
            return None
        errors = [layer.inner_errors[0] for layer in shift.equivariance.layers]
        last = max(1, len(errors) - 1)
        points = [
            (number / last, error) for number, error in enumerate(errors) if error is not None
        ]
        axes.plot(
            [place for place, _ in points], [error for _, error in points], "o-", markersize=3,
            linewidth=1.2, color=color, label=f"{ordinal} network, {counted(len(errors), 'layer')}",
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xticks([0, 1], ["first layer", "last layer"])
    axes.set_ylabel("error, of the map's variation")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)
    return render_figure(figure, dpi=160)
