"""A session of Ray: one that is there, a cluster that is named, or this machine alone."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
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
_ANSWERS = 5.0  # seconds in which a machine has to answer: Ray itself would try for minutes
# Where it has answered, Ray asks so often for the cluster, a second apart, and not twenty times.
_ASKED = {"RAY_gcs_server_port_wait_time_s": "3"}


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
    with _environment(_WANTED), _hushed():
        if ray.is_initialized():
            yield ray
            return
        _connect(ray, address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, where: str) -> None:
    """Connect to the cluster there, or start Ray on this machine.

    Raises:
        ConvlensError: nothing is there, or it is not open to this process.
    """
    options: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if where == "local":
        options["include_dashboard"] = False
    machine = _machine(where)
    try:
        if machine is not None:
            socket.create_connection(machine, _ANSWERS).close()
        with _mute(), _environment(_ASKED if machine is not None else {}):
            ray.init(where, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConvlensError(f"no session of Ray at {where} ({_why(error)})") from error


def _machine(where: str) -> tuple[str, int] | None:
    """`HOST:PORT` as host and port, or None for what else Ray takes."""
    host, _, port = where.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return None
    return host.strip("[]"), int(port)


def _why(error: BaseException) -> str:
    """In one line why Ray is not there."""
    cause: BaseException | None = error
    while cause is not None:
        if "InvalidAuthToken" in str(cause) or type(cause).__name__ == "AuthenticationError":
            return (
                "it lets in who has its token: set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token "
                "from its first machine where this is another"
            )
        cause = cause.__cause__
    if isinstance(error, TimeoutError):
        return f"nothing answers within {_ANSWERS:g} s; see that it runs and can be reached"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; start it with `ray start --head`"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().split("\n")[0]


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """What Ray reads from the environment, for as long as it is in use here."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
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
    """Ray's own running commentary is not the user's news; its errors come as exceptions too."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
