"""The sections of a page share the photos that they prepare in the same way."""

from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest

from convlens.data.photo_decoder import PhotoDecoder
from convlens.data.photos import PhotoLike
from convlens.page import sections
from convlens.page.report import report
from support.pages import tiny

pytest_plugins = "support.pages"
pytestmark = pytest.mark.usefixtures("less_work")


def test_each_photo_is_decoded_once_for_each_preprocessing(
    tmp_path: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "SECTIONS", ("robustness", "channels"))
    decoded: Counter[tuple[str, PhotoDecoder]] = Counter()
    decode = PhotoDecoder._decode

    def count(decoder: PhotoDecoder, photo: PhotoLike) -> object:
        if isinstance(photo, (str, Path)):
            decoded[str(photo), decoder] += 1
        return decode(decoder, photo)

    with patch.object(PhotoDecoder, "_decode", count):
        report(tiny(), photos, out=tmp_path / "page")
    assert {path for path, _ in decoded} == set(map(str, photos))
    assert set(decoded.values()) == {1}
