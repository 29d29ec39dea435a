"""Small explorers for tests: a network, two photos, and a client that is let in."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from torch import nn

from convlens import Model, wrap
from convlens.explorer.app import make_app
from convlens.explorer.photo_store import PhotoStore
from convlens.explorer.safety import Gate
from convlens.explorer.session import Session

PORT = 8642
HOME = f"http://127.0.0.1:{PORT}"
MARKUP = "<script>alert(1)</script>"
# Whether anything is drawn over the photo, for a browser.
FIELDS_ARE_DRAWN = """() => {
  const canvas = document.querySelector("#photo-frame canvas.fields");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.some((value) => value > 0);
}"""


class Residual(nn.Module):
    """A sum in the code of the module, whose node has a slash in its name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(maps + self.conv(maps))


def small_network(*, channels: int = 3, classes: int = 4, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, stride=2, padding=1), nn.ReLU(), Residual(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes),
    ).eval()  # fmt: skip


def small_model() -> Model:
    labels = ["tabby, tabby cat", f"dog {MARKUP}", "=1+1", "tree"]
    return wrap(small_network(), size=16, labels=labels, name=f"net {MARKUP}")


def other_model() -> Model:
    """Other weights, and the same classes in another order."""
    labels = ["tree", "=1+1", f"dog {MARKUP}", "tabby, tabby cat"]
    return wrap(small_network(seed=1), size=16, labels=labels, name="other net")


def save_photos(folder: Path, count: int = 2) -> list[Path]:
    paths = []
    names = ("cat.png", "<b>x&y.png", *(f"{number}.png" for number in range(2, count)))
    for number, name in enumerate(names[:count]):
        torch.manual_seed(number)
        pixels = torch.randint(0, 256, (20, 24, 3), dtype=torch.uint8).numpy()
        paths.append(folder / name)
        Image.fromarray(pixels).save(paths[-1])
    return paths


@dataclass
class Running:
    """An explorer without a server, and a client that has the cookie."""

    session: Session
    gate: Gate
    client: TestClient
    paths: list[Path]

    @property
    def keys(self) -> list[str]:
        return [photo.key for photo in self.session.photos]

    def get(self, address: str, **options: object) -> str:
        """The text of a page, which must exist."""
        answer = self.client.get(address, **options)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return str(answer.text)


def run(
    model: Model,
    paths: list[Path],
    other: Model | None = None,
    *,
    labeled: bool = True,
    classes: list[tuple[int, ...] | None] | None = None,
    **options: Any,
) -> Running:
    """An explorer of a model, and of another one under the name `other`.

    The first photo is labeled as class 0, unless `labeled` is False or `classes` has the labels.

    `options` are those of the session of the model.
    """
    if classes is None and paths and labeled:
        classes = [(0,), *[None] * (len(paths) - 1)]
    store = PhotoStore(paths, classes)
    session = Session(model, store, **options)
    compared = [Session(other, store, name="other", first=session)] if other is not None else []
    gate = Gate(make_app(session, compared), PORT)
    client = TestClient(gate, base_url=HOME, follow_redirects=False)
    assert client.get(f"/?token={gate.token}").status_code == 303
    return Running(session, gate, client, paths)


def show_commands(running: Running) -> None:
    """Let pages have commands, as for a network that convlens loaded."""
    reproducer = running.session.reproducer
    reproducer._model = replace(reproducer._model, spec="default")


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The kinds and the data of server-sent events."""
    pairs = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    return [(kind, json.loads(data)) for kind, data in pairs]


def data_values(text: str) -> list[float]:
    """The numbers of the `data` elements of a page, unrounded, in their order."""
    return [float(value) for value in re.findall(r'<data value="([^"]+)"', text)]


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = run(small_model(), save_photos(tmp_path_factory.mktemp("photos")))
    yield running
    running.session.worker.close()
