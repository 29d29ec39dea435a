"""Output head: how logits become probabilities and predictions.

Under a softmax classes exclude each other, and their probabilities add up to 1. Under a sigmoid
each class has a probability of its own. A network with one output and a sigmoid is binary: it
predicts class 0 above logit 0, and otherwise the negative class `NEGATIVE`. That is a softmax over
the output and 0, of which the sigmoid is the first probability.

Some networks return probabilities that are no softmax or sigmoid of anything, such as the mean of
several softmaxes. They are read as they are: where a function here takes logits, it takes these
probabilities together with the output head `PROBABILITIES`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from convlens.models.labels import NEGATIVE

SOFTMAX, SIGMOID, PROBABILITIES = "softmax", "sigmoid", "probabilities"


def choose_output_head(final_activation: str, num_outputs: int) -> str:
    """The output head for a network.

    Args:
        final_activation: last operation of the network, `SOFTMAX` or `SIGMOID`; `PROBABILITIES` if
            it returns these; empty if it is neither or unknown. Then one output is read by a
            sigmoid, several by a softmax.
        num_outputs: number of outputs.

    Returns:
        `SOFTMAX`, `SIGMOID` or `PROBABILITIES`.
    """
    return final_activation or (SIGMOID if num_outputs == 1 else SOFTMAX)


def is_binary(num_outputs: int, output_head: str) -> bool:
    """Whether the network predicts class 0 or `NEGATIVE` instead of one class of several."""
    return num_outputs == 1 and output_head in (SIGMOID, PROBABILITIES)


def lowest_prediction(num_outputs: int, output_head: str) -> int:
    """The lowest index that a prediction can have: `NEGATIVE` for a binary network, else 0."""
    return NEGATIVE if is_binary(num_outputs, output_head) else 0


def probabilities(logits: Tensor, output_head: str, dim: int = 1) -> Tensor:
    """Probability of each class.

    Args:
        logits: logits in a tensor of any shape.
        output_head: `SOFTMAX` or `SIGMOID`.
        dim: dimension of the classes; default: 1.

    Returns:
        Probabilities in the shape of `logits`.
    """
    if output_head == PROBABILITIES:
        return logits
    return logits.sigmoid() if output_head == SIGMOID else logits.softmax(dim=dim)


def log_probabilities(logits: Tensor, output_head: str, dim: int = 1) -> Tensor:
    """Logarithms of `probabilities`, exact also for probabilities near 0."""
    if output_head == PROBABILITIES:
        return _log(logits)
    return F.logsigmoid(logits) if output_head == SIGMOID else logits.log_softmax(dim=dim)


def predicted_classes(logits: Tensor, output_head: str, dim: int = 1) -> Tensor:
    """The predicted class: the class with the highest logit.

    A binary network predicts class 0 if its logit is above 0 (its probability above 0.5), else
    `NEGATIVE`.

    Args:
        logits: logits in a tensor of any shape.
        output_head: `SOFTMAX` or `SIGMOID`.
        dim: dimension of the classes; default: 1.

    Returns:
        int64 in the shape of `logits` without `dim`.

    Example:
        >>> import torch
        >>> predicted_classes(torch.tensor([[0.5], [-2.0]]), SIGMOID)
        tensor([ 0, -1])
    """
    if is_binary(logits.shape[dim], output_head):
        threshold = 0.5 if output_head == PROBABILITIES else 0
        return (logits.select(dim, 0) > threshold).long() - 1
    return logits.argmax(dim=dim)


def top_predictions(logits: Tensor, output_head: str, top: int) -> Tensor:
    """The classes with the highest logits of each image.

    Args:
        logits: `(N, classes)`.
        output_head: `SOFTMAX` or `SIGMOID`.
        top: number of classes; a binary network has two, class 0 and `NEGATIVE`.

    Returns:
        int64 `(N, top)`, highest first.
    """
    if is_binary(logits.shape[1], output_head):
        first = predicted_classes(logits, output_head)
        second = NEGATIVE - first  # the two indices add up to NEGATIVE
        return torch.stack([first, second], dim=1)[:, :top]
    return logits.topk(min(top, logits.shape[1]), dim=1).indices


def prediction_probabilities(logits: Tensor, classes: Tensor, output_head: str) -> Tensor:
    """Probability of given classes.

    Args:
        logits: `(N, classes)`.
        classes: int64 `(N, K)`; `NEGATIVE` has one minus the probability of class 0.
        output_head: `SOFTMAX` or `SIGMOID`.

    Returns:
        `(N, K)`.
    """
    positive = probabilities(logits, output_head).gather(1, classes.clamp(min=0))
    if output_head == PROBABILITIES:
        return positive.where(classes != NEGATIVE, 1 - logits[:, :1])
    return positive.where(classes != NEGATIVE, (-logits[:, :1]).sigmoid())


def predict_with_probability(logits: Tensor, output_head: str) -> tuple[Tensor, Tensor]:
    """Predicted class of each image, int64 `(N,)`, and its probability, `(N,)`.

    Args:
        logits: `(N, classes)`.
        output_head: `SOFTMAX` or `SIGMOID`.
    """
    classes = predicted_classes(logits, output_head)
    return classes, prediction_probabilities(logits, classes[:, None], output_head)[:, 0]


def cross_entropy(logits: Tensor, classes: Tensor, output_head: str) -> Tensor:
    """Cross-entropy -log p of one class of each image.

    Under a sigmoid it is the binary cross-entropy of that class alone.

    Args:
        logits: `(N, classes)`.
        classes: int64 `(N,)`; may be `NEGATIVE` for a binary network.
        output_head: `SOFTMAX` or `SIGMOID`.

    Returns:
        `(N,)` in nats.
    """
    if output_head == PROBABILITIES:
        return -_log(prediction_probabilities(logits, classes[:, None], output_head)[:, 0])
    if output_head != SIGMOID:
        return F.cross_entropy(logits, classes, reduction="none")
    return F.softplus(-_class_logits(logits, classes))


def misclassification_margin(logits: Tensor, classes: Tensor, output_head: str) -> Tensor:
    """Highest logit of another class minus the logit of the given class.

    It is positive if another class is predicted. For a binary network the other logit is 0, and
    the logit of `NEGATIVE` is minus that of class 0. (Carlini & Wagner, Towards Evaluating the
    Robustness of Neural Networks, 2017, objective f6 without its limit.)

    Args:
        logits: `(N, classes)`.
        classes: int64 `(N,)`; may be `NEGATIVE` for a binary network.
        output_head: `SOFTMAX` or `SIGMOID`.

    Returns:
        `(N,)` in units of the logits.
    """
    if is_binary(logits.shape[1], output_head):
        if output_head == PROBABILITIES:
            logits = 2 * logits - 1  # the probability minus that of the negative class
        return -_class_logits(logits, classes)
    columns = classes[:, None]
    highest_other = logits.scatter(1, columns, -float("inf")).amax(dim=1)
    return highest_other - logits.gather(1, columns)[:, 0]


def describe_prediction_rule(final_activation: str, num_outputs: int, positive: str) -> str:
    """How the outputs become predictions, in words.

    Args:
        final_activation: last operation of the network, `SOFTMAX`, `SIGMOID` or empty.
        num_outputs: number of outputs.
        positive: name of class 0.

    Returns:
        Words without a full stop; empty for several logits without a sigmoid.
    """
    if final_activation == PROBABILITIES:
        rule = "the network returns probabilities, which are read as they are"
        return rule + (f": above 0.5 it predicts {positive}" if num_outputs == 1 else "")
    if not is_binary(num_outputs, choose_output_head(final_activation, num_outputs)):
        if final_activation != SIGMOID:
            return ""
        return (
            "the network ends in a sigmoid: each class has a probability by itself, and the class "
            "with the highest is predicted"
        )
    rule = f"above 0 it predicts {positive}, otherwise not {positive}"
    if final_activation:
        return f"the network has one output and ends in a sigmoid; with a logit {rule}"
    return (
        f"the network has one output without a sigmoid, which is read as a logit: {rule}; "
        f"a regression makes no such prediction"
    )


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


def _class_logits(logits: Tensor, classes: Tensor) -> Tensor:
    """The logit of one class of each image `(N,)`; for `NEGATIVE` minus the logit of class 0."""
    positive = logits.gather(1, classes.clamp(min=0)[:, None])[:, 0]
    return positive.where(classes != NEGATIVE, -positive)
