"""Folders and globs of photos: links, results of convlens, and Unicode forms of names."""

import os
import unicodedata

import pytest
from PIL import Image

from convlens.data.photo_files import find_photos
from convlens.data.photo_names import describe_unmatched, find_key, find_keys, table_key
from convlens.data.photos import read_photos
from convlens.errors import ConvlensError
from convlens.files import atomic_folder, holds_results
from convlens.results import Result
from convlens.training.data.class_folders import read_class_folders

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Müller.png") for form in ("NFC", "NFD"))


def save(*paths):
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)


def relative(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


@pytest.fixture
def left_out():
    return []


@pytest.fixture
def find(tmp_path, left_out):
    """Find photos below the working folder: their paths relative to it."""

    def run(*arguments, **options):
        photos = find_photos(
            [tmp_path / name for name in arguments], notify=left_out.append, **options
        )
        return relative(photos, tmp_path)

    return run


class TestLinks:
    def test_folders_behind_links_are_searched_once(self, tmp_path, find, left_out):
        save(tmp_path / "data/cat/c.png", tmp_path / "pool/dog/d.png", tmp_path / "pool/dog/e.png")
        (tmp_path / "data/dog").symlink_to(tmp_path / "pool/dog")
        (tmp_path / "data/again").symlink_to(tmp_path / "pool/dog")
        (tmp_path / "data/a-cat").symlink_to("cat")  # is searched under its own name
        (tmp_path / "data/cat/loop").symlink_to(tmp_path / "data")
        expected = ["data/again/d.png", "data/again/e.png", "data/cat/c.png"]
        assert find("data") == expected
        assert find("data/**/*.png") == expected
        assert left_out == []

    def test_many_loops_take_no_time(self, tmp_path, find):
        save(tmp_path / "a/b/c.png")
        for name in "xyz":
            (tmp_path / "a" / name).symlink_to(tmp_path)
            (tmp_path / "a/b" / name).symlink_to(tmp_path / "a")
        assert find("a/**/c.png") == ["a/b/c.png"]

    def test_broken_links_are_named(self, tmp_path, find, left_out):
        save(tmp_path / "data/a.png")
        (tmp_path / "data/b.png").symlink_to("nowhere.png")
        (tmp_path / "data/c.png").symlink_to("c.png")
        (tmp_path / "data/dog").symlink_to("pool/dog")
        (tmp_path / "data/notes.md").symlink_to("nowhere.md")
        assert find("data") == ["data/a.png", "data/b.png", "data/c.png"]
        assert left_out == [f"{tmp_path}/data/dog is a link to pool/dog, which does not exist"]
        photos, skipped = read_photos(find_photos([tmp_path / "data"]))
        assert len(photos) == 1
        assert [photo.reason.removeprefix(f"{tmp_path}/data/") for photo in skipped] == [
            "b.png is a link to nowhere.png, which does not exist",
            "c.png is a link to c.png, which does not exist",
        ]

    @pytest.mark.parametrize("name", ["b.png", "dog"])
    def test_a_broken_link_by_its_name(self, tmp_path, name):
        (tmp_path / name).symlink_to("nowhere")
        with pytest.raises(ConvlensError, match=rf"{name} is a link to nowhere, which does not"):
            read_photos(find_photos([tmp_path / name]))

    def test_a_pipe_is_not_waited_for(self, tmp_path, find):
        save(tmp_path / "a.png")
        os.mkfifo(tmp_path / "b.png")
        assert find("") == ["a.png"]
        with pytest.raises(ConvlensError, match="neither a file nor a folder"):
            find("b.png")
        with pytest.raises(ConvlensError, match="no ordinary file"):
            read_photos([tmp_path / "b.png"])


class TestResults:
    @pytest.fixture(params=["result.json", "numbers.json", "report.json", "manifest.json"])
    def results(self, request, tmp_path):
        """A folder of results beside two photos."""
        save(tmp_path / "a.png", tmp_path / "sub/b.png")
        folder = tmp_path / "sub" / "results"
        start = {
            "result.json": '{\n "format": 2,\n "result": {',
            "numbers.json": '{\n "convlens": {\n  "schema": 1,',
            "report.json": '{\n "convlens": {\n  "schema": 1,',
            "manifest.json": '{\n "format": 2,\n "identity": {',
        }[request.param]
        save(folder / "strip.png", folder / "a.png" / "overlay.png")
        (folder / request.param).write_text(start)
        return folder

    @pytest.mark.parametrize("argument", ["", "**/*.png"])
    def test_results_are_no_photos(self, find, left_out, results, argument):
        assert find(argument) == ["a.png", "sub/b.png"]
        assert left_out == [
            f"2 files in folders of results of convlens, the first {results}/a.png/overlay.png; "
            f"name a file to use it"
        ]

    def test_files_that_are_named_are_used(self, tmp_path, find, left_out, results):
        assert find("", "sub/results/strip.png", out=results)[2:] == ["sub/results/strip.png"]
        assert left_out[0].startswith("1 file in")
        (tmp_path / "list.txt").write_text("sub/results/strip.png\n")
        assert find("list.txt", out=results) == ["sub/results/strip.png"]

    def test_a_folder_with_nothing_but_results(self, find, results):
        for argument in ("sub/results", "sub/results/*.png"):
            with pytest.raises(ConvlensError, match=r"no photos in .* but \d files? that"):
                find(argument)

    def test_the_folder_of_results_to_come(self, tmp_path, find, left_out):
        save(tmp_path / "a.png", tmp_path / "out/old.png", tmp_path / "outside/c.png")
        (tmp_path / "link").symlink_to(tmp_path / "out")
        assert find("", out=tmp_path / "link") == ["a.png", "outside/c.png"]
        assert len(left_out) == 1

    def test_files_of_others_with_these_names(self, tmp_path, find, left_out):
        save(tmp_path / "a.png", tmp_path / "sub/b.png")
        for name in ("result.json", "numbers.json", "report.json", "manifest.json"):
            (tmp_path / "sub" / name).write_text('{"name": "my app", "version": 1}')
        (tmp_path / "result.json").write_bytes(b"\xff\xfe\x00")
        assert find("") == ["a.png", "sub/b.png"]
        assert left_out == []

    def test_what_we_write_is_known(self, tmp_path):
        import dataclasses

        @dataclasses.dataclass(frozen=True, eq=False)
        class Number(Result):
            value: int

        Number(3).save(tmp_path / "number")
        assert holds_results(tmp_path / "number")
        with atomic_folder(tmp_path / "other", marker="m") as folder:
            (folder / "m").touch()
        assert not holds_results(tmp_path / "other")

    def test_results_beside_class_folders_are_no_class(self, tmp_path, results):
        save(tmp_path / "cat/c.png", tmp_path / "dog/d.png", tmp_path / "dog/e.png")
        (results / ".." / "b.png").resolve().unlink()
        results.rename(tmp_path / "convlens-gradcam")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "convlens.json").write_text("{}")
        (tmp_path / "sub").rmdir()
        save(tmp_path / "cat/results/strip.png")
        (tmp_path / "cat/results/result.json").write_text('{"format": 2, "result": {')
        splits, labels, _, left_out = read_class_folders(
            tmp_path, None, lambda *args: None, strict=True
        )
        assert [photo.reason.removeprefix(f"{tmp_path}/") for photo in left_out] == [
            "convlens-gradcam holds results of convlens, and is no class",
            "run holds results of convlens, and is no class",
            f"1 file in folders of results of convlens, the first {tmp_path}/cat/results/strip.png"
            f"; name a file to use it",
        ]
        assert labels == ("cat", "dog")
        assert splits["train"].classes.tolist() == [0, 1, 1]


class TestUnicodeForms:
    @pytest.mark.parametrize(("on_disk", "typed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
    def test_names_meet(self, tmp_path, find, on_disk, typed):
        save(tmp_path / on_disk)
        assert on_disk != typed
        assert find(typed) == [on_disk]
        (tmp_path / "list.txt").write_text(typed, encoding="utf-8")
        assert find("list.txt") == [on_disk]
        table = {table_key(typed, tmp_path): 1}
        assert find_keys([tmp_path / on_disk], table) == list(table)
        assert find_key(tmp_path / on_disk, {typed: 1, "x.png": 2}) in (typed, None)

    def test_two_files_of_one_name_are_told_apart_by_their_folders(self, tmp_path):
        save(tmp_path / "a" / COMPOSED, tmp_path / "b" / DECOMPOSED)
        table = {table_key(f"a/{DECOMPOSED}", tmp_path): 1, table_key(f"b/{COMPOSED}", tmp_path): 2}
        keys = find_keys([tmp_path / "a" / COMPOSED, tmp_path / "b" / DECOMPOSED], table)
        assert [table[key] for key in keys] == [1, 2]

    def test_entries_that_fit_no_photo_are_named(self):
        table = dict.fromkeys(["a.png", "b\n.png", "c.png", "d.png", "e.png"])
        assert describe_unmatched(table, ["a.png", None]) == (
            r"4 of 5 entries fit no photo: b\n.png, c.png, d.png and 1 more"
        )
        assert describe_unmatched(table, list(table)) is None
