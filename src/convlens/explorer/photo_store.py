"""PhotoStore: the photos of an explorer, each under a short hash of its content."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from convlens.data.photo_names import shortest_unique_paths
from convlens.data.photos import EncodedPhoto, PhotoLike, read_photo, read_stored_size
from convlens.errors import ConvlensError, PhotoError
from convlens.text import printable

LARGEST_FILE = 32 * 2**20  # bytes of a photo that a browser sends
LARGEST_PHOTO = 50_000_000  # pixels of it
_LARGEST_STORE = 256 * 2**20  # bytes of all photos that browsers sent
_DIGITS = 12  # of a hash


@dataclass(frozen=True, eq=False)
class StoredPhoto:
    """A photo of the explorer.

    Attributes:
        key: the first digits of the SHA-256 hash of its file, which is its address.
        name: its name, for people.
        path: its file, or None for a photo that a browser sent.
        data: the bytes that a browser sent; empty for a file.
        classes: indices of the right classes, or None where they are not known.
    """

    key: str
    name: str
    path: Path | None
    data: bytes = b""
    classes: tuple[int, ...] | None = None

    @property
    def source(self) -> PhotoLike:
        """What `Model.prepare` takes."""
        return EncodedPhoto(self.data, self.name) if self.path is None else self.path

    @property
    def file_name(self) -> str:
        """The name of its file in commands: the path, or the name under which it is saved."""
        return str(self.path) if self.path is not None else f"photo-{self.key}"


class PhotoStore:
    """The photos that an explorer was given, and those that browsers sent.

    Photos of equal content are one photo. Of the sent ones the oldest are dropped when all together
    take more than 256 MiB.

    Args:
        paths: files.
        classes: for each file the indices of the right classes, or None where they are not known.
            Default: none are known.

    Attributes:
        skipped: why files could not be read, one sentence each.
    """

    def __init__(
        self, paths: Sequence[Path], classes: Sequence[Sequence[int] | None] | None = None
    ) -> None:
        self._files: dict[str, StoredPhoto] = {}
        self._sent: OrderedDict[str, StoredPhoto] = OrderedDict()
        self.skipped: list[str] = []
        labels = classes if classes is not None else [None] * len(paths)
        for path, name, right in zip(paths, shortest_unique_paths(paths), labels, strict=True):
            try:
                with path.open("rb") as file:
                    key = hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
                read_stored_size(path)
            except PhotoError as error:
                self.skipped.append(str(error))
            except OSError as error:
                self.skipped.append(f"{printable(path)} cannot be read ({error.strerror})")
            else:
                known = tuple(right) if right is not None else None
                self._files.setdefault(key, StoredPhoto(key, name, path, b"", known))

    def __iter__(self) -> Iterator[StoredPhoto]:
        """All photos; those that browsers sent come first, the latest of them ahead."""
        yield from reversed(list(self._sent.values()))
        yield from self._files.values()

    def __len__(self) -> int:
        return len(self._files) + len(self._sent)

    @property
    def paths(self) -> list[Path]:
        """The files, without those that browsers sent."""
        return [photo.path for photo in self._files.values() if photo.path is not None]

    def find_path(self, path: str) -> StoredPhoto | None:
        """The photo of a file, by its path; None for another file."""
        by_path = (photo for photo in self._files.values() if str(photo.path) == path)
        return next(by_path, None)

    def find(self, key: str) -> StoredPhoto:
        """The photo with a hash.

        Raises:
            ConvlensError: there is none.
        """
        photo = self._files.get(key) or self._sent.get(key)
        if photo is None:
            raise ConvlensError(
                "there is no photo at this address; it was sent to an earlier server or made room "
                "for others. Drop it on the start page again"
            )
        return photo

    def add(self, photo: StoredPhoto) -> StoredPhoto:
        """Keep a photo that a browser sent, from `receive_photo`.

        Returns:
            The photo, or that of equal content which is known already.
        """
        if photo.key in self._files:
            return self._files[photo.key]
        self._sent[photo.key] = photo
        self._sent.move_to_end(photo.key)
        while sum(len(sent.data) for sent in self._sent.values()) > _LARGEST_STORE:
            self._sent.popitem(last=False)
        return photo


def receive_photo(data: bytes) -> StoredPhoto:
    """Check and decode the bytes that a browser sent.

    Raises:
        PhotoError: no photo, a damaged one, or one with too many bytes or pixels.
    """
    if not data:
        raise PhotoError("the photo is empty; choose another file")
    if len(data) > LARGEST_FILE:
        raise PhotoError(
            f"the photo has {len(data):,} bytes, more than {LARGEST_FILE:,}; save it smaller"
        )
    key = hashlib.sha256(data).hexdigest()[:_DIGITS]
    encoded = EncodedPhoto(data, f"photo {key[:6]}")
    width, height, _ = read_stored_size(encoded)
    if width * height > LARGEST_PHOTO:
        raise PhotoError(
            f"the photo has {width:,} × {height:,} pixels, more than {LARGEST_PHOTO:,}; save it "
            f"smaller"
        )
    read_photo(encoded)
    return StoredPhoto(key, encoded.name, None, data)
