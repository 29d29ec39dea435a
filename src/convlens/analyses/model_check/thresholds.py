"""The limits of `check`, and the TOML file that may hold them."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from convlens.errors import ConvlensError, suggest


@dataclass(frozen=True)
class CheckThresholds:
    """The limits beyond which a finding of `check` is broken; each is a share of 0 to 1.

    Accuracies, agreement and calibration are compared by their 95 % intervals: a limit is broken
    where the whole interval lies beyond it. Where the limit lies inside the interval and the
    measured share beyond it, the photos are too few to tell. None is no limit.

    Attributes:
        accuracy: least share of photos that are predicted correctly; default: no limit.
        top5: least share of photos whose right class is among the first five; default: no limit.
        class_accuracy: least accuracy of every class with at least five photos; default: no limit.
        calibration_error: greatest expected calibration error, in bins of equal width; default: no
            limit.
        dead_channels: greatest share of a layer's channels that are above 0 at no position of any
            photo; default 0.5.
        agreement: least share of photos for which another format of the network predicts the same;
            default 0.99.

    Raises:
        ConvlensError: a limit that is no share.

    Example:
        >>> CheckThresholds(accuracy=0.7).dead_channels
        0.5
    """

    accuracy: float | None = None
    top5: float | None = None
    class_accuracy: float | None = None
    calibration_error: float | None = None
    dead_channels: float | None = 0.5
    agreement: float | None = 0.99

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
            if limit is not None and not (is_number and 0 <= limit <= 1):
                raise ConvlensError(f"{field.name} {limit!r}; give a share of 0 to 1")

    @property
    def need_labels(self) -> tuple[str, ...]:
        """The names of the given limits that only labels can be compared with."""
        names = ("accuracy", "top5", "class_accuracy", "calibration_error")
        return tuple(name for name in names if getattr(self, name) is not None)


def read_thresholds(path: str | Path) -> dict[str, float]:
    r"""Read limits from a TOML file, by the names of the fields of `CheckThresholds`.

    Args:
        path: file with a line such as `accuracy = 0.7` for each limit.

    Raises:
        ConvlensError: the file cannot be read, is no TOML, or names no limit of this kind.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "limits.toml"
        >>> _ = path.write_text("accuracy = 0.7\ndead_channels = 0.3\n")
        >>> read_thresholds(path)
        {'accuracy': 0.7, 'dead_channels': 0.3}
    """
    try:
        limits = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConvlensError(f"cannot read {path} ({error.strerror}); give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConvlensError(
            f"{path} is no TOML ({error}); write lines such as accuracy = 0.7"
        ) from error
    known = [field.name for field in fields(CheckThresholds)]
    for name in limits:
        if name not in known:
            hint = suggest(name, known) or f"; give {', '.join(known)}"
            raise ConvlensError(f"{path}: unknown limit {name!r}{hint}")
    CheckThresholds(**limits)  # checks the values
    return limits
