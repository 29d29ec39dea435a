"""Files are opened and hashed when they are first needed, and not before."""

from pathlib import Path

import pytest

import convlens
from convlens.explorer import photo_store
from convlens.explorer.photo_store import PhotoStore
from support.explorers import run, save_photos, small_model

MANY = 30  # more than one page of the start page


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that were hashed."""
    names: list[str] = []
    original = photo_store._hash_file

    def hash_and_note(path: Path) -> str:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(photo_store, "_hash_file", hash_and_note)
    return names


def test_a_page_opens_the_files_that_it_shows(tmp_path, opened):
    paths = save_photos(tmp_path, MANY)
    running = run(small_model(), paths)
    assert opened == []
    assert "page 1 of 2, 30 photos" in running.get("/")
    assert opened == [path.name for path in paths[:24]]
    running.get("/search.json")
    assert len(opened) == 24
    assert paths[-1].name in running.get("/?page=2")
    assert opened == [path.name for path in paths]
    running.session.worker.close()


def test_the_search_leads_to_a_file_that_was_not_opened(tmp_path, opened):
    paths = save_photos(tmp_path, MANY)
    running = run(small_model(), paths)
    found = dict(running.client.get("/search.json").json()["photos"])
    assert found["29.png"] == "/photos/29"
    answer = running.client.get(found["29.png"])
    assert opened == ["29.png"]
    key = running.session.photos.find_path(str(paths[29])).key
    assert (answer.status_code, answer.headers["location"]) == (303, f"/photo/{key}")
    assert "29.png" in running.get(f"/photo/{key}")
    found = dict(running.client.get("/search.json").json()["photos"])
    assert found["29.png"] == f"/photo/{key}"
    assert running.client.get("/photos/30").status_code == 404
    running.session.worker.close()


def test_an_address_of_an_earlier_explorer_finds_its_photo(tmp_path):
    paths = save_photos(tmp_path, 5)
    key = next(photo.key for photo in PhotoStore(paths) if photo.path == paths[4])
    assert PhotoStore(paths).find(key).path == paths[4]
    with pytest.raises(convlens.ConvlensError, match="no photo at this address"):
        PhotoStore(paths).find("0" * 12)


def test_equal_and_unreadable_files_are_counted_once_they_are_opened(tmp_path):
    paths = save_photos(tmp_path, 4)
    paths[3].write_bytes(paths[1].read_bytes())
    paths[2].write_text("no photo")
    store = PhotoStore([*paths, paths[0]], [None, (1,), (2,), (3,), None])
    assert (len(store), store.num_labeled, store.skipped) == (5, 3, [])
    # The last file is opened before the one of equal content.
    assert store.find_number(3).path == paths[3]
    assert [photo.path for photo in store] == [paths[0], paths[3]]
    assert (len(store), len(store.skipped)) == (2, 1)
    assert store.find_path(str(paths[1])) is store.find_number(3)
    assert [photo.path for photo in store.labeled(9)] == [paths[3]]
    with pytest.raises(convlens.ConvlensError, match="can be read"):
        store.find_number(2)
