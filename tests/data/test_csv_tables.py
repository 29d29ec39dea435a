"""CSV files as spreadsheets write them, and those that cannot be read without a doubt."""

import os

import pytest
from torch import nn

import convlens
from convlens.data.csv_tables import open_csv
from convlens.errors import ConvlensError
from convlens.models.label_tables import read_labels
from convlens.models.labels import find_class

HEADER = "file,class,left,top,right,bottom\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.csv"


@pytest.fixture(scope="module")
def model():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return convlens.wrap(network, size=8, labels=("cat", "dog"))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_separators_and_line_breaks(path, model, separator, line_break):
    lines = ["file,class", "a.jpg,dog", '"b, c; d.jpg",cat']
    quoted = [line.replace(",", separator) for line in lines[:2]]
    quoted.append(f'"b, c; d.jpg"{separator}cat')
    path.write_bytes(line_break.join(quoted).encode())
    assert read_labels(path, ("cat", "dog"), 2) == {"a.jpg": (1,), "b, c; d.jpg": (0,)}
    path.write_text((HEADER + "a.jpg,dog,1.5,2,3,4\n").replace(",", separator))
    (box,) = convlens.read_boxes(path, model)["a.jpg"]
    assert (box.classes, box.edges) == ((1,), (1.5, 2.0, 3.0, 4.0))


def test_two_columns_of_one_name(path, model):
    path.write_text("file,class, Class\na.jpg,dog,cat\n")
    with pytest.raises(ConvlensError, match=r"line 1: 2 columns are called class; rename"):
        read_labels(path, ("cat", "dog"), 2)
    path.write_text(HEADER.replace("\n", ",left\n") + "a.jpg,dog,1,2,3,4,2\n")
    with pytest.raises(ConvlensError, match="2 columns are called left"):
        convlens.read_boxes(path, model)
    # Columns that nobody reads, and empty ones of a spreadsheet.
    path.write_text("file,class,note,Note,,\na.jpg,dog,x,y,,\n")
    assert read_labels(path, ("cat", "dog"), 2) == {"a.jpg": (1,)}


def test_a_pipe_can_be_read():
    reading, writing = os.pipe()
    os.write(writing, b"file;class\na.jpg;dog\n")
    os.close(writing)
    with open_csv(f"/dev/fd/{reading}") as rows:
        assert [row["class"] for row in rows] == ["dog"]
    os.close(reading)


def test_boxes_in_shares_of_the_photo(path, model):
    path.write_text(HEADER + "a.jpg,dog,0.1,0.2,0.5,0.9\nb.jpg,cat,0,0,1,1\n")
    with pytest.raises(ConvlensError, match=r"between 0 and 1, .* give pixels"):
        convlens.read_boxes(path, model)
    path.write_text(HEADER + "a.jpg,dog,0.1,0.2,0.5,0.9\nb.jpg,cat,0,0,1,2\n")
    assert len(convlens.read_boxes(path, model)) == 2


@pytest.mark.parametrize("labels", [None, ("ant", "bee")])
def test_what_is_no_index(labels):
    for text in ("1_0", "1" * 5000, "1.5", "0x1"):
        with pytest.raises(ConvlensError, match="class '"):
            find_class(labels, text, 20)
    assert find_class(labels, " +1 ", 20) == find_class(labels, "1", 20) == 1
