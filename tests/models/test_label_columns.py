"""Which column of a table of labels holds the class, and names in several Unicode forms."""

import unicodedata

import pytest

from convlens.errors import ConvlensError
from convlens.models.label_tables import read_labels
from convlens.models.labels import find_class

LABELS = ("cat", "dog", "bird, fowl", "fish")


def read(tmp_path, text, labels=LABELS):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels(path, labels, 4)


@pytest.mark.parametrize("labels", [LABELS, None])
def test_the_index_of_a_row_is_not_its_class(tmp_path, labels):
    """Pandas writes the number of the row under index."""
    cells = ("1", "0", "1") if labels is None else ("dog", "cat", "dog")
    numbered = zip("012", "abc", cells, strict=True)
    rows = "".join(f"{number},{name}.jpg,{cell}\n" for number, name, cell in numbered)
    expected = {"a.jpg": (1,), "b.jpg": (0,), "c.jpg": (1,)}
    assert read(tmp_path, f"index,file,label\n{rows}", labels) == expected
    assert read(tmp_path, f"index,file,class\n{rows}", labels) == expected


def test_index_and_name_that_agree(tmp_path):
    text = "file,index,name\na.jpg,1,dog\nb.jpg,2,fowl\nc.jpg,1,dog\n"
    assert read(tmp_path, text) == {"a.jpg": (1,), "b.jpg": (2,), "c.jpg": (1,)}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("index,file,name\n0,a.jpg,dog\n", LABELS),
        ("index,file,name\n0,a.jpg,dog\n1,b.jpg,dog\n", None),
        ("file,class,label\na.jpg,cat,dog\n", LABELS),
        ("file,class,label\na.jpg,0,1\n", None),
    ],
)
def test_columns_that_disagree_are_a_question(text, labels, tmp_path):
    with pytest.raises(ConvlensError, match=r"line \d: the columns .* do not agree on the class"):
        read(tmp_path, text, labels)


def test_a_column_that_is_no_class_is_not_compared(tmp_path):
    assert read(tmp_path, "file,class,label\na.jpg,dog,sharp\n") == {"a.jpg": (1,)}
    assert read(tmp_path, "file,index,name\na.jpg,1,Rex\n") == {"a.jpg": (1,)}


def test_names_of_classes_in_two_unicode_forms():
    labels = [unicodedata.normalize("NFC", "Bärin"), "Fuchs"]
    assert find_class(labels, unicodedata.normalize("NFD", "bärin"), 2) == 0
