"""Small matrices of numbers as words of a command line."""

from typing import TYPE_CHECKING

from convlens.errors import ConvlensError

if TYPE_CHECKING:
    from torch import Tensor


def parse_matrix(text: str | None) -> "Tensor | None":
    """Numbers in rows: rows end in semicolons, numbers in blanks or commas; None for no text.

    Raises:
        ConvlensError: what is no number, or rows of different lengths.

    Example:
        >>> parse_matrix("1 2; 3 4")
        tensor([[1., 2.],
                [3., 4.]])
    """
    if text is None:
        return None
    rows = [row.replace(",", " ").split() for row in text.strip().rstrip(";").split(";")]
    try:
        numbers = [[float(word.replace("−", "-")) for word in row] for row in rows]
    except ValueError as error:
        raise ConvlensError(
            f"{text!r} holds something that is no number; write rows of numbers with semicolons "
            f"between rows, for example '1 0; 0 -1'"
        ) from error
    if len({len(row) for row in numbers}) != 1 or not numbers[0]:
        lengths = ", ".join(str(len(row)) for row in numbers)
        raise ConvlensError(
            f"{text!r} has rows of {lengths} numbers; give the same number in each row, for "
            f"example '1 0; 0 -1'"
        )
    import torch

    return torch.tensor(numbers, dtype=torch.float32)


def parse_padding(text: str) -> int | str:
    """Padding as a number of pixels, or the name of one."""
    return int(text) if text.isdecimal() else text
