"""Optional dependencies: a check, without importing them, that they are installed."""

from importlib.util import find_spec

from convlens.errors import ConvlensError


def check_installed(feature: str, packages: tuple[str, ...], extra: str) -> None:
    """Check that the packages of an extra are installed.

    Args:
        feature: what needs them, for the message.
        packages: names of the packages.
        extra: name of the extra that installs them.

    Raises:
        ConvlensError: one is not installed.

    Example:
        >>> check_installed("the explorer", ("json",), "explore")
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConvlensError(
            f'{feature} needs {" and ".join(missing)}; pip install "convlens[{extra}]"'
        )
