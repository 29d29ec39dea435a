"""Numbers in the words of a command line: sizes, positions and lists of pixels."""

from convlens.errors import ConvlensError

_MOST_DIGITS = 9  # of a number of pixels


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels from `224` or `224x320`.

    Raises:
        ConvlensError: for any other text.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(_is_number(part) and int(part) > 0 for part in parts):
        raise ConvlensError(f"size {text!r} is not a number of pixels; write 224, or 224x320")
    return int(parts[0]), int(parts[-1])


def parse_position(text: str) -> tuple[int, int]:
    """Row and column from `Y,X`.

    Raises:
        ConvlensError: for any other text.
    """
    pair = _parse_pair(text)
    if pair is None or "-" in text:
        raise ConvlensError(f"position {text!r} is not Y,X, for example 3,5")
    return pair


def parse_shift(text: str) -> tuple[int, int]:
    """Rows downward and columns to the right from `Y,X`, either of which may be negative.

    Raises:
        ConvlensError: for any other text.
    """
    pair = _parse_pair(text)
    if pair is None:
        raise ConvlensError(f"shift {text!r} is not Y,X, for example 0,-1")
    return pair


def parse_pixels(text: str) -> list[int]:
    """Numbers of pixels from `1,32`.

    Raises:
        ConvlensError: for any other text.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(_is_number(part) and int(part) > 0 for part in parts):
        raise ConvlensError(
            f"{text!r} is not a list of numbers of pixels; write them with commas, for example 1,32"
        )
    return [int(part) for part in parts]


def _parse_pair(text: str) -> tuple[int, int] | None:
    """Two whole numbers with a comma between them; None for any other text."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(_is_number(part.removeprefix("-")) for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS
