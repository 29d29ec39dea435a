"""Reading Parquet files: each row group once, large ones in chunks, only the needed columns."""

import pickle

import numpy as np
import pytest

from convlens import ParquetPhotos
from convlens.data.datasets import parquet, parquet_index
from convlens.data.lru_cache import LRUCache
from convlens.passes.source import PhotoSource
from support.parquet_tables import COUNT, KINDS, data, model, pa, pq, write

pytest_plugins = "support.parquet_tables"
pytestmark = pytest.mark.usefixtures("empty_caches")


@pytest.fixture
def reads(monkeypatch):
    """Row groups and columns as they are read."""
    results = []
    real = pq.ParquetFile.read_row_group

    def read(self, number, columns=None, **options):
        results.append((number, tuple(columns)))
        return real(self, number, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read)
    return results


def test_a_row_group_is_read_once_in_a_row(files, tmp_path, reads, monkeypatch):
    monkeypatch.setattr(parquet, "_photo_cache", LRUCache(0))  # the two used last stay all the same
    photos = files[6:] * 3
    path = write(tmp_path / "t.parquet", KINDS["binary"](photos), 7)
    source = PhotoSource(model(), ParquetPhotos(path))
    groups = -(-len(photos) // 7)
    spans = [(start, min(start + 4, len(photos))) for start in range(0, len(photos), 4)]
    assert sum(len(batch.ids) for batch in source.batches(spans)) == len(photos)
    assert [number for number, _ in sorted(reads)] == list(range(groups))
    assert {columns for _, columns in reads} == {("image", "file")}


@pytest.mark.parametrize("kind", ["binary", "struct", "paths"])
def test_a_large_row_group_is_read_in_chunks(files, tmp_path, reads, monkeypatch, kind):
    photos = files[6:] * 3
    path = write(tmp_path / "tables" / "t.parquet", KINDS[kind](photos), 1000, use_dictionary=False)
    monkeypatch.setattr(parquet, "_photo_cache", LRUCache(0))
    monkeypatch.setattr(parquet_index, "_CHUNK_BYTES", path.stat().st_size // 9)
    opened = []
    real = pq.ParquetFile.iter_batches

    def iterate(self, size, **options):
        opened.append(size)
        for batch in real(self, size, **options):
            assert len(batch) <= size
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iterate)
    dataset = ParquetPhotos(path)
    source = PhotoSource(model(), dataset)
    spans = [(start, min(start + 4, len(photos))) for start in range(0, len(photos), 4)]
    assert sum(len(batch.ids) for batch in source.batches(spans)) == len(photos)
    assert len(opened) == 1 and 2 <= opened[0] <= 7
    for number in np.random.default_rng(1).permutation(len(photos)).tolist():
        assert data(dataset[number]) == photos[number].read_bytes()
    assert reads == []


def test_names_are_had_without_the_bytes(files, tables, reads):
    dataset = ParquetPhotos(tables)
    reads.clear()
    names = [dataset.name(number) for number in range(COUNT)]
    first = dataset.fingerprints()
    assert [mark.split(" ")[0] for mark in first] == names
    assert len(reads) == 3 + 1 + 3
    for _, columns in reads:
        assert len(columns) == 1 and columns[0] not in ("image", "photo bytes", "img.bytes")


def test_only_what_is_needed_of_a_struct(files, tmp_path, reads):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string()), ("more", pa.binary())])
    rows = [{"bytes": files[0].read_bytes(), "path": "a.png", "more": b"x" * 99}]
    dataset = ParquetPhotos(write(tmp_path / "t.parquet", {"image": pa.array(rows, kind)}))
    assert dataset[0].name == "a.png"
    assert reads == [(0, ("image.bytes", "image.path"))]


def test_it_is_small_when_it_is_sent(files, tables, tmp_path, monkeypatch):
    dataset = ParquetPhotos(tables)
    expected = [data(dataset[number]) for number in range(COUNT)]
    sent = pickle.dumps(dataset)
    assert len(sent) < 3000 < sum(map(len, expected))
    monkeypatch.setattr(parquet, "_photo_cache", LRUCache(64 << 20))
    monkeypatch.chdir("/")
    received = pickle.loads(sent)
    assert [data(received[number]) for number in range(COUNT)] == expected
    assert received.fingerprints() == dataset.fingerprints()


def test_relative_files_are_found_from_elsewhere(files, tables, monkeypatch):
    monkeypatch.chdir(tables.parent)
    dataset = ParquetPhotos("tables")
    fingerprints = dataset.fingerprints()
    received = pickle.loads(pickle.dumps(dataset))
    monkeypatch.chdir("/")
    assert data(received[7]) == files[7].read_bytes()
    assert received.fingerprints() == fingerprints
