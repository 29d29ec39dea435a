"""Pictures of an error analysis: photos of confused classes, and of single errors."""

from collections.abc import Sequence

from torch import Tensor

from convlens.drawing import fit_tile, make_sheet

_LEAST, _MOST = 64, 112  # pixels of the longer side of a photo
_COLUMNS = 4


def pair_sheet(rows: Sequence[tuple[str, Sequence[Tensor]]]) -> Tensor:
    """A row of photos for each pair of classes.

    Args:
        rows: text on the left of each row, and its photos, uint8 `(H, W, 3)`.

    Returns:
        uint8 `(H', W', 3)`.
    """
    columns = max(len(photos) for _, photos in rows)
    tiles: list[Tensor | None] = []
    for _, photos in rows:
        tiles += [fit_tile(photo, _LEAST, _MOST) for photo in photos]
        tiles += [None] * (columns - len(photos))
    return make_sheet(tiles, columns, sides=[side for side, _ in rows])


def error_sheet(errors: Sequence[tuple[Tensor, str]]) -> Tensor:
    """Photos of errors in rows of four, with captions.

    Args:
        errors: a photo, uint8 `(H, W, 3)`, and its caption.

    Returns:
        uint8 `(H', W', 3)`.
    """
    return make_sheet(
        [fit_tile(photo, _LEAST, _MOST) for photo, _ in errors],
        _COLUMNS,
        captions=[caption for _, caption in errors],
        least=_MOST,
    )
