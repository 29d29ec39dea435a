"""The same photos as files and as the tables that pyarrow writes of them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convlens import wrap
from convlens.data.datasets import parquet
from convlens.data.lru_cache import LRUCache
from convlens.data.photos import EncodedPhoto

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SIZE = 32
COUNT = 23


def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, stride=2),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip
    return wrap(network, size=SIZE, labels=["ant", "bee", "cat", "dog"])


@pytest.fixture
def empty_caches(monkeypatch):
    """Nothing at hand from another test."""
    monkeypatch.setattr(parquet, "_photo_cache", LRUCache(64 << 20))
    monkeypatch.setattr(parquet, "_name_cache", LRUCache(16 << 20))
    monkeypatch.setattr(parquet, "_reader_cache", LRUCache(0))


@pytest.fixture
def files(tmp_path):
    """Photos as files, in the order of their paths; the fifth is damaged."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    results = []
    for number in range(COUNT):
        path = folder / f"{number:02d}.png"
        pixels = generator.integers(0, 256, (40, 36 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        results.append(path)
    results[5].write_bytes(results[5].read_bytes()[:200])
    return results


def write(path, columns, rows=4, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows, **options)
    return path


def struct(paths, **change):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": path.read_bytes(), "path": f"any/{path.name}"} | change for path in paths]
    return pa.array(rows, kind)


KINDS = {
    "binary": lambda paths: {
        "label": [0] * len(paths),
        "image": pa.array([path.read_bytes() for path in paths], pa.binary()),
        "file": [path.name for path in paths],
    },
    "large": lambda paths: {
        "photo bytes": pa.array([path.read_bytes() for path in paths], pa.large_binary()),
        "filename": pa.array([path.name for path in paths]).dictionary_encode(),
    },
    "struct": lambda paths: {"img": struct(paths), "label": [1] * len(paths)},
    "paths": lambda paths: {"where": [f"../photos/{path.name}" for path in paths]},
    "absolute": lambda paths: {"where": [str(path) for path in paths]},
    "pointing": lambda paths: {
        "image": pa.array(
            [{"bytes": None, "path": f"../photos/{path.name}"} for path in paths],
            pa.struct([("bytes", pa.binary()), ("path", pa.large_string())]),
        )
    },
}


@pytest.fixture(params=KINDS)
def tables(request, files, tmp_path):
    """The photos as three tables whose row groups do not fall in with batches."""
    folder = tmp_path / "tables"
    cuts = ((0, 9, 4), (9, 10, 1), (10, COUNT, 5))
    for number, (start, stop, rows) in enumerate(cuts):
        write(folder / f"{number}.parquet", KINDS[request.param](files[start:stop]), rows)
    return folder


def data(row):
    return row.data if isinstance(row, EncodedPhoto) else row.read_bytes()
