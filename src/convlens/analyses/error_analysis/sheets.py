"""Pictures of an error analysis: photos of confused classes, and of single errors."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from convlens.drawing import fit_tile, make_sheet

_LEAST, _MOST = 64, 112  # pixels of the longer side of a photo
_COLUMNS = 4


@dataclass(frozen=True)
class EvidenceRow:
    """The pictures of one error.

    Attributes:
        side: text on the left.
        photo: uint8 `(H, W, 3)`.
        overlay: Grad-CAM of the right minus the predicted class over it; None without.
        right: similar photos of the right class.
        wrong: similar photos of the predicted class.
        patches: the strongest patches of the channel behind the prediction, uint8 `(k, T, T, 3)`;
            None without.
    """

    side: str
    photo: Tensor
    overlay: Tensor | None
    right: Sequence[Tensor | None]
    wrong: Sequence[Tensor | None]
    patches: Tensor | None


def evidence_sheet(rows: Sequence[EvidenceRow]) -> Tensor:
    """A row for each error: photo, map, similar photos of both classes, and patches of a channel.

    Returns:
        uint8 `(H', W', 3)`.
    """
    groups = [(row.right, row.wrong, () if row.patches is None else row.patches) for row in rows]
    columns = [max(map(len, pictures)) for pictures in zip(*groups, strict=True)]
    columns = [max(1, columns[0]), max(1, columns[1]), columns[2]]
    tiles: list[Tensor | None] = []
    for row, group in zip(rows, groups, strict=True):
        pictures = [row.photo, row.overlay]
        for photos, count in zip(group, columns, strict=True):
            pictures += [*photos, *[None] * (count - len(photos))]
        tiles += [None if each is None else fit_tile(each, _LEAST, _MOST) for each in pictures]
    heads = ["photo", "right − predicted"]
    for words, count in zip(
        ("similar, of the label", "similar, as predicted", "patches of the channel"),
        columns,
        strict=True,
    ):
        heads += [words, *[""] * (count - 1)][:count]
    return make_sheet(tiles, len(heads), heads=heads, sides=[row.side for row in rows], least=_MOST)


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
