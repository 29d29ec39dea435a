"""Atomic writes of files and folders."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from convlens.errors import ConvlensError
from convlens.files import atomic_file, atomic_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestAtomicFile:
    def test_replaces_only_at_the_end(self, tmp_path):
        target = tmp_path / "page.html"
        target.write_text("old")
        with atomic_file(target) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".html"
            temporary.write_text("new")
            assert target.read_text() == "old"
        assert target.read_text() == "new"
        assert names(tmp_path) == ["page.html"]

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
    def test_a_failure_leaves_what_was(self, tmp_path, failure):
        target = tmp_path / "page.html"
        target.write_text("old")
        with pytest.raises(failure), atomic_file(target) as temporary:
            temporary.write_text("half")
            raise failure
        assert target.read_text() == "old"
        assert names(tmp_path) == ["page.html"]

    def test_full_disk(self, tmp_path):
        with (
            pytest.raises(ConvlensError, match=r"a\.png: No space left on device; choose"),
            atomic_file(tmp_path / "a.png") as temporary,
        ):
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert names(tmp_path) == []

    def test_places_where_no_file_can_be(self, tmp_path):
        (tmp_path / "file").touch()
        for path, words in [
            (tmp_path, "a folder; give the name of a file"),
            (tmp_path / "file" / "a.png", "file is a file; give another place"),
            (tmp_path / ("x" * 300), "File name too long"),
            ("/dev/null", "no ordinary file"),
        ]:
            with pytest.raises(ConvlensError, match=words), atomic_file(path) as temporary:
                temporary.write_text("x")
        assert not Path("/dev/null").is_file()

    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "file")
        with atomic_file(tmp_path / "link") as temporary:
            temporary.write_text("new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_text() == "new"


class TestAtomicFolder:
    @pytest.mark.parametrize("name", ["notes.txt", "deep/er/IMG_1.JPG", "run.ipynb"])
    def test_what_somebody_put_there_is_not_lost(self, tmp_path, name):
        target = tmp_path / "result"
        with atomic_folder(target, marker="data") as temporary:
            (temporary / "data").write_text("old")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("mine")
        with (
            pytest.raises(ConvlensError, match=f"holds {name}, which convlens does not write"),
            atomic_folder(target, marker="data"),
        ):
            pytest.fail("work was done")
        assert (target / name).read_text() == "mine"
        assert (target / "data").read_text() == "old"

    def test_new_empty_and_earlier_ones(self, tmp_path):
        target = tmp_path / "result"
        for word in ("one", "two"):
            with atomic_folder(target, marker="data") as temporary:
                (temporary / "data").write_text(word)
                (temporary / f"{word}.png").touch()
            assert names(target) == sorted(["data", f"{word}.png"])
        (tmp_path / "empty").mkdir()
        with atomic_folder(tmp_path / "empty", marker="data") as temporary:
            (temporary / "data").touch()
        assert names(tmp_path / "empty") == ["data"]
        assert names(tmp_path) == ["empty", "result"]

    def test_a_failure_leaves_what_was(self, tmp_path):
        target = tmp_path / "result"
        target.mkdir()
        (target / "data").write_text("old")
        with pytest.raises(ValueError), atomic_folder(target, marker="data") as temporary:
            (temporary / "data").write_text("half")
            raise ValueError
        assert (target / "data").read_text() == "old"
        assert names(tmp_path) == ["result"]

    def test_the_rename_fails(self, tmp_path, monkeypatch):
        target = tmp_path / "result"
        target.mkdir()
        (target / "data").write_text("old")
        rename = type(target).rename

        def failing(path, to):
            if (path / "new").exists():
                raise OSError(errno.ENOSPC, "full")
            return rename(path, to)

        monkeypatch.setattr(type(target), "rename", failing)
        with (
            pytest.raises(ConvlensError, match="No space left"),
            atomic_folder(target, marker="data") as temporary,
        ):
            (temporary / "new").touch()
        assert (target / "data").read_text() == "old"
        assert names(tmp_path) == ["result"]

    def test_other_folders_are_refused(self, tmp_path):
        photos = tmp_path / "photos"
        photos.mkdir()
        (photos / "a.jpg").touch()
        for path, words in [
            (photos, "other files and no data"),
            (photos / "a.jpg", "is a file"),
            (photos / "a.jpg" / "result", "a.jpg is a file; give another place"),
            (photos / ("x" * 300), "File name too long"),
        ]:
            with pytest.raises(ConvlensError, match=words), atomic_folder(path, marker="data"):
                pytest.fail("the block must not run")
        assert names(photos) == ["a.jpg"]
        assert names(tmp_path) == ["photos"]


def test_folders_above_are_made_and_left_only_where_something_is_written(tmp_path):
    for failing in (True, False):
        with contextlib.suppress(ZeroDivisionError), atomic_file(tmp_path / "a" / "b.txt") as path:
            path.write_text(str(1 / (0 if failing else 1)))
        assert (tmp_path / "a" / "b.txt").exists() is not failing
        deep = tmp_path / "c" / "d" / "e"
        with contextlib.suppress(ZeroDivisionError), atomic_folder(deep, marker="m") as folder:
            (folder / "m").write_text(str(1 / (0 if failing else 1)))
        assert (tmp_path / "c" / "d" / "e" / "m").exists() is not failing
        if failing:
            assert list(tmp_path.iterdir()) == []
