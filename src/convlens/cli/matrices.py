"""Small matrices of numbers, and paddings, as words of a command line."""

from typing import TYPE_CHECKING

from convlens.errors import ConvlensError, suggest

if TYPE_CHECKING:
    from torch import Tensor


_PADDINGS = ("valid", "same")


def parse_matrix(text: str | None) -> "Tensor | None":
    """A matrix of the rows that `parse_rows` reads; None for no text.

    Raises:
        ConvlensError: as `parse_rows`.

    Example:
        >>> parse_matrix("1 2; 3 4")
        tensor([[1., 2.],
                [3., 4.]])
    """
    if text is None:
        return None
    import torch

    return torch.tensor(parse_rows(text), dtype=torch.float32)


def parse_rows(text: str) -> list[list[float]]:
    """Numbers in rows: rows end in semicolons, numbers in blanks or commas.

    Raises:
        ConvlensError: what is no number, or rows of different lengths.
    """
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
    return numbers


def parse_padding(text: str) -> int | str:
    """Padding as a number of pixels, or the name of one.

    Raises:
        ConvlensError: for any other text.
    """
    if text.isascii() and text.isdecimal():
        return int(text)
    if text not in _PADDINGS:
        raise ConvlensError(
            f"padding {text!r}{suggest(text, _PADDINGS)}; give a number of pixels, valid or same"
        )
    return text
