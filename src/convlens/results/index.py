"""The index of a folder of results: `index.html`, with its pictures, numbers and files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from convlens.html.templates import environment, stylesheet

INDEX = "index.html"
CONTACT_SHEET = "contact-sheet.png"
_SMALL = 160  # pixels up to which the longer side of a picture is enlarged
_PURPOSES = {
    "classes.csv": "a row for each class",
    "contact-sheet.png": "all pictures on one sheet",
    "convlens.json": "the settings of the training, and the names of the checkpoints",
    "errors.csv": "a row for each wrong prediction",
    "log.csv": "loss and accuracy by epoch",
    "numbers.json": "the numbers, by a documented schema",
    "result.json": "all fields but the tensors; convlens.Result.load reads it",
    "scores.csv": "a row for each photo, class and layer",
    "tensors.safetensors": "the tensors, with all digits",
}


@dataclass(frozen=True)
class IndexPicture:
    """A picture of an index.

    Attributes:
        path: path of its file, relative to the folder.
        width: its width in pixels.
        height: its height in pixels.
        caption: text below it.
    """

    path: str
    width: int
    height: int
    caption: str

    @property
    def times(self) -> int:
        """How often a small picture is enlarged, with hard edges."""
        return max(1, _SMALL // max(self.width, self.height))

    @property
    def address(self) -> str:
        """The path as an address in HTML."""
        return quote(self.path)


@dataclass(frozen=True)
class IndexGroup:
    """The pictures of one photo, or of the whole result.

    Attributes:
        title: text above the pictures, such as the name of a photo; empty for none.
        pictures: the pictures.
        folder: path of the folder with the data, relative to that of the index; empty for the
            folder of the index itself.
        text: how the pictures are to be read; empty for none.
    """

    title: str
    pictures: tuple[IndexPicture, ...]
    folder: str = ""
    text: str = ""

    @property
    def address(self) -> str:
        """The folder as an address in HTML; of its own index, if it has one."""
        return quote(self.folder)


def write_index(
    folder: Path,
    title: str,
    groups: Sequence[IndexGroup],
    *,
    subject: str = "",
    summary: Sequence[str] = (),
    table: Any = None,
    left_out: str = "",
    command: str | None = None,
    python: str = "",
) -> None:
    """Write `index.html`, which lists the pictures and files that are in the folder by then.

    Args:
        folder: the folder.
        title: what the result is, such as `Dream`.
        groups: the pictures.
        subject: what it is of, such as the name of a photo. Default: nothing.
        summary: sentences above the pictures; default: none.
        table: a `Table` below the pictures. Default: none.
        left_out: what the index leaves out, in a sentence. Default: nothing.
        command: the command line that makes the result. Default: none.
        python: Python lines that load the result. Default: none.
    """
    files = [
        (path.name, quote(path.name), _PURPOSES[path.name])
        for path in sorted(folder.iterdir())
        if path.name in _PURPOSES
    ]
    page = environment(__package__).get_template("index.html.jinja").render(
        title=title, subject=subject, summary=summary, groups=groups, table=table,
        left_out=left_out, command=command, python=python, files=files, style=stylesheet(),
        modules=[],
    )  # fmt: skip
    (folder / INDEX).write_text(page, encoding="utf-8")
