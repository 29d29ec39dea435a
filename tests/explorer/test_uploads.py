"""Photos that a browser sends: bounded, decoded, addressed by their content."""

import io
import struct
import zlib

import pytest
from PIL import Image

from convlens.explorer import photo_store
from convlens.explorer.photo_store import LARGEST_FILE, LARGEST_PHOTO, PhotoStore, receive_photo

pytest_plugins = ("support.explorers",)


def png(color="red", size=(9, 7)):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def png_header(side=60_000):
    """A PNG file that says that it has side × side pixels, and has none."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_sent_photo_has_a_page(explorer):
    before = len(explorer.session.photos)
    answers = [explorer.client.post("/photos", content=png("blue")) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    address = answers[0].json()["address"]
    assert answers[1].json()["address"] == address  # equal content is one photo
    assert len(explorer.session.photos) == before + 1
    assert 'id="photo-frame"' in explorer.get(address)
    assert address in explorer.get("/")
    file = explorer.client.get(f"{address}/file")
    assert file.content == png("blue")
    assert file.headers["content-disposition"].startswith("attachment")


def test_the_content_of_a_file_that_is_known_leads_to_its_page(explorer):
    answer = explorer.client.post("/photos", content=explorer.paths[0].read_bytes())
    key = next(photo.key for photo in explorer.session.photos if photo.path == explorer.paths[0])
    assert answer.json()["address"] == f"/photo/{key}"


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"", "empty"), (b"no photo", "not an image"), (png()[:50], "damaged"),
     (b"GIF89a" + bytes(20), "photo"), (png_header(), "pixels")],
)  # fmt: skip
def test_what_is_no_photo_is_refused(explorer, data, says):
    before = len(explorer.session.photos)
    answer = explorer.client.post("/photos", content=data)
    assert answer.status_code == 422
    assert says in answer.json()["error"]
    assert len(explorer.session.photos) == before


def test_too_many_bytes_are_refused_before_they_are_read(explorer):
    headers = {"content-length": str(LARGEST_FILE + 1)}
    assert explorer.client.post("/photos", content=b"x", headers=headers).status_code == 413

    def chunks():
        for _ in range(LARGEST_FILE // 2**20 + 1):
            yield bytes(2**20)

    assert explorer.client.post("/photos", content=chunks()).status_code == 413


def test_the_limit_of_pixels(monkeypatch):
    monkeypatch.setattr(photo_store, "LARGEST_PHOTO", 62)
    with pytest.raises(photo_store.PhotoError, match="9 × 7 pixels, more than 62"):
        receive_photo(png())
    assert LARGEST_PHOTO == 50_000_000


def test_pixels_are_counted_before_any_are_decoded():
    with pytest.raises(photo_store.PhotoError, match="8,000 × 8,000 pixels, more than 50,000,000"):
        receive_photo(png_header(8_000))


def test_the_oldest_sent_photos_make_room(monkeypatch):
    store = PhotoStore([])
    photos = [receive_photo(png(color)) for color in ("red", "green", "blue")]
    monkeypatch.setattr(photo_store, "_LARGEST_STORE", len(photos[0].data) * 2 + 5)
    for photo in photos:
        store.add(photo)
    assert [photo.key for photo in store] == [photos[2].key, photos[1].key]
