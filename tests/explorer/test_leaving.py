"""Leaving a page stops what is computed for it; other requests go on."""

import http.client
import threading
import time
import urllib.parse

import pytest

from convlens.errors import ConvlensError
from convlens.explorer import photo_findings
from convlens.explorer import session as session_module
from convlens.explorer.photo_store import PhotoStore
from convlens.explorer.server import Server
from convlens.explorer.session import Session
from convlens.explorer.worker import StoppedError
from support.explorers import save_photos, small_model

ENOUGH = 20.0  # seconds, for a machine that is busy


@pytest.fixture
def server(tmp_path):
    running = Server(Session(small_model(), PhotoStore(save_photos(tmp_path))), port=0)
    yield running
    running.stop()


class Client:
    """A connection that can be closed while an answer comes."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ENOUGH)
        self.headers = {}
        answer = self.get("/?" + urllib.parse.urlsplit(server.url).query)
        answer.read()
        self.headers = {"Cookie": answer.getheader("set-cookie").partition(";")[0]}

    def get(self, address):
        self.connection.request("GET", address, headers=self.headers)
        return self.connection.getresponse()


@pytest.fixture
def connect(server):
    """Makes clients; their connections are closed at the end."""
    clients = []

    def make():
        clients.append(Client(server))
        return clients[-1]

    yield make
    for client in clients:
        client.connection.close()


@pytest.mark.parametrize(
    ("module", "function", "address"),
    [
        (session_module, "maximize", "/channel/0/1/image"),
        (photo_findings, "check_preprocessing", "/findings"),
    ],
)
def test_a_closed_connection_stops_the_computation(connect, monkeypatch, module, function, address):
    started, stopped = threading.Event(), threading.Event()

    def endless(*_, progress, **__):
        started.set()
        try:
            for step in range(10_000):
                time.sleep(0.01)
                progress(step, 10_000)
        except StoppedError:
            stopped.set()
            raise

    monkeypatch.setattr(module, function, endless)
    client = connect()
    answer = client.get(address)
    assert started.wait(ENOUGH)
    assert answer.readline() == b"event: progress\n"
    answer.close()
    client.connection.close()
    assert stopped.wait(ENOUGH)
    other = connect().get("/")
    assert (other.status, b"cat.png" in other.read()) == (200, True)


def test_a_page_that_nobody_waits_for_leaves_the_queue(connect, monkeypatch):
    running, go_on, explained = threading.Event(), threading.Event(), []

    def slow(explainer, classes):
        explained.append(classes[0])
        running.set()
        go_on.wait(ENOUGH)
        raise ConvlensError("no map")

    monkeypatch.setattr(session_module.RepeatedGradCam, "__call__", slow)
    home = connect()
    address = home.get("/").read().decode().partition('href="/photo/')[2].partition('"')[0]
    clients = [connect() for _ in range(3)]
    for target, client in enumerate(clients):
        path = f"/photo/{address}?overlay=gradcam&class={target}"
        client.connection.request("GET", path, headers=client.headers)
        assert running.wait(ENOUGH)
    time.sleep(0.3)  # until the requests have arrived
    clients[1].connection.close()
    time.sleep(0.3)
    go_on.set()
    for number in (0, 2):
        assert b"no map" in clients[number].connection.getresponse().read()
    assert explained == [0, 2]
