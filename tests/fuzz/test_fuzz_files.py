"""Damaged files of every kind that is read: the error is one line, or the file is used."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import convlens
from convlens.analyses.gradcam.boxes import read_boxes
from convlens.data.photos import read_photo
from convlens.errors import ConvlensError
from convlens.files import RESULT
from convlens.models.label_tables import read_labels
from convlens.models.loading.specs import DESCRIPTION
from convlens.models.loading.weights.weight_files import read_weight_file
from fuzz.mutations import mutate_bytes, mutate_json

pytest_plugins = "support.trained_runs"

MUTATIONS = 40  # of each file
MANY = 1500  # of each file in the slow run
LABELS = ("ant", "bee", "cat")

IMAGES = {
    "png": {}, "jpeg": {}, "bmp": {}, "gif": {}, "tiff": {"compression": "tiff_lzw"}, "webp": {},
    "ppm": {}, "tga": {},
}  # fmt: skip


def assert_one_line(read: Callable[[], object], content: str) -> bool:
    """Whether a file can be read; where not, the error is a ConvlensError of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except ConvlensError as error:
        message = str(error)
        assert message.strip(), content
        assert len(message.splitlines()) == 1, f"{content}: {message!r}"
        return False
    return True


def fuzz(path: Path, read: Callable[[], object], count: int, mutate=mutate_bytes) -> int:
    """Read mutations of a file; return how many could not be read."""
    original = path.read_bytes()
    refused = 0
    for seed in range(count):
        if mutate is mutate_json:
            path.write_text(mutate_json(original.decode(), seed), encoding="utf-8")
        else:
            path.write_bytes(mutate(original, seed))
        try:
            refused += not assert_one_line(read, f"{path.name}, mutation {seed}")
        finally:
            path.write_bytes(original)
    return refused


def model():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)
    )
    return convlens.wrap(network, size=8, labels=LABELS)


@pytest.fixture(params=[MUTATIONS, pytest.param(MANY, marks=pytest.mark.slow)])
def count(request):
    return request.param


@pytest.mark.parametrize("kind", IMAGES)
def test_damaged_images_raise_no_other_error(tmp_path, kind, count):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    path = tmp_path / f"photo.{kind}"
    Image.fromarray(pixels).save(path, format=kind, **IMAGES[kind])
    assert fuzz(path, lambda: read_photo(path), count)


def test_damaged_weight_files_raise_no_other_error(tmp_path, count):
    torch.manual_seed(0)
    state = {"conv.weight": torch.rand(2, 3, 3, 3), "conv.bias": torch.rand(2)}
    tensors = tmp_path / "weights.safetensors"
    save_file(state, tensors, metadata={"epoch": "3"})
    assert fuzz(tensors, lambda: read_weight_file(tensors), count)
    pickled = tmp_path / "weights.pth"
    torch.save({"state_dict": state, "epoch": 3}, pickled)
    assert fuzz(pickled, lambda: read_weight_file(pickled), count)


def test_damaged_run_folders_raise_no_other_error(trained, tmp_path, count):
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)

    def load():
        return convlens.load(str(folder))

    assert fuzz(folder / DESCRIPTION, load, count, mutate_json)
    assert fuzz(folder / DESCRIPTION, load, count)


def test_damaged_results_raise_no_other_error(tmp_path, count):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    folder = tmp_path / "saved"
    convlens.gradcam(model(), images).save(folder)

    def load():
        return convlens.Result.load(folder)

    assert fuzz(folder / RESULT, load, count, mutate_json)
    assert fuzz(folder / RESULT, load, count)
    tensors = next(path for path in folder.iterdir() if path.suffix == ".safetensors")
    assert fuzz(tensors, load, count)


def test_damaged_labels_and_boxes_raise_no_other_error(tmp_path, count):
    labels = tmp_path / "labels.csv"
    labels.write_text('file,class\na.png,ant|bee\n"b, c.png",cat\nd.png,2\n', encoding="utf-8")
    assert fuzz(labels, lambda: read_labels(labels, LABELS, 3), count)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,class,left,top,right,bottom\na.png,ant,1,2,3.5,4\nb.png,1,0,0,9,9\n")
    known = model()
    assert fuzz(boxes, lambda: read_boxes(boxes, known), count)


def test_damaged_parquet_files_raise_no_other_error(tmp_path, count):
    pa, pq = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    photo = tmp_path / "photo.png"
    Image.new("RGB", (9, 9), "red").save(photo)
    path = tmp_path / "photos.parquet"
    table = pa.table({"image": [photo.read_bytes()] * 3, "file": ["a.png", "b.png", "c.png"]})
    pq.write_table(table, path, row_group_size=2)
    known = model()

    def read():
        photos = convlens.ParquetPhotos(path)
        convlens.patches(known, photos, top=1, show=0)

    assert fuzz(path, read, max(10, count // 10))


def test_mutations_are_the_same_for_a_seed():
    content = bytes(range(200))
    assert mutate_bytes(content, 5) == mutate_bytes(content, 5)
    assert len({mutate_bytes(content, seed) for seed in range(30)}) > 20
    text = json.dumps({"a": [1, {"b": 2}], "c": "d"})
    assert len({mutate_json(text, seed) for seed in range(30)}) > 15
