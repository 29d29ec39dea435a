"""Long lists in pages of some entries, of which the address names one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

Entry = TypeVar("Entry")
Entry_co = TypeVar("Entry_co", covariant=True)


@dataclass(frozen=True)
class NumberedPage(Generic[Entry]):
    """One page of a list.

    Attributes:
        entries: what it shows.
        number: its number, from 1.
        count: number of pages, at least 1.
    """

    entries: list[Entry]
    number: int
    count: int


class CountedEntries(Protocol[Entry_co]):
    """A list whose later entries need not be known yet."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Entry_co]: ...


def take_page(entries: CountedEntries[Entry], text: str, size: int) -> NumberedPage[Entry]:
    """The page of a list that an address names; the nearest one for other text.

    Args:
        entries: the whole list, which is read up to the end of the page.
        text: number of the page, from 1.
        size: number of entries of a page.

    Example:
        >>> take_page("abcde", "3", 2)
        NumberedPage(entries=['e'], number=3, count=3)
        >>> take_page("abcde", "x", 2).number, take_page("", "7", 2).count
        (1, 1)
    """
    count = max(1, -(-len(entries) // size))
    number = int(text) if text.isdecimal() and len(text) < 10 else 1
    number = min(max(number, 1), count)
    return NumberedPage(list(islice(entries, (number - 1) * size, number * size)), number, count)
