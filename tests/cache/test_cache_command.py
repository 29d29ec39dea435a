"""`convlens cache`: what the disk cache holds, and its removal."""

import json

import pytest
import torch

from convlens import cache_contents, clear_cache, disk_cache
from convlens.cache.entries import write_entry

pytest_plugins = "support.command_line"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a cache with three entries."""
    monkeypatch.setenv("CONVLENS_CACHE", str(tmp_path / "cache"))
    with disk_cache():
        write_entry("gabor", 1, None, {"r2": torch.zeros(1000)})
        write_entry("trace", 1, None, {})
        write_entry("trace", 2, None, {})
    return tmp_path / "cache"


def test_the_contents_are_counted_by_kind(folder, convlens):
    contents = cache_contents()
    assert contents.entries == {"gabor": 1, "trace": 2}
    assert 4000 < contents.sizes["gabor"] < 5000
    assert contents.size == sum(path.stat().st_size for path in folder.iterdir())
    status, out, _ = convlens("cache", "--json")
    assert status == 0
    assert json.loads(out)["entries"] == contents.entries
    assert json.loads(out)["folder"] == str(folder)


def test_the_cache_is_cleared(folder, convlens):
    status, out, _ = convlens("cache")
    assert (status, "3 entries" in out) == (0, True)
    status, out, _ = convlens("cache", "--clear")
    assert status == 0
    assert out.startswith("removed 3 entries (0.0 MB) from")
    assert list(folder.iterdir()) == []
    assert cache_contents().size == 0


def test_a_cache_that_is_off_is_named_as_such(monkeypatch, convlens):
    monkeypatch.setenv("CONVLENS_CACHE", "off")
    status, out, _ = convlens("cache")
    assert (status, out) == (0, "the cache is turned off (CONVLENS_CACHE=off)\n")
    assert clear_cache().entries == {}


def test_a_size_that_is_no_number_is_refused(folder, monkeypatch, convlens):
    monkeypatch.setenv("CONVLENS_CACHE_MB", "much")
    status, _, err = convlens("cache")
    assert status == 2
    assert "CONVLENS_CACHE_MB=much is no number of megabytes" in err
    assert err.count("\n") == 1


def test_commands_fill_the_cache_and_read_from_it(tmp_path, monkeypatch, here, convlens):
    monkeypatch.setenv("CONVLENS_CACHE", str(tmp_path / "cache"))
    words = ("maximize", "--model", "mine.py:network", "--size", 32, "--channel", "0:1")
    options = ("--steps", 2, "--json", "--overwrite")
    first = convlens(*words, *options)
    assert first[0] == 0, first[2]
    entries = cache_contents().entries
    assert entries["maximize"] == 1
    assert entries["trace"] >= 1
    assert convlens(*words, *options)[1] == first[1]
    assert cache_contents().entries == entries
