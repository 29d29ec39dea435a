"""Counts, lists and capitals in the sentences of results, reports and messages."""

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural for all counts but one.

    Example:
        >>> counted(1, "photo"), counted(0, "photo"), counted(2000, "photo")
        ('1 photo', '0 photos', '2,000 photos')
    """
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def enumerated(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many there are besides.

    Example:
        >>> enumerated(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def capitalized(sentence: str) -> str:
    """A sentence with a capital first letter; the rest stays as it is."""
    return sentence[:1].upper() + sentence[1:]
