"""`chapter`: computes the figures of the chapter and writes them to a folder with one page.

FOLDER/index.html            the page
FOLDER/chapter.json          sections, commands, Python lines, sentences and numbers
FOLDER/figures/NAME.svg      each figure on its own, with text as text
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from convlens.cache.folder import disk_cache
from convlens.drawing.figure_files import write_figure
from convlens.files import CHAPTER, atomic_folder
from convlens.models.loading.demo_photos import demo_photos
from convlens.results import Result
from convlens.results.numbers import numbers_of
from convlens.runtime.callbacks import or_ignore
from convlens.text import json_text
from convlens.textbook.notion import Materials
from convlens.textbook.notions import NOTIONS, SECTIONS
from convlens.textbook.render import ComputedFigure, render


@dataclass(frozen=True, eq=False)
class ChapterFigure(Result):
    """One figure of the chapter.

    Attributes:
        name: name of its file without suffix.
        section: number of the chapter's section.
        title: its heading.
        command: the command that makes it.
        python: the Python lines that make it.
        result: what the Python lines compute.
        seconds: time that it took.
    """

    name: str
    section: str
    title: str
    command: str
    python: str
    result: Result
    seconds: float


@dataclass(frozen=True, eq=False)
class Chapter(Result):
    """The figures of the chapter, in its order.

    Attributes:
        folder: path of the folder that holds the page.
        figures: the figures.
    """

    folder: str
    figures: tuple[ChapterFigure, ...]

    @property
    def page(self) -> Path:
        """The path of the page."""
        return Path(self.folder) / "index.html"

    def find(self, name: str) -> ChapterFigure:
        """The figure of a name."""
        return next(figure for figure in self.figures if figure.name == name)


@disk_cache()
def chapter(
    *,
    out: str | Path = "convlens-chapter",
    progress: Callable[[str, int, int], None] | None = None,
) -> Chapter:
    """Make every figure of the chapter, on one page, each with its command and its Python lines.

    The figures use the embedded network, the demonstration photos, and a small network with large
    first-layer kernels, which is trained on them in less than a minute. No connection is needed.

    Args:
        out: folder for the page and the figures; default `convlens-chapter`.
        progress: called with the name of a figure, the number of figures done and their total;
            default: not called.

    Returns:
        The figures with their results.

    Raises:
        ConvlensError: the demonstration photos or the embedded network are not installed, or the
            folder cannot be written.

    References:
        Bishop and Bishop, Deep Learning: Foundations and Concepts, chapter 10.

    Example:
        >>> import convlens
        >>> chapter = convlens.chapter(out="chapter")  # doctest: +SKIP
        >>> chapter.find("convolution").result.feature_map  # doctest: +SKIP
        tensor([[-4., -4.],
                [-4., -4.]])
    """
    photos = {photo.path.stem: photo.path for photo in demo_photos()}
    materials = Materials(photos)
    report = or_ignore(progress)
    with atomic_folder(out, marker=CHAPTER) as folder:
        figures = []
        computed = []
        for number, notion in enumerate(NOTIONS):
            report(notion.title, number, len(NOTIONS))
            start = time.monotonic()
            result = notion.compute(materials)
            drawn = notion.draw(result)
            _write(drawn, folder / "figures" / f"{notion.name}.svg")
            command = f"convlens {materials.words(notion.command)}"
            python = f"import convlens\n{materials.python(notion.python)}"
            figures.append(
                ChapterFigure(
                    name=notion.name,
                    section=notion.section,
                    title=notion.title,
                    command=command,
                    python=python,
                    result=result,
                    seconds=time.monotonic() - start,
                )
            )
            computed.append(ComputedFigure(notion, drawn, command, python, result.summary()))
        report("page", len(NOTIONS), len(NOTIONS))
        finished = Chapter(folder=str(out), figures=tuple(figures))
        (folder / "index.html").write_text(render(computed, SECTIONS), encoding="utf-8")
        text = json_text(numbers_of(finished))
        (folder / CHAPTER).write_text(text, encoding="utf-8")
    return finished


def _write(figure: Figure, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    write_figure(figure, path)
