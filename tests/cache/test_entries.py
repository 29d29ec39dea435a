"""Entries of the disk cache: what is read equals what was written, or is missing."""

import os
import subprocess
import sys
import threading
import time

import pytest
import torch

from convlens import disk_cache
from convlens.cache.entries import list_entries, read_entry, remove_entries, write_entry

KEY = {"weights": "0123", "size": [8, 8]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a cache that is in use."""
    monkeypatch.setenv("CONVLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CONVLENS_CACHE_MB", raising=False)
    with disk_cache():
        yield tmp_path / "cache"


def tensors():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 4, 5, generator=generator)
    return {
        "plain": images,
        "channels last": images.contiguous(memory_format=torch.channels_last),
        "transposed": images.double().transpose(1, 3),
        "part": images[:, 1:2, ::2],
        "repeated": torch.arange(3).expand(2, 3),
        "number": torch.tensor(float("nan")),
        "empty": torch.zeros(0, 3, dtype=torch.bool),
        "bytes": torch.arange(6, dtype=torch.uint8).view(2, 3),
    }


def test_an_entry_holds_the_same_bits_as_before(folder):
    data = {"text": "ä", "numbers": [1, 0.1, 1e-300, True, None]}
    write_entry("fit", KEY, data, tensors())
    entry = read_entry("fit", KEY)
    assert entry.data == data
    assert entry.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        read = entry.tensors[name]
        assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape), name
        assert read.contiguous().numpy().tobytes() == tensor.contiguous().numpy().tobytes(), name


def test_the_strides_are_those_of_before(folder):
    """PyTorch chooses the algorithm of a convolution by them."""
    write_entry("fit", KEY, None, tensors())
    read = read_entry("fit", KEY).tensors
    for name in ("plain", "channels last", "transposed", "number", "bytes"):
        assert read[name].stride() == tensors()[name].stride(), name


def test_another_key_or_kind_has_no_entry(folder):
    write_entry("fit", KEY, 1, {})
    assert read_entry("fit", KEY | {"size": [8, 9]}) is None
    assert read_entry("trace", KEY) is None
    assert read_entry("fit", dict(reversed(KEY.items()))).data == 1


def test_nothing_is_read_or_written_outside_the_block(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVLENS_CACHE", str(tmp_path))
    write_entry("fit", KEY, 1, {})
    assert list(tmp_path.iterdir()) == []
    with disk_cache():
        write_entry("fit", KEY, 1, {})
    assert read_entry("fit", KEY) is None
    with disk_cache():
        assert read_entry("fit", KEY).data == 1
        monkeypatch.setenv("CONVLENS_CACHE", "off")
        assert read_entry("fit", KEY) is None


def test_a_file_with_any_changed_byte_is_not_read(folder):
    data = {"verdicts": ["Gabor", "blob"]}
    write_entry("fit", KEY, data, {"r2": torch.rand(4)})
    (stored,) = list_entries(folder)
    content = stored.path.read_bytes()
    read = 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        stored.path.write_bytes(changed)
        entry = read_entry("fit", KEY)
        if entry is not None:  # a byte of padding
            read += 1
            assert entry.data == data
            stored.path.write_bytes(content)
        else:
            assert not stored.path.exists()
    assert read < 10
    stored.path.write_bytes(content)
    assert read_entry("fit", KEY).data == data


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, b"PK\x03\x04"])
def test_a_file_of_another_kind_is_removed(folder, content):
    write_entry("fit", KEY, 1, {})
    (stored,) = list_entries(folder)
    stored.path.write_bytes(content)
    assert read_entry("fit", KEY) is None
    assert list_entries(folder) == []


def test_the_entries_that_were_not_used_for_the_longest_time_are_removed(folder, monkeypatch):
    monkeypatch.setenv("CONVLENS_CACHE_MB", "0.01")
    values = torch.zeros(512)  # 2 kB, so that four fit
    for number in range(4):
        write_entry("fit", number, None, {"values": values})
        os.utime(list_entries(folder)[-1].path, (number, number))
    assert read_entry("fit", 0) is not None  # used now
    write_entry("fit", 4, None, {"values": values})
    remaining = [number for number in range(5) if read_entry("fit", number) is not None]
    assert remaining == [0, 2, 3, 4]
    write_entry("fit", 5, None, {"values": torch.zeros(5000)})  # more than the limit
    assert read_entry("fit", 5) is None
    assert sum(entry.size for entry in list_entries(folder)) <= 10_000


def test_a_folder_that_cannot_be_written_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CONVLENS_CACHE", str(tmp_path / "file"))
    with disk_cache():
        write_entry("fit", KEY, 1, {})
        assert read_entry("fit", KEY) is None
    assert (tmp_path / "file").read_text() == "not a folder"


def test_only_entries_are_removed(folder):
    write_entry("fit", KEY, 1, {})
    (folder / "notes.txt").write_text("mine")
    (folder / "fit-mine.safetensors").write_text("mine")
    assert [entry.kind for entry in remove_entries(folder)] == ["fit"]
    assert sorted(path.name for path in folder.iterdir()) == ["fit-mine.safetensors", "notes.txt"]


def test_threads_may_write_and_read_the_same_entry(folder):
    wrong = []

    def work():
        for _ in range(20):
            write_entry("fit", KEY, "value", {"values": torch.ones(100)})
            entry = read_entry("fit", KEY)
            if entry is None or entry.data != "value":
                wrong.append(entry)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(list_entries(folder)) == 1


WRITER = """
import sys, torch
from convlens import disk_cache
from convlens.cache.entries import write_entry
torch.set_num_threads(1)
print("ready", flush=True)
with disk_cache():
    while True:
        write_entry("fit", 0, "value", {"values": torch.ones(200_000)})
"""


@pytest.mark.slow
def test_a_killed_process_leaves_whole_entries_only(folder):
    for delay in (0.0, 0.003, 0.011, 0.02, 0.05):
        command = [sys.executable, "-c", WRITER]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(delay)
            writer.kill()
        entry = read_entry("fit", 0)
        if entry is not None:
            assert entry.data == "value"
            assert bool((entry.tensors["values"] == 1).all())
        assert len(list_entries(folder)) <= 1
