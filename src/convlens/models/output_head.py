"""Links: how logits become probabilities, and which class they decide for.

Under a softmax classes exclude each other and their probabilities add up to 1. Under a sigmoid each
class has a probability by itself. A network with one output says by it whether its class is there:
yes above logit 0, else no. That is a softmax over the output and 0, of which the sigmoid is the
first.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SOFTMAX, SIGMOID = "softmax", "sigmoid"
NOT = -1  # what a network with one output answers where its class is not there


def link_of(ending: str, columns: int) -> str:
    """The link by which logits are read.

    Args:
        ending: what the network ends in: `SOFTMAX`, `SIGMOID`, or empty where neither is known.
            Then one output is read by a sigmoid and several by a softmax.
        columns: how many outputs there are.
    """
    return ending or (SIGMOID if columns == 1 else SOFTMAX)


def yes_or_no(columns: int, link: str) -> bool:
    """Whether the answer is class 0 or `NOT`, instead of one class of several."""
    return columns == 1 and link == SIGMOID


def least_answer(columns: int, link: str) -> int:
    """The least index that an answer can have."""
    return NOT if yes_or_no(columns, link) else 0


def probabilities(logits: Tensor, link: str, dim: int = 1) -> Tensor:
    """The probability of each class, of the shape of the logits; `dim` is that of the classes."""
    return logits.sigmoid() if link == SIGMOID else logits.softmax(dim=dim)


def log_probabilities(logits: Tensor, link: str, dim: int = 1) -> Tensor:
    """Their logarithms, exact where a probability is next to 0."""
    return F.logsigmoid(logits) if link == SIGMOID else logits.log_softmax(dim=dim)


def answers(logits: Tensor, link: str, dim: int = 1) -> Tensor:
    """The answers, int64 of the shape of the logits without `dim`: the class of the highest logit.

    Of one output under a sigmoid class 0 where its logit is above 0, else `NOT`.
    """
    if yes_or_no(logits.shape[dim], link):
        return (logits.select(dim, 0) > 0).long() - 1
    return logits.argmax(dim=dim)


def ranked(logits: Tensor, link: str, top: int) -> Tensor:
    """The `top` answers to each image, int64 `(N, top)` of logits `(N, classes)`, highest first.

    Of one output under a sigmoid there are two, class 0 and `NOT`.
    """
    if yes_or_no(logits.shape[1], link):
        first = answers(logits, link)
        other = NOT - first  # the two add up to it
        return torch.stack([first, other], dim=1)[:, :top]
    return logits.topk(min(top, logits.shape[1]), dim=1).indices


def probability_of(logits: Tensor, classes: Tensor, link: str) -> Tensor:
    """The probability of answers `(N, K)` by logits `(N, classes)`; `NOT` has what is left."""
    found = probabilities(logits, link).gather(1, classes.clamp(min=0))
    return found.where(classes != NOT, (-logits[:, :1]).sigmoid())


def best(logits: Tensor, link: str) -> tuple[Tensor, Tensor]:
    """The answer to each image, int64 `(N,)`, and its probability, `(N,)`."""
    said = answers(logits, link)
    return said, probability_of(logits, said[:, None], link)[:, 0]


def cross_entropy(logits: Tensor, classes: Tensor, link: str) -> Tensor:
    """-log p of answers `(N,)`, of logits `(N, classes)`.

    Under a sigmoid that is the binary cross-entropy of the one class, whatever the others say.
    """
    if link != SIGMOID:
        return F.cross_entropy(logits, classes, reduction="none")
    return F.softplus(-_own(logits, classes))


def margin(logits: Tensor, classes: Tensor, link: str) -> Tensor:
    """By how much answers `(N,)` are behind: the highest other logit minus their own.

    Of one output under a sigmoid the other is 0, and the logit of `NOT` that of class 0 negated.
    """
    if yes_or_no(logits.shape[1], link):
        return -_own(logits, classes)
    of = classes[:, None]
    return logits.scatter(1, of, -float("inf")).amax(dim=1) - logits.gather(1, of)[:, 0]


def reading(ending: str, columns: int, yes: str) -> str:
    """How answers are read, in words; empty for classes under a softmax, or where none is known.

    Args:
        ending: as for `link_of`.
        columns: likewise.
        yes: name of class 0.
    """
    if not yes_or_no(columns, link_of(ending, columns)):
        alone = "each class has a probability by itself, the answer is the highest"
        return f"a sigmoid at the end: {alone}" if ending == SIGMOID else ""
    sides = f"above 0 the answer is {yes}, else not {yes}"
    if ending:
        return f"one output, and a sigmoid at the end: its logit decides, {sides}"
    told = f"one output without sigmoid is read as a logit: {sides}"
    return f"{told}; a regression has no such answer"


def _own(logits: Tensor, classes: Tensor) -> Tensor:
    """The logit of each answer `(N,)`; of `NOT` that of class 0 negated."""
    found = logits.gather(1, classes.clamp(min=0)[:, None])[:, 0]
    return found.where(classes != NOT, -found)
