"""Notion, one idea of the chapter with its figure, and the materials that several figures use."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from convlens.models.loading.load import load
from convlens.models.model import Model
from convlens.results import Result


@dataclass(frozen=True)
class Materials:
    """Photos and models of the figures. Models are loaded when they are first used.

    Attributes:
        photos: the demonstration photos by the names of their files, without suffix.
    """

    photos: dict[str, Path]
    _cache: dict[str, Model] = field(default_factory=dict)

    def load(self, spec: str) -> Model:
        """The model of a spec."""
        if spec not in self._cache:
            self._cache[spec] = load(spec)
        return self._cache[spec]

    @property
    def model(self) -> Model:
        """The embedded network."""
        return self.load("default")

    @cached_property
    def flower(self) -> Tensor:
        """The photo of a flower, prepared for the embedded network."""
        return self.model.prepare(self.photos["flower"])

    @cached_property
    def cat(self) -> Tensor:
        """The photo of a cat, prepared for the embedded network."""
        return self.model.prepare(self.photos["chelsea"])

    def words(self, text: str) -> str:
        """A command with the paths in place of the words in braces."""
        paths = {name: shlex.quote(path) for name, path in self._paths().items()}
        photos = " ".join(shlex.quote(str(path)) for path in self.photos.values())
        return text.format(photos=photos, **paths)

    def python(self, text: str) -> str:
        """Python lines with the paths in place of the words in braces."""
        paths = {name: repr(path) for name, path in self._paths().items()}
        return text.format(photos=[str(path) for path in self.photos.values()], **paths)

    def _paths(self) -> dict[str, str]:
        return {
            "cat": str(self.photos["chelsea"]),
            "camera": str(self.photos["camera"]),
            "flower": str(self.photos["flower"]),
        }


@dataclass(frozen=True)
class Notion:
    """One idea of the chapter with its figure.

    Attributes:
        name: name of the figure's file and its address on the page.
        section: number of the chapter's section.
        title: heading on the page.
        formula: the formula in TeX as matplotlib reads it; empty for none.
        text: what the figure shows, one paragraph each.
        command: words after `convlens` that make the figure; `{cat}`, `{camera}`, `{flower}` and
            `{photos}` stand for paths.
        python: the Python lines that compute the result, after `import convlens`; the last one
            gives `result`.
        compute: the same call.
        figure: name of the result's method that draws it; default: `figure`.
    """

    name: str
    section: str
    title: str
    formula: str
    text: tuple[str, ...]
    command: str
    python: str
    compute: Callable[[Materials], Result]
    figure: str = "figure"

    def draw(self, result: Result) -> Figure:
        """The figure of the result."""
        drawn: Figure = getattr(result, self.figure)()
        return drawn
