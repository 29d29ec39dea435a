"""Counts, shares, lists and capitals in the sentences of results, reports and messages."""

import re
from collections.abc import Sequence


def plural(noun: str, count: int) -> str:
    """A noun in the plural for all counts but one.

    Example:
        >>> plural("photo", 1), plural("photo", 0), plural("class", 2), plural("entry", 2)
        ('photo', 'photos', 'classes', 'entries')
    """
    if count == 1:
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """A count with its noun, which is in the plural for all counts but one.

    Example:
        >>> counted(1, "photo"), counted(0, "photo"), counted(2000, "photo")
        ('1 photo', '0 photos', '2,000 photos')
    """
    return f"{count:,} {plural(noun, count)}"


def with_article(words: str) -> str:
    """Words that begin with a number, behind the article that its sound asks for.

    Example:
        >>> with_article("8-pixel"), with_article("1-pixel"), with_article("18-pixel")
        ('an 8-pixel', 'a 1-pixel', 'an 18-pixel')
    """
    article = "an" if re.match(r"8|1[18](?!\d)", words) else "a"
    return f"{article} {words}"


def of_image(image: int, count: int, words: str) -> str:
    """Words about one of several images begin with its number; about the only one they do not.

    Example:
        >>> of_image(2, 3, "signs"), of_image(0, 1, "signs")
        ('image 2, signs', 'signs')
    """
    return f"image {image}, {words}" if count > 1 else words


def enumerated(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many there are besides.

    Example:
        >>> enumerated(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def percent(share: float, decimals: int = 0) -> str:
    """A share of 0 to 1 in percent.

    Args:
        share: the share.
        decimals: decimal places; default 0.

    Example:
        >>> percent(0.256), percent(0.256, 1)
        ('26 %', '25.6 %')
    """
    return f"{share:.{decimals}%}".replace("%", " %")


def with_sign(value: float, decimals: int = 2) -> str:
    """A number with its sign; zero is positive.

    Args:
        value: the number.
        decimals: decimal places; default 2.

    Example:
        >>> with_sign(8.4), with_sign(-0.25), with_sign(-0.001)
        ('+8.40', '−0.25', '+0.00')
    """
    return f"{value:+z.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float) -> str:
    r"""The ends of the interval of a share of 0 to 1, in whole percent.

    Example:
        >>> interval(0.529, 0.978)
        '53–98\xa0%'
    """
    return f"{low * 100:.0f}–{high * 100:.0f}\N{NO-BREAK SPACE}%"


def begin_sentence(text: str) -> str:
    """A sentence with a capital first letter, unless it begins with the name of a layer.

    Example:
        >>> begin_sentence("two views differ"), begin_sentence("conv1 at 3,4")
        ('Two views differ', 'conv1 at 3,4')
    """
    return capitalized(text) if text.partition(" ")[0].isalpha() else text


def capitalized(sentence: str) -> str:
    """A sentence with a capital first letter; the rest stays as it is."""
    return sentence[:1].upper() + sentence[1:]
