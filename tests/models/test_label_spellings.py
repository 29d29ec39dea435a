"""Labels as spreadsheets, pandas and Windows write them."""

import pytest

from convlens.errors import ConvlensError
from convlens.models.label_tables import match_labels, read_labels
from convlens.models.labels import find_class


def read(tmp_path, rows, labels=None):
    path = tmp_path / "labels.csv"
    path.write_text("file,class\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return read_labels(path, labels, 4)


@pytest.mark.parametrize("labels", [None, ("cat", "dog", "bird", "fish")])
def test_indices_of_a_column_of_floats(tmp_path, labels):
    assert read(tmp_path, ["a.jpg,1.0", "b.jpg,3.00", "c.jpg,0.0|2.0"], labels) == {
        "a.jpg": (1,), "b.jpg": (3,), "c.jpg": (0, 2)
    }  # fmt: skip


@pytest.mark.parametrize("text", ["1.5", "1.", ".0", "1e0", "4.0", "-1.0", "1.0.0"])
def test_other_numbers_are_no_index(text):
    with pytest.raises(ConvlensError, match="class"):
        find_class(None, text, 4)


def test_a_name_that_looks_like_a_number_is_a_name():
    assert find_class(("2.0", "1.0"), "1.0", 2) == 1
    assert find_class(("2.0", "1.0"), "2.0", 2) == 0


def test_backslashes_separate_folders(tmp_path):
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "a.jpg").touch()
    table = read(tmp_path, [r"x\a.jpg,1", r".\y\a.jpg,2", "c.jpg,3"])
    photos = [tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg", tmp_path / "c.jpg", "a.jpg"]
    assert match_labels(photos, table) == [(1,), (2,), (3,), None]


def test_a_backslash_in_the_name_of_a_file(tmp_path):
    table = read(tmp_path, [r"x\a.jpg,1"])
    assert match_labels([tmp_path / r"x\a.jpg", tmp_path / "b.jpg"], table) == [(1,), None]
    with pytest.raises(ConvlensError, match="is the name of"):
        match_labels([tmp_path / r"x\a.jpg", tmp_path / "x" / "a.jpg"], table)
