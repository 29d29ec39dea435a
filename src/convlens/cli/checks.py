"""Checks of the words of a command line that need no torch, called by typer for each option.

A mistyped word therefore ends a command within a fifth of a second.
"""

import os
from pathlib import Path
from typing import NoReturn

from convlens.cli.matrices import parse_padding, parse_rows
from convlens.cli.parsing import parse_pixels, parse_position, parse_shift, parse_size
from convlens.errors import ConvlensError

_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "mtia")


def check_size(text: str | None) -> str | None:
    """Refuse what is no size, such as `224` or `224x320`."""
    if text is not None:
        parse_size(text)
    return text


def check_position(text: str | None) -> str | None:
    """Refuse what is no position `Y,X`."""
    if text is not None:
        parse_position(text)
    return text


def check_pixels(text: str | None) -> str | None:
    """Refuse what is no list of numbers of pixels, such as `1,32`."""
    if text is not None:
        parse_pixels(text)
    return text


def check_shift(text: str) -> str:
    """Refuse what is no shift `Y,X`."""
    parse_shift(text)
    return text


def check_shifts(texts: list[str] | None) -> list[str] | None:
    """Refuse a list with text that is no shift `Y,X`."""
    for text in texts or ():
        parse_shift(text)
    return texts


def check_matrix(text: str | None) -> str | None:
    """Refuse what are no rows of numbers, such as `1 0; 0 -1`."""
    if text is not None:
        parse_rows(text)
    return text


def check_padding(text: str) -> str:
    """Refuse what is no padding: a number of pixels, valid or same."""
    parse_padding(text)
    return text


def check_device(name: str | None) -> str | None:
    """Refuse what is no name of a device; whether this machine has it is known to torch."""
    kind, colon, index = (name or "cpu").partition(":")
    if kind not in _DEVICES or bool(colon) != index.isdecimal():
        raise ConvlensError(f"there is no device {name!r}; give cpu, cuda, cuda:1 or mps")
    return name


def check_network(name: str) -> str:
    """Refuse what is no name of a network that `convlens.build` builds.

    On one of several machines the training refuses it, which ends the others as well.
    """
    if "NODE_RANK" in os.environ:
        return name
    from convlens.models.networks.names import check_network_name

    check_network_name(name)
    return name


def check_channels(texts: list[str] | None) -> list[str] | None:
    """Refuse a list with text that is no channel `LAYER:K`, whatever the layers are."""
    from convlens.tracing.channel_names import parse_channel

    for text in texts or ():
        parse_channel(text)
    return texts


def check_epsilons(text: str) -> str:
    """Refuse a list with text that is no epsilon, whatever the bounds of the model are."""
    from convlens.analyses.attacks.epsilon import check_epsilon

    for epsilon in text.split(","):
        check_epsilon(epsilon.strip())
    return text


def check_photo(name: str | None) -> str | None:
    """Refuse a name of a file that is no photo; only the header of the file is decoded."""
    if name is not None:
        from convlens.data.photos import read_stored_size

        read_stored_size(name)
    return name


def check_file(path: Path | None) -> Path | None:
    """Refuse a file that does not exist."""
    if path is not None and not path.is_file():
        _refuse(path, "file", "folder")
    return path


def check_folder(path: Path | None) -> Path | None:
    """Refuse a folder that does not exist."""
    if path is not None and not path.is_dir():
        _refuse(path, "folder", "file")
    return path


def check_model(spec: str) -> str:
    """Refuse a model whose file does not exist."""
    from convlens.models.loading.specs import parse_spec

    parse_spec(spec)
    return spec


def check_optional_model(spec: str | None) -> str | None:
    """Refuse a model whose file does not exist, if one is given."""
    return None if spec is None else check_model(spec)


def check_thresholds(path: Path | None) -> Path | None:
    """Refuse a file that holds no limits of `check`."""
    if path is not None:
        from convlens.analyses.model_check.thresholds import read_thresholds

        read_thresholds(path)
    return path


def check_class_names(path: Path | None) -> Path | None:
    """Refuse a file without class names."""
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
