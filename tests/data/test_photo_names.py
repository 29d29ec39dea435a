"""Names that tell photos apart, and table keys that match the ends of their paths."""

import re

import pytest
from PIL import Image

from convlens import ParquetPhotos
from convlens.data.datasets.photo_dataset import PhotoFiles, find_dataset_keys
from convlens.data.photo_names import (
    find_key,
    find_keys,
    shortest_unique_paths,
    table_key,
    unique_folder_names,
)
from convlens.errors import ConvlensError


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a.jpg", "/y/b.jpg"], ["a.jpg", "b.jpg"]),
        (["odd/a/s.jpg", "odd/b/s.jpg", "t.jpg"], ["a/s.jpg", "b/s.jpg", "t.jpg"]),
        (["p/x/s", "q/x/s", "q/y/s"], ["p/x/s", "q/x/s", "y/s"]),
        (["s", "a/s", "b/a/s"], ["s", "a/s", "b/a/s"]),
        (["/s", "/a/s"], ["/s", "a/s"]),
        (["a/s", "a/s"], ["s", "s"]),
        ([], []),
    ],
)
def test_names_are_the_shortest_that_differ(paths, names):
    assert shortest_unique_paths(paths) == names


def test_names_of_folders_are_never_alike():
    paths = ["a/s.jpg", "b/s.jpg", "b/s.jpg", "a-s.jpg", "/s.jpg", "t.jpg"]
    names = unique_folder_names(paths, taken=["t.jpg"])
    assert names == ["a-s.jpg", "b-s.jpg", "2-b-s.jpg", "2-a-s.jpg", "s.jpg", "2-t.jpg"]


def test_paths_in_a_table_are_relative_to_it_or_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "s.jpg").touch()
    assert table_key("a//s.jpg", tmp_path / "lists") == "a/s.jpg"
    absolute = str(tmp_path / "photos" / "s.jpg")
    assert table_key("../photos/s.jpg", tmp_path / "lists") == absolute
    assert table_key("./photos/s.jpg", tmp_path / "lists") == absolute  # from the working directory
    assert table_key(absolute, tmp_path / "lists") == absolute


def test_the_longest_end_counts(tmp_path):
    table = {"s.jpg": 0, "b/s.jpg": 1, "odd/b/s.jpg": 2, str(tmp_path / "c" / "s.jpg"): 3}
    paths = ["even/a/s.jpg", "even/b/s.jpg", "odd/b/s.jpg", tmp_path / "c" / "s.jpg", "bs.jpg"]
    expected = ["s.jpg", "b/s.jpg", "odd/b/s.jpg", str(tmp_path / "c" / "s.jpg"), None]
    assert find_keys(paths, table) == expected
    assert [find_key(path, table) for path in paths] == expected


def test_an_entry_of_two_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = r"'s.jpg' is the name of odd/a/s.jpg and of odd/b/s.jpg; .* as a/s.jpg and b/s.jpg"
    with pytest.raises(ConvlensError, match=words) as caught:
        find_keys(["odd/a/s.jpg", "odd/b/s.jpg"], {"s.jpg": 0})
    ends = re.findall(r"(\S+) and (\S+)$", str(caught.value))[0]
    assert find_keys(["odd/a/s.jpg", "odd/b/s.jpg"], dict.fromkeys(ends)) == [*ends]
    # One photo, however often it is given.
    same = ["s.jpg", "s.jpg", tmp_path / "s.jpg"]
    assert find_keys(same, {"s.jpg": 0}) == ["s.jpg"] * 3
    assert find_dataset_keys(PhotoFiles(same), {"s.jpg": 0}) == ["s.jpg"] * 3


def test_rows_of_one_name_are_two_photos(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    rows = pa.table({"image": [data] * 3, "name": ["a.png", "b.png", "a.png"]})
    parquet.write_table(rows, tmp_path / "t.parquet")
    dataset = ParquetPhotos(tmp_path / "t.parquet", "image")
    assert find_dataset_keys(dataset, {"b.png": 0}) == [None, "b.png", None]
    with pytest.raises(ConvlensError, match=r"'a.png' is the name of several photos"):
        find_dataset_keys(dataset, {"a.png": 0})
