"""Photos whose files are written to, or removed, while the explorer runs."""

import hashlib

import pytest
from PIL import Image

import convlens
from convlens.explorer.photo_store import PhotoStore, receive_photo
from support.explorers import read_events, run, save_photos, small_network

STRONGEST = '<data value="{}">'


@pytest.fixture
def running(tmp_path):
    explorer = run(convlens.wrap(small_network(), size=16), save_photos(tmp_path))
    yield explorer
    explorer.session.worker.close()


def repaint(path, color):
    Image.new("RGB", (30, 20), color).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_a_file_that_is_written_to_is_listed_under_its_new_hash(running):
    path, before = running.paths[0], running.keys[0]
    running.get("/")
    after = repaint(path, "red")
    answer = running.client.get(f"/photo/{before}")
    assert (answer.status_code, "has changed" in answer.text) == (404, True)
    confidence = float(convlens.predict(running.session.model, path).confidences[0, 0])
    text = running.get("/")
    assert f'href="/photo/{after}"' in text
    assert f"/photo/{before}" not in text
    assert STRONGEST.format(confidence) in text
    assert STRONGEST.format(confidence) in running.get(f"/photo/{after}")


def test_patches_are_those_of_the_present_files(running):
    model, path = running.session.model, running.paths[0]
    before = running.get("/channel/0/2")
    repaint(path, "white")
    (entry,) = convlens.patches(model, running.paths, layers=["0"], show={"0": [2]})["0"].shown
    text = running.get("/channel/0/2")
    assert text != before
    responses = [value for value in entry.values if value > 0]  # 0 is no response
    assert responses and all(STRONGEST.format(value) in text for value in responses)


def test_content_that_moves_to_another_file_is_shown_once(running):
    first, second = running.paths
    content = first.read_bytes()
    repaint(first, "blue")
    second.write_bytes(content)
    assert {photo.key: photo.path for photo in running.session.photos} == {
        hashlib.sha256(path.read_bytes()).hexdigest()[:12]: path for path in (first, second)
    }
    first.write_bytes(content)
    assert len(list(running.session.photos)) == 1


def test_a_file_that_is_removed_between_two_requests_is_named(running):
    assert len(running.keys) == 2
    running.paths[1].unlink()
    text = running.get("/")
    assert "cannot be read (No such file or directory)" in text
    assert "cat.png" in text
    page = f"/photo/{running.keys[1]}"
    assert running.client.get(page).status_code == 422


def test_a_file_that_is_removed_is_left_out_of_the_findings(running):
    running.get("/")
    running.paths[1].unlink()
    events = read_events(running.get("/findings"))
    parts = [data["html"] for kind, data in events if kind == "part"]
    assert "1 prediction" in parts[1] and "does not exist" not in "".join(parts)


def test_a_sent_photo_of_the_old_content_has_its_own_page(tmp_path):
    (path, _) = save_photos(tmp_path)
    store = PhotoStore([path])
    assert len(list(store)) == 1
    sent = receive_photo(path.read_bytes())
    repaint(path, "green")
    assert store.add(sent) is sent
    assert store.find(sent.key).read().data == sent.data


def test_what_was_written_to_while_a_page_is_made_is_not_shown_under_the_old_hash(tmp_path):
    photo = next(iter(PhotoStore(save_photos(tmp_path))))
    repaint(photo.path, "red")
    with pytest.raises(convlens.PhotoError, match="has changed since its page was made"):
        photo.read()
