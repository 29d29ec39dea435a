"""Links: how logits become probabilities, and which class they decide for.

Under a softmax classes exclude each other and their probabilities add up to 1. Under a sigmoid each
class has a probability by itself. A network with one output says by it whether its class is there:
yes above logit 0, else no. That is a softmax over the output and 0, of which the sigmoid is the
first.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.errors import ConvlensError

SOFTMAX, SIGMOID = "softmax", "sigmoid"
NEGATIVE = -1  # what a network with one output answers where its class is not there


def select_output(output: Any) -> Tensor:
    """The tensor of class scores in what a network returned.

    A tensor is taken as it is; of an object or a mapping `logits`, then `out`, then its only
    tensor; of a sequence the first tensor.

    Raises:
        ConvlensError: nothing of the kind is in it.
    """
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "out"):
        found = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(output, Mapping):
        tensors = [value for value in output.values() if isinstance(value, Tensor)]
        if len(tensors) == 1:
            return tensors[0]
        raise ConvlensError(
            f"the network returns a mapping with {', '.join(map(str, output))}; "
            f"one of them has to be called logits or out"
        )
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], Tensor):
        return output[0]
    raise ConvlensError(
        f"the network returns a {type(output).__name__}; "
        f"a tensor, a mapping or an object with logits is needed"
    )


def choose_output_head(final_activation: str, columns: int) -> str:
    """The link by which logits are read.

    Args:
        final_activation: of the network: `SOFTMAX`, `SIGMOID`, or empty where neither is known.
            Then one output is read by a sigmoid and several by a softmax.
        columns: how many outputs there are.
    """
    return final_activation or (SIGMOID if columns == 1 else SOFTMAX)


def is_binary(columns: int, output_head: str) -> bool:
    """Whether the answer is class 0 or `NEGATIVE`, instead of one class of several."""
    return columns == 1 and output_head == SIGMOID


def lowest_prediction(columns: int, output_head: str) -> int:
    """The least index that an answer can have."""
    return NEGATIVE if is_binary(columns, output_head) else 0


def probabilities(logits: Tensor, output_head: str, dim: int = 1) -> Tensor:
    """The probability of each class, of the shape of the logits; `dim` is that of the classes."""
    return logits.sigmoid() if output_head == SIGMOID else logits.softmax(dim=dim)


def log_probabilities(logits: Tensor, output_head: str, dim: int = 1) -> Tensor:
    """Their logarithms, exact where a probability is next to 0."""
    return F.logsigmoid(logits) if output_head == SIGMOID else logits.log_softmax(dim=dim)


def predicted_classes(logits: Tensor, output_head: str, dim: int = 1) -> Tensor:
    """The answers, int64 of the shape of the logits without `dim`: the class of the highest logit.

    Of one output under a sigmoid class 0 where its logit is above 0, else `NEGATIVE`.
    """
    if is_binary(logits.shape[dim], output_head):
        return (logits.select(dim, 0) > 0).long() - 1
    return logits.argmax(dim=dim)


def top_predictions(logits: Tensor, output_head: str, top: int) -> Tensor:
    """The `top` answers to each image, int64 `(N, top)` of logits `(N, classes)`, highest first.

    Of one output under a sigmoid there are two, class 0 and `NEGATIVE`.
    """
    if is_binary(logits.shape[1], output_head):
        first = predicted_classes(logits, output_head)
        other = NEGATIVE - first  # the two add up to it
        return torch.stack([first, other], dim=1)[:, :top]
    return logits.topk(min(top, logits.shape[1]), dim=1).indices


def prediction_probabilities(logits: Tensor, classes: Tensor, output_head: str) -> Tensor:
    """The probability of answers `(N, K)` by logits `(N, classes)`; `NEGATIVE` has what is left."""
    found = probabilities(logits, output_head).gather(1, classes.clamp(min=0))
    return found.where(classes != NEGATIVE, (-logits[:, :1]).sigmoid())


def predict_with_probability(logits: Tensor, output_head: str) -> tuple[Tensor, Tensor]:
    """The answer to each image, int64 `(N,)`, and its probability, `(N,)`."""
    said = predicted_classes(logits, output_head)
    return said, prediction_probabilities(logits, said[:, None], output_head)[:, 0]


def cross_entropy(logits: Tensor, classes: Tensor, output_head: str) -> Tensor:
    """-log p of answers `(N,)`, of logits `(N, classes)`.

    Under a sigmoid that is the binary cross-entropy of the one class, whatever the others say.
    """
    if output_head != SIGMOID:
        return F.cross_entropy(logits, classes, reduction="none")
    return F.softplus(-_prediction_logits(logits, classes))


def misclassification_margin(logits: Tensor, classes: Tensor, output_head: str) -> Tensor:
    """By how much answers `(N,)` are behind: the highest other logit minus their own.

    Of one output under a sigmoid the other is 0, and the logit of `NEGATIVE` is minus that of
    class 0.
    """
    if is_binary(logits.shape[1], output_head):
        return -_prediction_logits(logits, classes)
    of = classes[:, None]
    return logits.scatter(1, of, -float("inf")).amax(dim=1) - logits.gather(1, of)[:, 0]


def describe_prediction_rule(final_activation: str, columns: int, yes: str) -> str:
    """How answers are read, in words; empty for classes under a softmax, or where none is known.

    Args:
        final_activation: as for `choose_output_head`.
        columns: likewise.
        yes: name of class 0.
    """
    if not is_binary(columns, choose_output_head(final_activation, columns)):
        alone = "each class has a probability by itself, the answer is the highest"
        return f"a sigmoid at the end: {alone}" if final_activation == SIGMOID else ""
    sides = f"above 0 the answer is {yes}, else not {yes}"
    if final_activation:
        return f"one output, and a sigmoid at the end: its logit decides, {sides}"
    told = f"one output without sigmoid is read as a logit: {sides}"
    return f"{told}; a regression has no such answer"


def _prediction_logits(logits: Tensor, classes: Tensor) -> Tensor:
    """The logit of each answer `(N,)`; of `NEGATIVE` that of class 0 negated."""
    found = logits.gather(1, classes.clamp(min=0)[:, None])[:, 0]
    return found.where(classes != NEGATIVE, -found)
