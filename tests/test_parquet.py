"""Photos out of Parquet: the tables that pyarrow writes here give what the same files give."""

import csv
import json
import math
import pickle
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens import ConvlensError, ParquetPhotos, PhotoError, wrap
from convlens.albums import Album, parquet
from convlens.albums.pieces import Pieces
from convlens.albums.shelf import Shelf
from convlens.cli import main
from convlens.photos import Encoded
from convlens.sweep.source import Photos
from convlens.views.saliency.boxes import Box

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


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    """Nothing at hand from another test."""
    monkeypatch.setattr(parquet, "_photos", Shelf(64 << 20))
    monkeypatch.setattr(parquet, "_names", Shelf(16 << 20))
    monkeypatch.setattr(parquet, "_large", Shelf(0))


@pytest.fixture
def files(tmp_path):
    """Photos as files, in the order of their paths; the fifth is damaged."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    found = []
    for number in range(COUNT):
        path = folder / f"{number:02d}.png"
        pixels = generator.integers(0, 256, (40, 36 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        found.append(path)
    found[5].write_bytes(found[5].read_bytes()[:200])
    return found


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


def data(found):
    return found.data if isinstance(found, Encoded) else found.read_bytes()


# what is in the tables


def test_photos_and_names_are_those_of_the_files(files, tables):
    album = ParquetPhotos(tables)
    assert isinstance(album, Album) and len(album) == COUNT
    for number in np.random.default_rng(1).permutation(COUNT).tolist():
        assert data(album[number]) == files[number].read_bytes()
        assert Path(album.name(number)).name == files[number].name
        if isinstance(album[number], Encoded):
            assert album[number].name == album.name(number)
        else:
            assert album[number].is_absolute()
    with pytest.raises(IndexError):
        album[COUNT]
    with pytest.raises(IndexError):
        album.name(-1)


def test_files_are_taken_in_the_order_of_their_paths(files, tmp_path):
    for name, photo in (("b", 0), ("a", 1), ("sub/c", 2), (".hidden", 3), ("d.txt", 3)):
        ending = "" if name == "d.txt" else ".parquet"
        write(tmp_path / "t" / f"{name}{ending}", KINDS["binary"]([files[photo]]))
    folder = tmp_path / "t"
    write(folder / "odd", KINDS["binary"]([files[4]]))

    def names(*given):
        album = ParquetPhotos(*given)
        return [album.name(number) for number in range(len(album))]

    assert names(folder) == ["01.png", "00.png", "02.png"]
    assert names(str(folder / "*.parquet")) == ["01.png", "00.png"]
    assert names([folder / "sub", folder / "b.parquet", folder]) == names(folder)
    assert names([folder / "odd", folder / "a.parquet"]) == ["01.png", "04.png"]


def test_names_without_a_column_of_names(files, tmp_path):
    photos = [path.read_bytes() for path in files[:3]]
    write(tmp_path / "x" / "train.parquet", {"image": photos}, 2)
    write(tmp_path / "x" / "val.parquet", {"image": photos[:1]}, 2)
    album = ParquetPhotos(tmp_path / "x")
    names = [album.name(number) for number in range(4)]
    assert names == ["train-000000", "train-000001", "train-000002", "val-000000"]
    assert [album[number].name for number in range(4)] == names


def test_names_that_no_folder_can_have(files, tmp_path):
    told = ["..", "a/..", "", None, ".hidden", "two\nlines", "x" * 201, "a/b/ok.png", "nul\0"]
    photos = [files[0].read_bytes()] * len(told)
    album = ParquetPhotos(write(tmp_path / "t.parquet", {"image": photos, "name": told}))
    for number, one in enumerate(told):
        wanted = one if one == "a/b/ok.png" else f"t-{number:06d}"
        assert album.name(number) == album[number].name == wanted
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")]
    )
    path = write(tmp_path / "u.parquet", {"image": photos[:1], "name": broken})
    assert ParquetPhotos(path).name(0) == ParquetPhotos(path)[0].name == "u-000000"


def test_which_column(files, tmp_path):
    one, text = [files[0].read_bytes()], ["x"]
    for number, (columns, chosen) in enumerate(
        (
            ({"pixels": one, "label": [3]}, "pixels"),
            ({"pixels": one, "path": text, "caption": text}, "pixels"),
            ({"mask": one, "image": one}, "image"),
            ({"caption": text, "filename": text}, "filename"),
            ({"caption": text, "img": struct(files[:1])}, "img"),
            ({"a.b": one}, "a.b"),
        )
    ):
        path = write(tmp_path / f"{number}.parquet", columns)
        assert ParquetPhotos(path).column == chosen
    album = ParquetPhotos(tmp_path / "2.parquet", column="mask")
    assert album.column == "mask" and album[0].data == one[0]
    assert data(ParquetPhotos(tmp_path / "5.parquet")[0]) == one[0]


@pytest.mark.parametrize(
    ("columns", "wanted", "words"),
    [
        ({"x": [1.0], "label": [2]}, None, r"no column with photos .*: x \(double\), label \(int"),
        ({"a": [b"1"], "b": [b"2"]}, None, "several columns that may hold photos; .* a, b$"),
        ({"image": [b"1"]}, "imag", "no column 'imag'; nearest: image"),
        ({"image": [b"1"], "label": [2]}, "label", "column 'label' of .* holds int64; photos are"),
        ({"image": [{"width": 3}]}, None, r"no column with photos .*: image \(struct\)"),
    ],
)
def test_wrong_columns(tmp_path, columns, wanted, words):
    path = write(tmp_path / "t.parquet", columns)
    with pytest.raises(ConvlensError, match=words) as caught:
        ParquetPhotos(path, wanted)
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


def test_without_pyarrow(tmp_path, monkeypatch):
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
    found = Photos(network, ParquetPhotos(plain)).portable().decode(0, 4)
    assert found.ids == [0, 1, 3]
    assert re.match("plain-000002 is null in column image of .*plain.parquet", found.skipped[2])
    batch = next(Photos(network, ParquetPhotos(nested)).batches([(0, 7)]))
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
    found = Photos(model(), ParquetPhotos(path)).portable().decode(0, 10)
    assert found.ids == [0, 1, 2, 3, 8, 9]
    assert all(
        f"t-{n:06d} cannot be read: {path} is damaged (" in found.skipped[n] for n in range(4, 8)
    )
    assert not any("\n" in reason for reason in found.skipped.values())
    assert ParquetPhotos(path).name(5) == "t-000005"


def test_a_file_that_changes_meanwhile_is_not_mixed_up(files, tmp_path):
    path = write(tmp_path / "t.parquet", KINDS["binary"](files[10:20]))
    album = ParquetPhotos(path)
    assert album[0].data == files[10].read_bytes()
    write(path, KINDS["binary"](files[:4]))
    with pytest.raises(PhotoError, match=r"t-000009 cannot be read: .* has changed"):
        album[9]


def test_a_new_album_sees_new_content_of_the_same_size(tmp_path):
    for text in (b"aaaa", b"bbbb"):
        path = write(tmp_path / "t.parquet", {"image": [text] * 9, "name": [text.decode()] * 9})
        album = ParquetPhotos(path)
        assert (album[3].data, album.name(3)) == (text, text.decode())


# how it is read


@pytest.fixture
def reads(monkeypatch):
    """Row groups and columns as they are read."""
    found = []
    real = pq.ParquetFile.read_row_group

    def read(self, number, columns=None, **options):
        found.append((number, tuple(columns)))
        return real(self, number, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read)
    return found


def test_a_row_group_is_read_once_in_a_row(files, tmp_path, reads, monkeypatch):
    monkeypatch.setattr(parquet, "_photos", Shelf(0))  # the two used last stay all the same
    photos = files[6:] * 3
    path = write(tmp_path / "t.parquet", KINDS["binary"](photos), 7)
    source = Photos(model(), ParquetPhotos(path))
    groups = -(-len(photos) // 7)
    spans = [(start, min(start + 4, len(photos))) for start in range(0, len(photos), 4)]
    assert sum(len(batch.ids) for batch in source.batches(spans)) == len(photos)
    assert [number for number, _ in sorted(reads)] == list(range(groups))
    assert {columns for _, columns in reads} == {("image", "file")}


@pytest.mark.parametrize("kind", ["binary", "struct", "paths"])
def test_a_large_row_group_is_read_in_pieces(files, tmp_path, reads, monkeypatch, kind):
    photos = files[6:] * 3
    path = write(tmp_path / "tables" / "t.parquet", KINDS[kind](photos), 1000, use_dictionary=False)
    monkeypatch.setattr(parquet, "_photos", Shelf(0))
    monkeypatch.setattr(parquet, "_PIECE", path.stat().st_size // 9)
    opened = []
    real = pq.ParquetFile.iter_batches

    def iterate(self, size, **options):
        opened.append(size)
        for batch in real(self, size, **options):
            assert len(batch) <= size
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iterate)
    album = ParquetPhotos(path)
    source = Photos(model(), album)
    spans = [(start, min(start + 4, len(photos))) for start in range(0, len(photos), 4)]
    assert sum(len(batch.ids) for batch in source.batches(spans)) == len(photos)
    assert len(opened) == 1 and 2 <= opened[0] <= 7
    for number in np.random.default_rng(1).permutation(len(photos)).tolist():
        assert data(album[number]) == photos[number].read_bytes()
    assert reads == []


def test_names_are_had_without_the_bytes(files, tables, reads):
    album = ParquetPhotos(tables)
    reads.clear()
    names = [album.name(number) for number in range(COUNT)]
    first = album.marks()
    assert [mark.split(" ")[0] for mark in first] == names
    assert len(reads) == 3 + 1 + 3
    for _, columns in reads:
        assert len(columns) == 1 and columns[0] not in ("image", "photo bytes", "img.bytes")


def test_only_what_is_needed_of_a_struct(files, tmp_path, reads):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string()), ("more", pa.binary())])
    rows = [{"bytes": files[0].read_bytes(), "path": "a.png", "more": b"x" * 99}]
    album = ParquetPhotos(write(tmp_path / "t.parquet", {"image": pa.array(rows, kind)}))
    assert album[0].name == "a.png"
    assert reads == [(0, ("image.bytes", "image.path"))]


def test_it_is_small_when_it_is_sent(files, tables, tmp_path, monkeypatch):
    album = ParquetPhotos(tables)
    wanted = [data(album[number]) for number in range(COUNT)]
    sent = pickle.dumps(album)
    assert len(sent) < 3000 < sum(map(len, wanted))
    monkeypatch.setattr(parquet, "_photos", Shelf(64 << 20))
    monkeypatch.chdir("/")
    got = pickle.loads(sent)
    assert [data(got[number]) for number in range(COUNT)] == wanted
    assert got.marks() == album.marks()


def test_relative_files_are_found_from_elsewhere(files, tables, monkeypatch):
    monkeypatch.chdir(tables.parent)
    album = ParquetPhotos("tables")
    marks = album.marks()
    got = pickle.loads(pickle.dumps(album))
    monkeypatch.chdir("/")
    assert data(got[7]) == files[7].read_bytes()
    assert got.marks() == marks


class TestPieces:
    def test_read_on_or_from_the_front(self):
        begun = []

        def read():
            begun.append(1)
            yield from "abcdefgh"

        pieces = Pieces(read)
        for number, count in ((0, 1), (1, 1), (4, 1), (3, 1), (4, 1), (5, 1), (2, 2), (7, 2)):
            assert (pieces[number], len(begun)) == ("abcdefgh"[number], count)
        with pytest.raises(IndexError):
            pieces[8]
        assert pieces[0] == "a"

    def test_after_an_error_it_begins_anew(self):
        errors = [PhotoError, None]

        def read():
            yield "a"
            if error := errors.pop(0):
                raise error
            yield "b"

        pieces = Pieces(read)
        with pytest.raises(PhotoError):
            pieces[1]
        assert pieces[1] == "b"


class TestShelf:
    def test_made_once_for_many_threads(self):
        made, gate = [], threading.Barrier(8)
        shelf = Shelf(100)

        def ask(_):
            gate.wait()
            return shelf.get("a", lambda: (made.append(1) or "thing", 10))

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == ["thing"] * 8
        assert made == [1]

    @pytest.mark.parametrize(("most", "kept"), [(100, "efg"), (29, "fg"), (1000, "abcdefg")])
    def test_what_was_used_last_is_kept_within_the_limit(self, most, kept):
        shelf, made = Shelf(most), []
        for key in "abcdefg":
            shelf.get(key, lambda key=key: (key, 30))
        for key in kept:
            shelf.get(key, lambda key=key: (made.append(key), 30))
        assert made == []
        shelf.get("new", lambda: (made.append("new"), 1))
        shelf.get("b", lambda: (made.append("b"), 30))
        assert made == (["new"] if most == 1000 else ["new", "b"])

    def test_what_is_asked_for_again_counts_as_used(self):
        shelf, made = Shelf(90), []
        for key in "abcad":
            shelf.get(key, lambda key=key: (made.append(key), 30))
        shelf.get("a", lambda: (made.append("again"), 30))
        assert made == ["a", "b", "c", "d"]

    def test_an_interrupt_is_not_kept_but_an_error_is(self):
        shelf, calls = Shelf(100), []

        def fails(error):
            calls.append(error)
            raise error

        for error in (KeyboardInterrupt, PhotoError, ValueError):
            for _ in range(2):
                with pytest.raises(PhotoError if PhotoError in calls else error):
                    shelf.get("a", lambda error=error: fails(error))
        assert calls == [KeyboardInterrupt, KeyboardInterrupt, PhotoError]
        assert shelf.get("b", lambda: ("thing", 1)) == "thing"


# the same results


LABELS = [(number % 3,) if number % 7 else None for number in range(COUNT)]


def equal(found, wanted):
    """Equal in all bits, but for where photos are named."""
    assert type(found) is type(wanted)
    here, there = found.__dict__, wanted.__dict__
    for name in here.keys() - {"photos", "skipped", "folder"}:
        same(here[name], there[name])


def same(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one.nan_to_num(-7), other.nan_to_num(-7)) and one.dtype == other.dtype
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif hasattr(one, "__dict__"):
        equal(one, other)
    elif isinstance(one, float):
        assert one == other or (math.isnan(one) and math.isnan(other))
    else:
        assert one == other or Path(str(one)).name == Path(str(other)).name


def test_patches_with_labels(files, tables):
    options = {"labels": LABELS, "top": 4, "show": 3, "batch": 6}
    wanted = convlens.patches(model(), files, **options)
    found = convlens.patches(model(), ParquetPhotos(tables), **options)
    assert found.layers[0].selectivity.numel() and found.seen == COUNT - 1
    assert [Path(one).name for one in found.photos] == [path.name for path in files]
    assert len(found.skipped) == 1 and "05.png is truncated" in found.skipped[0]
    equal(found, wanted)


def test_fragility_shift_and_invariance(files, tables):
    album = ParquetPhotos(tables)
    options = {"labels": LABELS, "batch": 5}
    for look, more in (
        (convlens.fragility, {"epsilons": ["4/255"], "steps": 2}),
        (convlens.shift, {"every": 0, "shifts": [1]}),
        (convlens.invariance, {"layer": "3", "top": 2}),
    ):
        wanted = look(model(), files, **more, **options)
        found = look(model(), album, **more, **options)
        equal(found, wanted)
        assert len(found.skipped) == 1 and "05.png" in found.skipped[0]


def test_gradcams_with_boxes(files, tables, tmp_path):
    boxes = {
        f"{number:02d}.png": (Box((number % 4,), 3.0, 5.0, 20.0 + number, 30.0),)
        for number in (1, 2, 9, 10, 20)
    }
    options = {"boxes": boxes, "batch": 6, "randomise": 2}
    wanted = convlens.gradcams(model(), files, out=tmp_path / "a", **options)
    found = convlens.gradcams(model(), ParquetPhotos(tables), out=tmp_path / "b", **options)
    assert found.photos == wanted.photos
    assert found.pointing == wanted.pointing and found.pointing[0] == 5
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*"))
    assert names == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*"))
    for name in names:
        if (tmp_path / "a" / name).is_file() and name.name != "numbers.json":
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    here, there = (json.loads((tmp_path / x / "numbers.json").read_text()) for x in "ab")
    assert here["photos"] == there["photos"]
    assert [Path(one).name for one in there["skipped"]] == ["05.png"]


# a pass that goes on


@pytest.mark.parametrize("kind", ["binary", "struct", "paths", "pointing"])
def test_resume_refuses_what_has_changed(files, tmp_path, kind):
    path = write(tmp_path / "tables" / "t.parquet", KINDS[kind](files))
    kept = tmp_path / "kept"

    def run(stop=None):
        def progress(stage, done, total):
            if stop is not None and stage == "photos" and done >= stop:
                raise RuntimeError("killed")

        return convlens.patches(
            model(), ParquetPhotos(path), folder=kept, batch=4, save_every=0.0, progress=progress
        )

    with pytest.raises(RuntimeError, match="killed"):
        run(12)
    assert (kept / "manifest.json").is_file()
    if kind in ("paths", "pointing"):
        whole = files[3].read_bytes()
        Image.new("RGB", (40, 40)).save(files[3])
        with pytest.raises(ConvlensError, match=r"data set changed .*03.png is another file now"):
            run()
        files[3].write_bytes(whole)
    write(path, KINDS[kind](files[:-1]))
    with pytest.raises(ConvlensError, match=r"data set changed .*23 images then, 22 now"):
        run()
    write(path, KINDS[kind]([*files[:-1], files[0]]), rows=3)
    with pytest.raises(ConvlensError, match=r"data set changed .*is another file now"):
        run()


def test_another_column_is_another_data_set(files, tmp_path):
    photos = [path.read_bytes() for path in files]
    path = write(tmp_path / "t.parquet", {"image": photos, "mask": photos[::-1]})
    marks = [ParquetPhotos(path, column).marks() for column in ("image", "mask")]
    assert all(one != other for one, other in zip(*marks, strict=True))


# the command line


TINY = """
import torch
from torch import nn
import convlens


def tiny():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )
    return convlens.wrap(network, size=32, labels=["ant", "bee", "cat", "dog"])
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TINY)
    return tmp_path


@pytest.fixture
def run(here, monkeypatch, capsys):
    def command(*arguments, status=0):
        words = ["convlens", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == status, err
        return out, err

    return command


def commands(here):
    with (here / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class"])
        writer.writerows((f"{number:02d}.png", ["ant", "bee"][number % 2]) for number in range(22))
    with (here / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "left", "top", "right", "bottom"])
        writer.writerow(["03.png", "cat", 2, 2, 30, 30])
    labels = ("--labels", "labels.csv")
    return {
        "patches": (*labels, "--show", 2),
        "gradcam": ("--boxes", "boxes.csv"),
        "fgsm": (*labels, "--epsilon", "4/255", "--pgd", 0, "--show", 3),
        "shift": labels,
        "grandmothers": labels,
    }


@pytest.mark.parametrize("command", ["patches", "gradcam", "fgsm", "shift", "grandmothers"])
def test_commands_give_what_they_give_for_files(run, here, files, command):
    write(here / "tables" / "1.parquet", {"image": struct(files[:9]), "other": struct(files[:9])})
    write(
        here / "tables" / "2.parquet", {"image": struct(files[9:]), "other": struct(files[9:])}, 5
    )
    options = (*commands(here)[command], "--model", "python:mine.py:tiny", "--json", "--quiet")
    wanted, _ = run(command, "photos", "--out", "a", *options)
    found, _ = run(command, "tables/*.parquet", "--out", "b", "--column", "other", *options)
    (here / "list.txt").write_text("\n".join(f"photos/{path.name}" for path in files))
    listed, _ = run(command, "list.txt", "--out", "c", *options)
    numbers = [plainly(json.loads(text)) for text in (wanted, found, listed)]
    assert numbers[0] == numbers[1] == numbers[2]
    names = {sorted_files(here / out) for out in "abc"}
    assert len(names) == 1
    if command == "fgsm":
        assert {"00.png", "07.png", "15.png", "curve"} <= {
            Path(one).parts[0] for one in names.pop()
        }


def sorted_files(folder):
    return tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))


def plainly(value):
    """Without folders in front of photos' names."""
    if isinstance(value, dict):
        return {Path(key).name: plainly(one) for key, one in value.items() if key != "folder"}
    if isinstance(value, list):
        return [plainly(one) for one in value]
    if isinstance(value, str) and ".png" in value:
        return re.sub(r"\S*/(?=\d\d\.png)", "", value)
    return value


def test_errors_of_the_command_line(run, here, files):
    write(here / "mixed" / "1.parquet", KINDS["struct"](files[:2]))
    (here / "mixed" / "a.png").write_bytes(files[0].read_bytes())
    tiny = ("--model", "python:mine.py:tiny", "--quiet")
    readers = "which patches, gradcam, fgsm, shift and grandmothers read"
    for arguments, words in (
        (("patches", "mixed", *tiny), "is a Parquet file and mixed/a.png is not; give one"),
        (("fgsm", "mixed/1.parquet", "photos", *tiny), "a Parquet file and photos/00.png is not"),
        (("shift", "photos", "--column", "x", *tiny), "--column x is of Parquet files, and none"),
        (("gradcam", "mixed/1.parquet", "--column", "x", *tiny), "has no column 'x': img (struct)"),
        (("report", "mixed/1.parquet", *tiny), readers),
        (("doctor", "mixed/1.parquet", *tiny), readers),
        (("cortex", "mixed/1.parquet"), readers),
        (("patches", "none.parquet", *tiny), "none.parquet does not exist"),
    ):  # fmt: skip
        _, err = run(*arguments, status=2)
        assert err.count("\n") == 1 and words in err, err
