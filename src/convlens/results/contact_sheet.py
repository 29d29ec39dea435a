"""The contact sheet of a folder: its pictures, reduced, with captions, in one picture."""

from collections.abc import Sequence

from torch import Tensor

from convlens.data.sampling import spread
from convlens.drawing import add_title, fit_tile, make_sheet
from convlens.wording import counted

_SMALL = 100  # pixels up to which the longer side of a picture is enlarged
_SIDE = 200  # pixels of the longer side of a picture on the sheet, at most
MOST = 60  # pictures on the sheet
_WIDE = 8  # pictures in a row, at most


def contact_sheet(title: str, pictures: Sequence[tuple[Tensor, str]]) -> Tensor:
    """Arrange pictures, reduced, with captions on one sheet.

    Args:
        title: text above the pictures.
        pictures: one or more pictures, uint8 `(H, W, 3)` or `(H, W)`, each with its caption. Of
            more than 60 pictures, 60 are shown, evenly spread.

    Returns:
        uint8 `(H, W, 3)`.
    """
    shown = spread(pictures, MOST)
    columns = min(_WIDE, max(1, round((1.6 * len(shown)) ** 0.5)))
    sheet = make_sheet(
        [fit_tile(pixels, _SMALL, _SIDE) for pixels, _ in shown],
        columns,
        captions=[caption for _, caption in shown],
        gap=12,
        least=_SIDE,
    )
    some = "" if len(shown) == len(pictures) else f"{len(shown)} of "
    return add_title(sheet, title, f"{some}{counted(len(pictures), 'picture')}")
