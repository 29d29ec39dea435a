"""Server: uvicorn in a thread, on the next free port of the loopback interface."""

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

import uvicorn

from convlens.cache.folder import disk_cache
from convlens.data.prepared_photos import PREPARED_PHOTOS
from convlens.errors import ConvlensError
from convlens.explorer.app import make_app
from convlens.explorer.safety import TOKEN, Gate
from convlens.explorer.session import Session

HOST = "127.0.0.1"
_PORTS = 100  # that are tried, one after the other
_START = 30.0  # seconds until a server that has not started is given up
_STOP = 10.0  # seconds until a server that has not stopped is left alone


class Server:
    """A running server.

    Args:
        session: what it shows.
        port: the first port that is tried; the next free one is taken. 0 takes any free port.
        compared: what it shows of the models that pages can be shown beside. Default: nothing.

    Attributes:
        port: its port.
        url: the address to open, with the token.

    Raises:
        ConvlensError: no port is free.
    """

    def __init__(self, session: Session, port: int, compared: Sequence[Session] = ()) -> None:
        self._session = session
        self._context = ExitStack()
        listener = _bind(port)
        self.port: int = listener.getsockname()[1]
        gate = Gate(make_app(session, compared), self.port)
        self.url = f"http://{HOST}:{self.port}/?{TOKEN}={gate.token}"
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                gate,
                log_level="error",
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._uvicorn.run, args=([listener],), name="convlens-server", daemon=True
        )
        self._context.enter_context(disk_cache())
        self._context.enter_context(PREPARED_PHOTOS.keep())
        self._thread.start()
        try:
            self._await_start()
        except BaseException:
            self._context.close()
            raise

    def _await_start(self) -> None:
        end = time.monotonic() + _START
        while not self._uvicorn.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise ConvlensError("the server of the explorer did not start; try another port")
            time.sleep(0.01)

    @property
    def is_running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop answering, and stop what is being computed."""
        self._uvicorn.should_exit = True
        self._session.worker.close()
        self._context.close()
        self._thread.join(_STOP)

    def wait(self) -> None:
        """Return when the server has stopped; an interrupt of the main thread passes through."""
        while self._thread.is_alive():
            self._thread.join(0.5)


def _bind(first: int) -> socket.socket:
    """A listening socket on the first free port from `first` on.

    Raises:
        ConvlensError: none is free.
    """
    if not 0 <= first <= 65535:
        raise ConvlensError(f"port {first!r}; give a port of 0 to 65535")
    last = min(first + _PORTS, 65535) if first else 0
    for port in range(first, last + 1):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(128)
        except OSError:
            listener.close()
            continue
        return listener
    raise ConvlensError(f"no port from {first} to {last} is free; give another one")
