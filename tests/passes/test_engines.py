"""What all engines are asked: to be opened once, however many passes a picture takes."""

from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convlens import ConvlensError, gradcams, patches, wrap
from convlens.analyses.invariance.dataset_pass import invariance
from convlens.passes.engines import find_engine
from convlens.passes.local import LocalEngine
from convlens.passes.options import PassOptions
from convlens.passes.saved_state import FinishedImages

SIZE = 24


class Counting(LocalEngine):
    """The local engine, which writes down when it was opened, run and closed."""

    log: list[Any]

    def __init__(self):
        object.__setattr__(self, "log", [])

    @contextmanager
    def open(self):
        self.log.append("open")
        try:
            yield
        finally:
            self.log.append("closed")

    def run(self, job):
        self.log.append("run")
        yield from super().run(job)


def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    return wrap(network, size=SIZE)


@pytest.fixture
def paths(tmp_path):
    random = np.random.default_rng(0)
    photo_paths = [tmp_path / f"{number:02}.png" for number in range(10)]
    for path in photo_paths:
        Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
    return photo_paths


LABELS = [(0,), (1,)] * 5
PASSES = {
    "patches": (2, lambda paths, **how: patches(model(), paths, labels=LABELS, **how)),
    "invariance": (
        3, lambda paths, **how: invariance(model(), paths, layer="0", labels=LABELS, **how)
    ),
    "gradcams": (
        2, lambda paths, **how: gradcams(model(), paths, out=paths[0].parent / "cams", **how)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSES)
def test_opened_once_for_all_passes(paths, name):
    count, view = PASSES[name]
    engine = Counting()
    view(paths, pass_options=PassOptions(engine=engine))
    assert engine.log == ["open", *["run"] * count, "closed"]


@pytest.mark.parametrize("name", PASSES)
def test_closed_after_an_error(paths, name):
    class Broken(Counting):
        def run(self, job):
            raise ConvlensError("no more machines")

    engine = Broken()
    with pytest.raises(ConvlensError, match="no more machines"):
        PASSES[name][1](paths, pass_options=PassOptions(engine=engine))
    assert engine.log == ["open", "closed"]


def test_engines_are_found_by_name():
    assert find_engine(None) == find_engine("local") == LocalEngine()
    with pytest.raises(ConvlensError, match="engine 'rey'; give local or ray"):
        find_engine("rey")


def test_what_is_done_is_found_among_many_spans():
    """Asked of every batch, beside a plain set of the numbers that are done."""
    done = FinishedImages()
    done.add([(start, start + 2) for start in range(0, 60, 2) if start % 14 not in (4, 6)], {})
    numbers = {number for start, stop in done.spans for number in range(start, stop)}
    assert 0 < len(numbers) < 60
    for start in range(-2, 64):
        for stop in (start + 1, start + 3):
            assert ((start, stop) in done) == (set(range(start, stop)) <= numbers)
