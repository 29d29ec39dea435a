"""The server itself: ports, stopping, and the command in a process of its own."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from http.cookiejar import CookieJar

import pytest

import convlens
from support.explorers import save_photos, small_model


def open_with_cookie(url):
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with opener.open(url, timeout=20) as answer:
        return answer.geturl(), answer.read().decode()


@pytest.fixture
def busy_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_next_free_port_is_taken_and_only_this_machine_is_answered(tmp_path, busy_port):
    explorer = convlens.explore(small_model(), save_photos(tmp_path), port=busy_port)
    try:
        assert busy_port < explorer.port <= busy_port + 100
        address, text = open_with_cookie(explorer.url)
        assert address == f"http://127.0.0.1:{explorer.port}/"
        assert "cat.png" in text
        assert explorer.url in explorer._repr_html_()
        assert "<script>" not in explorer._repr_html_()
    finally:
        explorer.stop()
    assert not explorer.is_running
    with pytest.raises(OSError):
        open_with_cookie(explorer.url)


def test_labels_mark_right_and_wrong_answers(tmp_path):
    paths, model = save_photos(tmp_path), small_model()
    right = int(convlens.predict(model, paths[0]).classes[0, 0])
    labels = {"cat.png": [right], "<b>x&y.png": [3 - right]}
    explorer = convlens.explore(model, paths, labels=labels, port=0)
    try:
        tiles = open_with_cookie(explorer.url)[1].partition('class="photo-tiles"')[2]
    finally:
        explorer.stop()
    marks = re.findall(r'class="mark (\w+)"', tiles)
    assert marks[0] == "right"
    assert len(marks) == 2


def test_unreadable_photos_are_named(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photo")
    with pytest.raises(
        convlens.ConvlensError, match=r"none of 1 photos can be read; .*broken\.png"
    ):
        convlens.explore(small_model(), [broken], port=0)
    explorer = convlens.explore(small_model(), [broken, *save_photos(tmp_path)], port=0)
    try:
        assert "1 photo left out" in open_with_cookie(explorer.url)[1]
    finally:
        explorer.stop()


NETWORK = """
import convlens
from torch import nn

def make():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    return convlens.wrap(network, size=8)
"""


@pytest.fixture
def interrupts():
    """Programs that a test starts take interrupts; a shell's background programs ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interrupts")
def test_the_command_prints_the_address_and_ends_with_an_interrupt(tmp_path):
    (path, _) = save_photos(tmp_path)
    (tmp_path / "net.py").write_text(NETWORK)
    options = ["--model", "python:net.py:make", "--no-browser", "--port", "0"]
    words = [sys.executable, "-m", "convlens", "explore", str(path), *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=tmp_path, stdout=pipe, stderr=pipe) as process:
        try:
            url = process.stdout.readline().decode().strip()
            assert url.startswith("http://127.0.0.1:"), process.stderr.read()
            assert "cat.png" in open_with_cookie(url)[1]
        finally:
            process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()  # or leaving the block would wait for ever
        assert b"Traceback" not in process.stderr.read()
