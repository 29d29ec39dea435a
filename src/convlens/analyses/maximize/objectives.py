"""Objectives: what an image is optimized for, and the nodes of the network where it is read.

An objective is written as text:

    features.14:3          channel 3 of a layer
    features.14:3@5,7      the unit of that channel in row 5, column 7
    tiger cat              a class
    tabby - tiger cat      the difference of two classes
    -features.14:3         the negative of any objective: the image that minimizes it

or given as a `Direction`, a weighted sum of the channels of a layer.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from convlens.errors import ConvlensError
from convlens.models.label_tables import name_class
from convlens.models.labels import find_class_pair
from convlens.models.model import Model
from convlens.tracing.channel_names import ChannelName, check_channel, match_channel
from convlens.tracing.selection import Side, find_channel_sources
from convlens.tracing.trace import Trace

ClassScore = Literal["logit", "probability"]


@dataclass(frozen=True)
class Direction:
    """A direction in the space of a layer's channels, as an objective for `convlens.maximize`.

    The objective is the sum of the channels with these weights, divided by the norm of the weights.

    Attributes:
        layer: name of the layer.
        weights: one number for each channel of the layer, not all 0.

    Example:
        >>> import convlens
        >>> convlens.Direction("features.0", (0.5, -0.5))
        Direction(layer='features.0', weights=(0.5, -0.5))
    """

    layer: str
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Objective:
    """What an image is optimized for.

    Attributes:
        text: the objective as text.
        layer: name of the layer; empty for a class.
        node_name: name of the node whose activation is reported. For a layer with a non-linearity
            behind it, that is the output of the non-linearity.
        optimized_node_name: name of the node whose activation is maximized. For a layer with a
            non-linearity behind it, that is the input of the non-linearity: a gradient always flows
            from there, and a monotone non-linearity has its maximum at the same image.
        weights: float32 `(C,)`, one for each channel or class.
        position: row and column of a unit; None for anything else.
        class_score: what is maximized of a class: its logit, or the logarithm of its probability.
        sign: 1 to maximize, -1 to minimize.
    """

    text: str
    layer: str
    node_name: str
    optimized_node_name: str
    weights: Tensor
    position: tuple[int, int] | None = None
    class_score: ClassScore = "logit"
    sign: int = 1

    @property
    def channel(self) -> int | None:
        """The channel; None for directions and classes."""
        if not self.layer or int((self.weights != 0).sum()) != 1:
            return None
        return int(self.weights.argmax())


def parse_objective(
    model: Model,
    trace: Trace,
    objective: str | Direction,
    class_score: ClassScore = "logit",
    *,
    side: Side = "post",
) -> Objective:
    """Find the nodes and weights that an objective names.

    A text of the form `LAYER:K` names a channel if the network has such a layer, else a class.

    Args:
        model: the model.
        trace: its trace, for images of its own size.
        objective: a text or a direction, as described at the top of this module.
        class_score: what is maximized of a class; default: "logit".
        side: side of layers; default: "post".

    Raises:
        ConvlensError: there is no such layer, channel or class (the message names the nearest
            ones), or `class_score` is neither "logit" nor "probability".
    """
    if class_score not in ("logit", "probability"):
        raise ConvlensError(f"class score {class_score!r}; give logit or probability")
    if isinstance(objective, Direction):
        return _direction_objective(trace, objective, side)
    if objective.startswith("-") and objective[1:].strip():
        negated = parse_objective(model, trace, objective[1:].strip(), class_score, side=side)
        return replace(negated, text=f"-{negated.text}", sign=-negated.sign)
    name = match_channel(objective)
    if name is not None and (name.layer in trace or not _is_class_name(model, trace, objective)):
        return _channel_objective(trace, name, side)
    return _class_objective(model, trace, objective, class_score)


def _direction_objective(trace: Trace, direction: Direction, side: Side) -> Objective:
    weights = torch.tensor(direction.weights, dtype=torch.float32)
    node_name, optimized_node_name, channels = _layer_nodes(trace, direction.layer, side)
    if len(weights) != channels or not bool(weights.any()):
        raise ConvlensError(
            f"a direction of {len(weights)} numbers in {direction.layer}, which has {channels} "
            f"channels; give one number for each channel, not all 0"
        )
    return Objective(
        text=f"{direction.layer}:direction",
        layer=direction.layer,
        node_name=node_name,
        optimized_node_name=optimized_node_name,
        weights=weights / weights.norm(),
    )


def _channel_objective(trace: Trace, name: ChannelName, side: Side) -> Objective:
    node_name, optimized_node_name, channels = _layer_nodes(trace, name.layer, side)
    check_channel(name.layer, name.channel, channels)
    weights = torch.zeros(channels, dtype=torch.float32)
    weights[name.channel] = 1
    return Objective(str(name), name.layer, node_name, optimized_node_name, weights, name.position)


def _layer_nodes(trace: Trace, layer: str, side: Side) -> tuple[str, str, int]:
    """The reported node of a layer, its optimized node, and the number of its channels."""
    (source,) = find_channel_sources(trace, [layer], side)
    before = None if side == "pre" else trace.structure.nonlinearity_input(source.node)
    optimized = source.node if before is None else before
    return source.node_name, trace.name(optimized), source.channels


def _is_class_name(model: Model, trace: Trace, text: str) -> bool:
    if trace.recording.stopped:
        return False
    try:
        _class_weights(model, trace, text)
    except ConvlensError:
        return False
    return True


def _class_objective(model: Model, trace: Trace, text: str, class_score: ClassScore) -> Objective:
    weights, name = _class_weights(model, trace, text)
    logits = trace.name(trace.logits)
    return Objective(name, "", logits, logits, weights, class_score=class_score)


def _class_weights(model: Model, trace: Trace, text: str) -> tuple[Tensor, str]:
    """Weights `(classes,)` of a class, or of one class minus another, and their name."""
    shape = trace.shape(trace.logits)
    if len(shape) != 2:
        raise ConvlensError(
            f"{model.name} gives {shape} for one image, not a score for each class; "
            f"choose channels of a layer"
        )
    first, second = find_class_pair(model.labels, text, shape[1])
    weights = torch.zeros(shape[1], dtype=torch.float32)
    weights[first] = 1
    if second is None:
        return weights, name_class(model.labels, first, trace.num_outputs)
    weights[second] = -1
    return weights, " - ".join(
        name_class(model.labels, index, trace.num_outputs) for index in (first, second)
    )
