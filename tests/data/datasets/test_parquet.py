"""Photos in Parquet files: equal to the same photos as files; wrong tables and damaged files."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import convlens
from convlens import ConvlensError, ParquetPhotos, PhotoError
from convlens.data.datasets.photo_dataset import PhotoDataset
from convlens.data.photos import EncodedPhoto
from convlens.passes.source import PhotoSource
from support.parquet_tables import COUNT, KINDS, data, model, pa, pq, struct, write

pytest_plugins = "support.parquet_tables"
pytestmark = pytest.mark.usefixtures("empty_caches")


# what is in the tables


def test_photos_and_names_are_those_of_the_files(files, tables):
    dataset = ParquetPhotos(tables)
    assert isinstance(dataset, PhotoDataset) and len(dataset) == COUNT
    for number in np.random.default_rng(1).permutation(COUNT).tolist():
        assert data(dataset[number]) == files[number].read_bytes()
        assert Path(dataset.name(number)).name == files[number].name
        if isinstance(dataset[number], EncodedPhoto):
            assert dataset[number].name == dataset.name(number)
        else:
            assert dataset[number].is_absolute()
    with pytest.raises(IndexError):
        dataset[COUNT]
    with pytest.raises(IndexError):
        dataset.name(-1)


def test_files_are_taken_in_the_order_of_their_paths(files, tmp_path):
    for name, photo in (("b", 0), ("a", 1), ("sub/c", 2), (".hidden", 3), ("d.txt", 3)):
        ending = "" if name == "d.txt" else ".parquet"
        write(tmp_path / "t" / f"{name}{ending}", KINDS["binary"]([files[photo]]))
    folder = tmp_path / "t"
    write(folder / "odd", KINDS["binary"]([files[4]]))

    def names(*arguments):
        dataset = ParquetPhotos(*arguments)
        return [dataset.name(number) for number in range(len(dataset))]

    assert names(folder) == ["01.png", "00.png", "02.png"]
    assert names(str(folder / "*.parquet")) == ["01.png", "00.png"]
    assert names([folder / "sub", folder / "b.parquet", folder]) == names(folder)
    assert names([folder / "odd", folder / "a.parquet"]) == ["01.png", "04.png"]


def test_names_without_a_column_of_names(files, tmp_path):
    photos = [path.read_bytes() for path in files[:3]]
    write(tmp_path / "x" / "train.parquet", {"image": photos}, 2)
    write(tmp_path / "x" / "val.parquet", {"image": photos[:1]}, 2)
    dataset = ParquetPhotos(tmp_path / "x")
    names = [dataset.name(number) for number in range(4)]
    assert names == ["train-000000", "train-000001", "train-000002", "val-000000"]
    assert [dataset[number].name for number in range(4)] == names


def test_names_that_no_folder_can_have(files, tmp_path):
    texts = ["..", "a/..", "", None, ".hidden", "two\nlines", "x" * 201, "a/b/ok.png", "nul\0"]
    photos = [files[0].read_bytes()] * len(texts)
    dataset = ParquetPhotos(write(tmp_path / "t.parquet", {"image": photos, "name": texts}))
    for number, text in enumerate(texts):
        expected = text if text == "a/b/ok.png" else f"t-{number:06d}"
        assert dataset.name(number) == dataset[number].name == expected
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    path = write(tmp_path / "u.parquet", {"image": photos[:1], "name": broken})
    assert ParquetPhotos(path).name(0) == ParquetPhotos(path)[0].name == "u-000000"


def test_the_column_with_photos_is_found(files, tmp_path):
    first, text = [files[0].read_bytes()], ["x"]
    for number, (columns, choice) in enumerate(
        (
            ({"pixels": first, "label": [3]}, "pixels"),
            ({"pixels": first, "path": text, "caption": text}, "pixels"),
            ({"mask": first, "image": first}, "image"),
            ({"caption": text, "filename": text}, "filename"),
            ({"caption": text, "img": struct(files[:1])}, "img"),
            ({"a.b": first}, "a.b"),
        )
    ):
        path = write(tmp_path / f"{number}.parquet", columns)
        assert ParquetPhotos(path).column == choice
    dataset = ParquetPhotos(tmp_path / "2.parquet", column="mask")
    assert dataset.column == "mask" and dataset[0].data == first[0]
    assert data(ParquetPhotos(tmp_path / "5.parquet")[0]) == first[0]


@pytest.mark.parametrize(
    ("columns", "expected", "words"),
    [
        ({"x": [1.0], "label": [2]}, None, r"no column with photos .*: x \(double\), label \(int"),
        ({"a": [b"1"], "b": [b"2"]}, None, "several columns that may hold photos; .* a, b$"),
        ({"image": [b"1"]}, "imag", "no column 'imag'; nearest: image"),
        ({"image": [b"1"], "label": [2]}, "label", "column 'label' of .* holds int64; photos are"),
        ({"image": [{"width": 3}]}, None, r"no column with photos .*: image \(struct\)"),
    ],
)
def test_columns_that_cannot_be_used_are_refused_in_one_line(tmp_path, columns, expected, words):
    path = write(tmp_path / "t.parquet", columns)
    with pytest.raises(ConvlensError, match=words) as caught:
        ParquetPhotos(path, expected)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_used(files, tmp_path):
    whole = write(tmp_path / "whole.parquet", KINDS["binary"](files[:9]))
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "nothing.parquet").touch()
    write(tmp_path / "none.parquet", KINDS["binary"]([]))
    write(tmp_path / "other.parquet", KINDS["struct"](files[:1]))
    (tmp_path / "folder").mkdir()
    for name, words in {
        "cut.parquet": "cut.parquet cannot be read as Parquet",
        "nothing.parquet": "cannot be read as Parquet",
        "none.parquet": "no photos: .*none.parquet has no rows",
        "folder": "no .parquet files in",
        "whol.parquet": "does not exist; nearest: whole.parquet",
    }.items():
        with pytest.raises(ConvlensError, match=words) as caught:
            ParquetPhotos(tmp_path / name)
        assert "\n" not in str(caught.value)
    words = r"elsewhere \(column image: bytes in image, names in file\) than .*img"
    with pytest.raises(ConvlensError, match=words):
        ParquetPhotos([tmp_path / "other.parquet", whole])
    assert len(ParquetPhotos([tmp_path / "none.parquet", whole])) == 9


def test_a_missing_pyarrow_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConvlensError, match=r"need pyarrow.*pip install 'convlens\[parquet\]'"):
        ParquetPhotos(tmp_path)


def test_pyarrow_is_imported_when_it_is_used():
    code = "import sys, convlens; convlens.ParquetPhotos; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# nulls and damage


def test_nulls_are_skipped_and_named(files, tmp_path):
    photos = [path.read_bytes() for path in files[:4]]
    photos[2] = None
    plain = write(tmp_path / "plain.parquet", {"image": photos}, 3)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [
        {"bytes": photos[0], "path": None},
        None,
        {"bytes": None, "path": None},
        {"bytes": photos[3], "path": "d.png"},
        {"bytes": b"", "path": "empty.png"},
        {"bytes": b"no image", "path": "damaged.png"},
        {"bytes": None, "path": "missing.png"},
    ]
    nested = write(tmp_path / "nested.parquet", {"image": pa.array(rows, kind)}, 3)
    network = model()
    decoded = PhotoSource(network, ParquetPhotos(plain)).batch_decoder().decode(0, 4)
    assert decoded.ids == [0, 1, 3]
    assert re.match("plain-000002 is null in column image of .*plain.parquet", decoded.skipped[2])
    batch = next(PhotoSource(network, ParquetPhotos(nested)).batches([(0, 7)]))
    assert batch.ids.tolist() == [0, 3]
    assert {number: reason.partition(";")[0] for number, reason in batch.skipped.items()} == {
        1: f"nested-000001 is null in column image of {nested}",
        2: f"nested-000002 is null in column image of {nested}",
        4: "empty.png is empty",
        5: "damaged.png is not an image that can be read",
        6: f"{tmp_path / 'missing.png'} does not exist",
    }
    with pytest.raises(PhotoError, match="null"):
        convlens.patches(network, ParquetPhotos(plain), strict=True)
    assert len(convlens.patches(network, ParquetPhotos(plain)).skipped) == 1


def test_a_damaged_row_group_costs_its_own_photos(files, tmp_path):
    path = write(tmp_path / "t.parquet", KINDS["binary"](files[10:20]), 4, compression="snappy")
    with pq.ParquetFile(path) as file:
        columns = [file.metadata.row_group(1).column(number) for number in (1, 2)]
    content = bytearray(path.read_bytes())
    for column in columns:
        start = column.dictionary_page_offset or column.data_page_offset
        content[start : start + 60] = b"\xff" * 60
    path.write_bytes(content)
    decoded = PhotoSource(model(), ParquetPhotos(path)).batch_decoder().decode(0, 10)
    assert decoded.ids == [0, 1, 2, 3, 8, 9]
    assert all(
        f"t-{n:06d} cannot be read: {path} is damaged (" in decoded.skipped[n] for n in range(4, 8)
    )
    assert not any("\n" in reason for reason in decoded.skipped.values())
    assert ParquetPhotos(path).name(5) == "t-000005"


def test_a_file_that_changes_meanwhile_is_not_mixed_up(files, tmp_path):
    path = write(tmp_path / "t.parquet", KINDS["binary"](files[10:20]))
    dataset = ParquetPhotos(path)
    assert dataset[0].data == files[10].read_bytes()
    write(path, KINDS["binary"](files[:4]))
    with pytest.raises(PhotoError, match=r"t-000009 cannot be read: .* has changed"):
        dataset[9]


def test_a_new_dataset_sees_new_content_of_the_same_size(tmp_path):
    for text in (b"aaaa", b"bbbb"):
        path = write(tmp_path / "t.parquet", {"image": [text] * 9, "name": [text.decode()] * 9})
        dataset = ParquetPhotos(path)
        assert (dataset[3].data, dataset.name(3)) == (text, text.decode())
