"""Connect to Ray: to the session that is there, to a cluster, or to this machine alone."""

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
_ENVIRONMENT = {
    # No usage statistics, neither of the processes that are started nor of this one.
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_DATA_USAGE_DISABLED": "1",
    # Otherwise Ray's core writes problems that it solves by itself to the user's terminal.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}  # fmt: skip
_TIMEOUT = 5.0  # seconds for a machine to answer; Ray itself would try for minutes
# If the machine has answered, Ray asks it for the cluster three times, not twenty, a second apart.
_FEWER_TRIES = {"RAY_gcs_server_port_wait_time_s": "3"}


@contextmanager
def ray_session(address: str | None) -> Iterator[Any]:
    """Connect to Ray; whatever was started is stopped when the context is left.

    Args:
        address: address as for `RayEngine`.

    Yields:
        The module `ray`.

    Raises:
        ConvlensError: if Ray is not installed, or there is no cluster at that address.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConvlensError(
            f"the engine ray needs Ray Data, which is not installed ({error}); "
            f"pip install 'convlens[ray]'"
        ) from error
    with _environment(_ENVIRONMENT), _quiet_loggers():
        if ray.is_initialized():
            yield ray
            return
        _connect(ray, address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, where: str) -> None:
    """Connect to the cluster at an address, or start Ray on this machine.

    Raises:
        ConvlensError: if there is no cluster, or it refuses this process.
    """
    options: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if where == "local":
        options["include_dashboard"] = False
    machine = _parse_machine(where)
    try:
        if machine is not None:
            socket.create_connection(machine, _TIMEOUT).close()
        with _mute_stderr(), _environment(_FEWER_TRIES if machine is not None else {}):
            ray.init(where, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ConvlensError(f"no session of Ray at {where} ({_explain(error)})") from error


def _parse_machine(where: str) -> tuple[str, int] | None:
    """`HOST:PORT` as host and port, or None for any other address that Ray takes."""
    host, _, port = where.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return None
    return host.strip("[]"), int(port)


def _explain(error: BaseException) -> str:
    """The reason why Ray cannot be reached, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        if "InvalidAuthToken" in str(cause) or type(cause).__name__ == "AuthenticationError":
            return (
                "it admits only processes that have its token: set RAY_AUTH_MODE=token, and copy "
                "~/.ray/auth_token from its first machine to this one"
            )
        cause = cause.__cause__
    if isinstance(error, TimeoutError):
        return f"nothing answers within {_TIMEOUT:g} s; see that it runs and can be reached"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; start it with `ray start --head`"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().split("\n")[0]


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that Ray reads; restore them when the context is left."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _mute_stderr() -> Iterator[None]:
    """Drop what C++ writes to standard error, where Ray's core prints its settings."""
    sys.stderr.flush()
    original = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Silence Ray's loggers: its errors are raised as exceptions too."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
