"""What the disk cache holds, and its removal: the functions behind `convlens cache`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from convlens.cache.entries import StoredEntry, list_entries, remove_entries
from convlens.cache.folder import cache_folder, size_limit


@dataclass(frozen=True)
class CacheContents:
    """What the disk cache holds.

    Attributes:
        folder: its folder; None if `CONVLENS_CACHE=off` turns it off.
        limit: its largest size in bytes.
        entries: number of entries of each kind.
        sizes: their size in bytes, by kind.
    """

    folder: Path | None
    limit: int
    entries: dict[str, int]
    sizes: dict[str, int]

    @property
    def size(self) -> int:
        """Size of all entries in bytes."""
        return sum(self.sizes.values())


def cache_contents() -> CacheContents:
    """What the disk cache holds now; see `convlens.disk_cache`.

    Raises:
        ConvlensError: `CONVLENS_CACHE_MB` is no number of megabytes.

    Example:
        >>> import convlens
        >>> convlens.cache_contents().size >= 0
        True
    """
    folder = cache_folder()
    return _describe(folder, list_entries(folder) if folder is not None else [])


def clear_cache() -> CacheContents:
    """Remove everything that the disk cache holds.

    Returns:
        What was removed.

    Raises:
        ConvlensError: an entry cannot be removed, or `CONVLENS_CACHE_MB` is no number of megabytes.

    Example:
        >>> import convlens
        >>> _ = convlens.clear_cache()
        >>> convlens.cache_contents().size
        0
    """
    folder = cache_folder()
    return _describe(folder, remove_entries(folder) if folder is not None else [])


def _describe(folder: Path | None, entries: list[StoredEntry]) -> CacheContents:
    sizes: Counter[str] = Counter()
    for entry in entries:
        sizes[entry.kind] += entry.size
    return CacheContents(
        folder, size_limit(), dict(sorted(Counter(entry.kind for entry in entries).items())),
        dict(sorted(sizes.items())),
    )  # fmt: skip
