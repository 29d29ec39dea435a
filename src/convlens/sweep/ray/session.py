"""A session of Ray: one that is there, a cluster that is named, or this machine alone."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convlens.errors import ConvlensError

_LOGGERS = ("ray", "ray.data")
_WANTED = {
    # No usage statistics, neither of what is started here nor of this process.
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_DATA_USAGE_DISABLED": "1",
    # Ray's core writes what it makes good by itself to a user's terminal otherwise.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}  # fmt: skip


@contextmanager
def session(address: str | None) -> Iterator[Any]:
    """Ray, connected; what was started for it is stopped at the end.

    Args:
        address: as for `Ray`.

    Yields:
        The module.

    Raises:
        ConvlensError: Ray is not installed, or there is no cluster at that address.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConvlensError(
            f"the engine ray needs Ray Data, which is not installed ({error}); "
            f"pip install 'convlens[ray]'"
        ) from error
    with _environment(), _hushed():
        if ray.is_initialized():
            yield ray
            return
        where = address or os.environ.get("RAY_ADDRESS") or "local"
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if where == "local":
            options["include_dashboard"] = False
        try:
            with _mute():
                ray.init(where, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().split("\n")[0]
            raise ConvlensError(f"no session of Ray at {where} ({reason})") from error
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def _environment() -> Iterator[None]:
    """What Ray reads from the environment, for as long as it is in use here."""
    before = {name: os.environ.get(name) for name in _WANTED}
    os.environ.update(_WANTED)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _mute() -> Iterator[None]:
    """Without what C++ writes to standard error, where Ray's core announces its settings."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _hushed() -> Iterator[None]:
    """Ray's own running commentary is not the user's news."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
