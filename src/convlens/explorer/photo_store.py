"""PhotoStore: the photos of an explorer, each under a short hash of its content."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from convlens.data.photo_names import shortest_unique_paths
from convlens.data.photos import EncodedPhoto, read_header_size, read_photo
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
    def file_name(self) -> str:
        """The name of its file in commands: the path, or the name under which it is saved."""
        return str(self.path) if self.path is not None else f"photo-{self.key}"

    def read(self) -> EncodedPhoto:
        """The content that `key` names.

        Raises:
            PhotoError: the file cannot be read, or holds something else now.
        """
        if self.path is None:
            return EncodedPhoto(self.data, self.name)
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if _hash(data) != self.key:
            raise PhotoError(
                f"{printable(self.path)} has changed since its page was made; open it again from "
                f"the start page"
            )
        return EncodedPhoto(data, self.name)


@dataclass(eq=False)
class _File:
    """A photo that is a file, and what tells that the file was written to."""

    photo: StoredPhoto
    path: Path
    stamp: tuple[int, int, int] | None


@dataclass(frozen=True)
class _FileEntry:
    """A file that the explorer was given, with its name for people and its right classes."""

    path: Path
    name: str
    classes: tuple[int, ...] | None


class PhotoStore:
    """The photos that an explorer was given, and those that browsers sent.

    Files are opened and hashed when they are first needed. Photos of equal content are one photo. A
    file that was written to is listed under the hash of its new content, with its labels, which go
    by its name. Of the sent photos the oldest are dropped when all together take more than 256 MiB.

    Args:
        paths: files.
        classes: for each file the indices of the right classes, or None where they are not known.
            Default: none are known.

    Attributes:
        skipped: why files could not be read, one sentence each, of those that were opened.
    """

    def __init__(
        self, paths: Sequence[Path], classes: Sequence[Sequence[int] | None] | None = None
    ) -> None:
        labels = classes if classes is not None else [None] * len(paths)
        self._entries = [
            _FileEntry(path, name, tuple(right) if right is not None else None)
            for path, name, right in zip(paths, shortest_unique_paths(paths), labels, strict=True)
        ]
        self._numbers: dict[str, int] = {}
        for number, entry in enumerate(self._entries):
            self._numbers.setdefault(str(entry.path), number)
        self._opened: dict[int, _File | None] = {}  # None: it cannot be read
        self._by_key: dict[str, _File] = {}
        self._sent: OrderedDict[str, StoredPhoto] = OrderedDict()
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[StoredPhoto]:
        """All photos; those that browsers sent come first, the latest of them ahead."""
        yield from reversed(list(self._sent.values()))
        yield from self._list_files()

    def __len__(self) -> int:
        """Number of photos; files that were not opened yet count as different ones."""
        different = {id(file) for file in self._opened.values() if file is not None}
        return len(self._entries) - len(self._opened) + len(different) + len(self._sent)

    def first(self, most: int) -> list[StoredPhoto]:
        """The first of all photos.

        Args:
            most: number of photos, at most.
        """
        return list(islice(self, most))

    def files(self, most: int) -> list[StoredPhoto]:
        """The first photos that are files which exist, without those that browsers sent.

        Args:
            most: number of photos, at most.
        """
        files = (photo for photo in self._list_files() if photo.path and photo.path.is_file())
        return list(islice(files, most))

    @property
    def num_labeled(self) -> int:
        """Number of files whose right classes are known."""
        return sum(
            bool(entry.classes) and self._opened.get(number, entry) is not None
            for number, entry in enumerate(self._entries)
        )

    def labeled(self, most: int) -> list[StoredPhoto]:
        """The first photos whose right classes are known.

        Args:
            most: number of photos, at most.
        """
        return list(islice((photo for photo in self._list_files() if photo.classes), most))

    def opened(self) -> list[StoredPhoto]:
        """The photos that browsers sent, and the files that were needed before."""
        files = {id(file): file for file in self._opened.values() if file is not None}
        return [*reversed(list(self._sent.values())), *(file.photo for file in files.values())]

    def unopened(self) -> list[tuple[int, str]]:
        """Number and name of the other files."""
        return [
            (number, entry.name)
            for number, entry in enumerate(self._entries)
            if number not in self._opened
        ]

    def find_number(self, number: int) -> StoredPhoto:
        """The photo of a file, by its number among those that the explorer was given.

        Raises:
            ConvlensError: there is no file of this number, or it cannot be read.
        """
        file = self._open(number) if number < len(self._entries) else None
        if file is None:
            raise ConvlensError("there is no photo of this number that can be read")
        return self._refresh(file)

    def find_path(self, path: str) -> StoredPhoto | None:
        """The photo of a file, by its path; None for another file."""
        number = self._numbers.get(str(Path(path)))
        file = self._open(number) if number is not None else None
        return self._refresh(file) if file is not None else None

    def find(self, key: str) -> StoredPhoto:
        """The photo with a hash.

        Raises:
            ConvlensError: there is none.
        """
        file = self._by_key.get(key)
        photo = self._refresh(file) if file is not None else None
        if photo is None or photo.key != key:
            photo = self._sent.get(key)
        if photo is None:  # its file may be one that was not opened yet
            photo = next((photo for photo in self._list_files() if photo.key == key), None)
        if photo is None:
            raise ConvlensError(
                "there is no photo at this address; its file has changed, or it was sent to an "
                "earlier server or made room for others. Open it again from the start page"
            )
        return photo

    def add(self, photo: StoredPhoto) -> StoredPhoto:
        """Keep a photo that a browser sent, from `receive_photo`.

        Returns:
            The photo, or that of equal content which is known already.
        """
        file = self._by_key.get(photo.key)
        if file is not None and self._refresh(file).key == photo.key:
            return file.photo
        self._sent[photo.key] = photo
        self._sent.move_to_end(photo.key)
        while sum(len(sent.data) for sent in self._sent.values()) > _LARGEST_STORE:
            self._sent.popitem(last=False)
        return photo

    def _list_files(self) -> Iterator[StoredPhoto]:
        for number in range(len(self._entries)):
            file = self._open(number)
            # A file of the same content, or the same file, may have been given with another number.
            if file is None or self._numbers[str(file.path)] != number:
                continue
            photo = self._refresh(file)
            if self._by_key.get(photo.key) is file:  # else another file has the same content now
                yield photo

    def _open(self, number: int) -> _File | None:
        """A file, or that of equal content which was opened before; None for an unreadable one."""
        if number not in self._opened:
            self._opened[number] = self._read(self._entries[number])
        return self._opened[number]

    def _read(self, entry: _FileEntry) -> _File | None:
        try:
            read_header_size(entry.path)  # refuses what is no file, such as a pipe, unread
            stamp, key = _stamp(entry.path), _hash_file(entry.path)
        except PhotoError as error:
            self.skipped.append(str(error))
            return None
        except OSError as error:
            self.skipped.append(str(_unreadable(entry.path, error)))
            return None
        if key not in self._by_key:
            photo = StoredPhoto(key, entry.name, entry.path, b"", entry.classes)
            self._by_key[key] = _File(photo, entry.path, stamp)
            self._sent.pop(key, None)
        return self._by_key[key]

    def _refresh(self, file: _File) -> StoredPhoto:
        """The photo of a file, under its new hash where the file was written to."""
        try:
            stamp = _stamp(file.path)
            if stamp == file.stamp:
                return file.photo
            key = _hash_file(file.path)
        except OSError:  # it is gone; reading it says so
            return file.photo
        file.stamp = stamp
        if self._by_key.get(file.photo.key) is file:
            del self._by_key[file.photo.key]
        file.photo = replace(file.photo, key=key)
        self._by_key.setdefault(key, file)
        return file.photo


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
    key = _hash(data)
    encoded = EncodedPhoto(data, f"photo {key[:6]}")
    width, height = read_header_size(encoded)
    if width * height > LARGEST_PHOTO:
        raise PhotoError(
            f"the photo has {width:,} × {height:,} pixels, more than {LARGEST_PHOTO:,}; save it "
            f"smaller"
        )
    read_photo(encoded)
    return StoredPhoto(key, encoded.name, None, data)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written to or replaced."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unreadable(path: Path, error: OSError) -> PhotoError:
    return PhotoError(f"{printable(path)} cannot be read ({error.strerror})")
