"""Goals: what an image is to excite, and where in the network that stands.

features.14:3          channel 3 of a layer
features.14:3@5,7      its unit in row 5, column 7
tiger cat              a class
tabby - tiger cat      one class rather than another
-features.14:3         anything with a minus before it: what it likes least
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from convlens.analyses.patches.top_patches import find_channel_sources
from convlens.errors import ConvlensError
from convlens.models.labels import class_name, find_class_pair
from convlens.models.model import Model
from convlens.tracing.trace import Trace

Objective = Literal["logit", "probability"]

_UNIT = re.compile(r"(?P<layer>.+):(?P<channel>\d+)(?:@(?P<row>\d+),(?P<column>\d+))?")


@dataclass(frozen=True)
class Direction:
    """A direction in a layer: the sum of its channels with these weights, divided by their norm.

    Attributes:
        layer: as `Goal.layer`.
        weights: a number for each channel.
    """

    layer: str
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Goal:
    """What an image is to excite.

    Attributes:
        text: what it is called.
        layer: name of the layer; empty for a class.
        node_name: name of the node that is reported: after the non-linearity, if there is one.
        driven: name of the node that is driven: before that non-linearity, where a gradient
            always flows; monotone non-linearities have their maximum at the same image.
        weights: float32, one for each channel or class.
        position: row and column for a unit, else None.
        objective: for classes, the logit or the logarithm of the probability.
        sign: 1, or -1 for the least.
    """

    text: str
    layer: str
    node_name: str
    driven: str
    weights: Tensor
    position: tuple[int, int] | None = None
    objective: Objective = "logit"
    sign: int = 1

    @property
    def channel(self) -> int | None:
        """The channel, or None for directions and classes."""
        if not self.layer or int((self.weights != 0).sum()) != 1:
            return None
        return int(self.weights.argmax())


def parse_objective(
    model: Model, found: Trace, wanted: str | Direction, objective: Objective = "logit"
) -> Goal:
    """What a text or a direction stands for in a model.

    A text of the form LAYER:K is a channel where there is such a layer; else it is a class.

    Args:
        model: the model.
        found: its trace, for images of its own size.
        wanted: see above.
        objective: of classes.

    Raises:
        ConvlensError: no such layer, channel or class (with the nearest names).
    """
    if objective not in ("logit", "probability"):
        raise ConvlensError(f"objective {objective!r}; it is logit or probability")
    if isinstance(wanted, Direction):
        return _direction(found, wanted)
    if wanted.startswith("-") and wanted[1:].strip():
        inner = parse_objective(model, found, wanted[1:].strip(), objective)
        return replace(inner, text=f"-{inner.text}", sign=-inner.sign)
    match = _UNIT.fullmatch(wanted)
    if match is not None and (match["layer"] in found or not _names_class(model, found, wanted)):
        position = (int(match["row"]), int(match["column"])) if match["row"] else None
        return _channel(found, match["layer"], int(match["channel"]), position)
    return _class(model, found, wanted, objective)


def _direction(found: Trace, wanted: Direction) -> Goal:
    weights = torch.tensor(wanted.weights, dtype=torch.float32)
    node_name, driven, channels = _node_names(found, wanted.layer)
    if len(weights) != channels or not bool(weights.any()):
        raise ConvlensError(
            f"a direction of {len(weights)} numbers in {wanted.layer}, which has {channels} "
            f"channels; give one for each, not all 0"
        )
    return Goal(
        f"{wanted.layer}:direction", wanted.layer, node_name, driven, weights / weights.norm()
    )


def _channel(found: Trace, layer: str, channel: int, position: tuple[int, int] | None) -> Goal:
    node_name, driven, channels = _node_names(found, layer)
    if channel >= channels:
        raise ConvlensError(
            f"{layer} has {channels} channels, 0 to {channels - 1}; given {channel}"
        )
    text = f"{layer}:{channel}"
    if position is not None:
        text += f"@{position[0]},{position[1]}"
    weights = torch.zeros(channels)
    weights[channel] = 1
    return Goal(text, layer, node_name, driven, weights, position)


def _node_names(found: Trace, layer: str) -> tuple[str, str, int]:
    """Where a layer's channels are reported and driven, and how many there are."""
    channel_source = find_channel_sources(found, [layer])[0]
    before = found.structure.before(channel_source.node)
    driven = channel_source.node if before is None else before
    return channel_source.node_name, found.name(driven), channel_source.channels


def _names_class(model: Model, found: Trace, text: str) -> bool:
    if found.recording.stopped:
        return False
    try:
        _weights(model, found, text)
    except ConvlensError:
        return False
    return True


def _class(model: Model, found: Trace, text: str, objective: Objective) -> Goal:
    weights, name = _weights(model, found, text)
    logits = found.name(found.logits)
    return Goal(name, "", logits, logits, weights, objective=objective)


def _weights(model: Model, found: Trace, text: str) -> tuple[Tensor, str]:
    """Weights of the classes, and what they are called: one class, or one minus another."""
    shape = found.shape(found.logits)
    if len(shape) != 2:
        raise ConvlensError(
            f"{model.name} gives {shape} for one image, not a score for each class; "
            f"choose channels of a layer"
        )
    one, other = find_class_pair(model.labels, text, shape[1])
    weights = torch.zeros(shape[1])
    weights[one] = 1
    if other is None:
        return weights, class_name(model.labels, one)
    weights[other] = -1
    return weights, " - ".join(class_name(model.labels, index) for index in (one, other))
