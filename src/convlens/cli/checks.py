"""Checks of the values of options that need no torch, called by typer for each option.

Each returns the value or raises ConvlensError, so that a mistyped word ends a command within a
fifth of a second.
"""

import os
from pathlib import Path
from typing import NoReturn

from convlens.cli.matrices import parse_padding, parse_rows
from convlens.cli.parsing import parse_pixels, parse_position, parse_shift, parse_size
from convlens.errors import ConvlensError

_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "mtia")


def check_size(text: str | None) -> str | None:
    """Check that a text is a size, such as `224` or `224x320`."""
    if text is not None:
        parse_size(text)
    return text


def check_position(text: str | None) -> str | None:
    """Check that a text is a position `Y,X`."""
    if text is not None:
        parse_position(text)
    return text


def check_pixels(text: str | None) -> str | None:
    """Check that a text is a list of numbers of pixels, such as `1,32`."""
    if text is not None:
        parse_pixels(text)
    return text


def check_shift(text: str) -> str:
    """Check that a text is a shift `Y,X`."""
    parse_shift(text)
    return text


def check_shifts(texts: list[str] | None) -> list[str] | None:
    """Check that all texts are shifts `Y,X`."""
    for text in texts or ():
        parse_shift(text)
    return texts


def check_matrix(text: str | None) -> str | None:
    """Check that a text has rows of numbers, such as `1 0; 0 -1`."""
    if text is not None:
        parse_rows(text)
    return text


def check_padding(text: str) -> str:
    """Check that a text is a padding: a number of pixels, valid or same."""
    parse_padding(text)
    return text


def check_positive(number: float | None) -> float | None:
    """Refuse a number that is not above 0."""
    if number is not None and not number > 0:
        raise ConvlensError(f"{number:g} is not above 0; give a number above 0")
    return number


def check_device(name: str | None) -> str | None:
    """Check that a text names a kind of device; only torch knows whether this machine has it."""
    kind, colon, index = (name or "cpu").partition(":")
    if kind not in _DEVICES or bool(colon) != index.isdecimal():
        raise ConvlensError(f"there is no device {name!r}; give cpu, cuda, cuda:1 or mps")
    return name


def check_network(name: str) -> str:
    """Check that a text names a network that `convlens.build` builds.

    On one of several machines the training itself refuses a wrong name, so that the others end too.
    """
    if "NODE_RANK" in os.environ:
        return name
    from convlens.models.networks.names import check_network_name

    check_network_name(name)
    return name


def check_data(spec: str) -> str:
    """Refuse training data that does not exist.

    On one of several machines the training itself refuses it, so that the others end too.
    """
    if "NODE_RANK" not in os.environ:
        from convlens.data import training_data

        training_data.check_data(spec)
    return spec


def check_channels(texts: list[str] | None) -> list[str] | None:
    """Check that all texts are channels `LAYER:K`; whether the layers exist is not checked."""
    from convlens.tracing.channel_names import parse_channel

    for text in texts or ():
        parse_channel(text)
    return texts


def check_epsilons(text: str) -> str:
    """Check that a text lists epsilons, separated by commas, that some model accepts."""
    from convlens.analyses.attacks.epsilon import check_epsilon

    for epsilon in text.split(","):
        check_epsilon(epsilon.strip())
    return text


def check_photo(name: str | None) -> str | None:
    """Check that a file is a photo; only its header is decoded."""
    if name is not None:
        from convlens.data.photos import read_header_size

        read_header_size(name)
    return name


def check_file(path: Path | None) -> Path | None:
    """Check that a file exists."""
    if path is not None and not path.is_file():
        _refuse(path, "file", "folder")
    return path


def check_folder(path: Path | None) -> Path | None:
    """Check that a folder exists."""
    if path is not None and not path.is_dir():
        _refuse(path, "folder", "file")
    return path


def check_model(spec: str) -> str:
    """Check that the file of a model exists."""
    from convlens.models.loading.specs import parse_spec

    parse_spec(spec)
    return spec


def check_optional_model(spec: str | None) -> str | None:
    """Check that the file of a model exists, if a model is given."""
    return None if spec is None else check_model(spec)


def check_thresholds(path: Path | None) -> Path | None:
    """Check that a file holds limits of `check`."""
    if path is not None:
        from convlens.analyses.model_check.thresholds import read_thresholds

        read_thresholds(path)
    return path


def check_class_names(path: Path | None) -> Path | None:
    """Check that a file holds class names."""
    if path is not None:
        from convlens.models.loading.class_names import read_class_names

        read_class_names(path.expanduser())
    return path


def _refuse(path: Path, expected_kind: str, other_kind: str) -> NoReturn:
    """Raise ConvlensError: a path is of the other kind (a file, a folder), or does not exist."""
    from convlens.files import suggest_sibling

    is_other = path.is_file() or path.is_dir()
    problem = f"is a {other_kind}" if is_other else f"does not exist{suggest_sibling(path)}"
    raise ConvlensError(f"{path} {problem}; give the name of a {expected_kind}")
