"""The page about the demonstration, made once for all tests, and how tests read a page."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens.page import maximized_images
from convlens.page.report import report
from convlens.page.result import Report
from convlens.page.sections import dream, gabor

COMMAND = "convlens report --out page"
FULL_WORK = tuple(
    (module, name, getattr(module, name))
    for module, name in (
        (gabor, "NOISE"), (dream, "SIDE"), (dream, "STEPS"), (maximized_images, "STEPS"),
    )
)  # fmt: skip


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Iterator[Report]:
    folder = tmp_path_factory.mktemp("demo") / "page"
    # One thread: several of them beside other work take many times as long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in FULL_WORK:  # the first test that asks for it may reduce them
            patch.setattr(module, name, value)
        page_report = report(convlens.load(), out=folder, command=COMMAND)
    yield page_report
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def text(demo) -> str:
    return demo.page.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def data(demo) -> dict[str, Any]:
    return json.loads(demo.data.read_text(encoding="utf-8"))


def reduce_work(patch: pytest.MonkeyPatch) -> None:
    """Let reports take fewer steps and less noise. They show the same, and copies say how many."""
    patch.setattr(gabor, "NOISE", 100)
    patch.setattr(dream, "SIDE", 48)
    patch.setattr(dream, "STEPS", 2)
    patch.setattr(maximized_images, "STEPS", (4, 4))


@pytest.fixture
def less_work(monkeypatch) -> None:
    """For tests that make reports of their own, whatever the number of steps."""
    reduce_work(monkeypatch)


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    return save_noise(tmp_path / "photos")


def save_noise(folder: Path) -> list[Path]:
    """Three photos of noise in a new folder."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    paths = [folder / f"{name}.png" for name in ("one", "two", "three")]
    for path in paths:
        pixels = torch.randint(0, 256, (40, 30, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(path)
    return paths


def tiny(**options: Any) -> convlens.Model:
    """A small random network for 3 x 32 x 32, five classes."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    return convlens.wrap(network, size=32, name="tiny", **options)


class Page(HTMLParser):
    """Elements with their attributes and text; `data` elements by their place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: dict[str, str | None] | None = None
        self._silent = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")
        if tag == "data":
            self._open = dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            assert self._open["data-at"] is not None
            assert self._open["value"] is not None
            self.numbers.append((self._open["data-at"], self._open["value"], data))
            self._open = None
        if not self._silent:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [element["id"] for _, element in self.elements if element.get("id")]
