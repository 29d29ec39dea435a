"""The right classes of the photos of a data set as one tensor, and outputs as one column a class.

A binary network has one output and two predictions, class 0 and `NEGATIVE`. Here it has two
columns, the output and 0, under a softmax: class 0 is column 0 and `NEGATIVE` column 1.
"""

import torch
from torch import Tensor

from convlens.models.labels import NEGATIVE, PhotoLabels
from convlens.models.output_head import PROBABILITIES, SOFTMAX, is_binary

_NONE = torch.iinfo(torch.int64).min  # fills the rows of photos with fewer classes than others


def pad_labels(labels: PhotoLabels) -> Tensor:
    """The right classes of each photo, int64 `(N, M)`; rows with fewer are filled up.

    Args:
        labels: for each photo the indices of its right classes, or None.
    """
    most = max((len(classes or ()) for classes in labels), default=0)
    rows = [[*(classes or ()), *[_NONE] * (most - len(classes or ()))] for classes in labels]
    return torch.tensor(rows, dtype=torch.int64).view(len(rows), most)


def has_label(padded: Tensor) -> Tensor:
    """Whether each photo has a right class, bool `(N,)`."""
    return (padded != _NONE).any(dim=1)


def count_columns(num_outputs: int, output_head: str) -> int:
    """The number of columns K that `to_columns` gives."""
    return 2 if is_binary(num_outputs, output_head) else num_outputs


def to_columns(logits: Tensor, output_head: str) -> tuple[Tensor, str]:
    """The outputs with a column for each prediction, and how they become probabilities.

    Args:
        logits: `(N, classes)`.
        output_head: see `convlens.models.output_head`.

    Returns:
        float64 `(N, K)`, and the output head of the columns.
    """
    logits = logits.double()
    if not is_binary(logits.shape[1], output_head):
        return logits, output_head
    other = 1 - logits if output_head == PROBABILITIES else torch.zeros_like(logits)
    return torch.cat([logits, other], dim=1), (
        PROBABILITIES if output_head == PROBABILITIES else SOFTMAX
    )


def column_of(classes: Tensor) -> Tensor:
    """The column of each class: 1 for `NEGATIVE`, else the index itself."""
    return classes.where(classes != NEGATIVE, 1)


def class_of(column: int, *, binary: bool) -> int:
    """The index of the class of a column."""
    return NEGATIVE if binary and column == 1 else column


def mark_right(padded: Tensor, columns: int) -> Tensor:
    """Whether each column is a right class of each photo, bool `(N, K)`.

    Args:
        padded: int64 `(N, M)`, from `pad_labels`.
        columns: K.
    """
    marks = torch.zeros(len(padded), columns + 1, dtype=torch.bool)
    rows = column_of(padded).where(padded != _NONE, columns)
    return marks.scatter_(1, rows, value=True)[:, :columns]
