"""The explorer on the default network: start, frames, server time, sizes and memory.

Measured in headless Chromium against a server in this process. `convlens explore` itself is started
once in a process of its own, beside one that only imports torch and loads the network.
"""

import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from http.cookiejar import CookieJar
from typing import Any

import convlens
from benchmarks.tables import TextTable, print_remarks, print_text_table, write_results

_ROUNDS = 7  # of each measured request
_REQUESTS = 1_000  # over which memory is watched
_SECONDS = 2.0  # for which the pointer and the slider move
_LOAD = "import torch, convlens; convlens.load('default')"

# Moves the pointer, or the slider, once in each frame for some seconds; returns frames per second.
_FRAMES = """async ([what, seconds]) => {
  const frame = document.getElementById("photo-frame");
  const slider = document.getElementById("epsilon");
  const { left, top, width, height } = frame.getBoundingClientRect();
  const start = performance.now();
  let frames = 0;
  while (performance.now() - start < seconds * 1000) {
    await new Promise(requestAnimationFrame);
    if (what === "hover") {
      const x = left + width * ((frames * 7) % 100) / 100;
      const y = top + height * ((frames * 3) % 100) / 100;
      frame.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y }));
    } else {
      slider.value = frames % 9;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    }
    frames += 1;
  }
  return frames / ((performance.now() - start) / 1000);
}"""


def run() -> None:
    """Measure, print and write the results."""
    rows = [_measure_start()]
    explorer = convlens.explore(convlens.load("default"), port=0)
    try:
        opener = _open(explorer.url)
        home = explorer.url.partition("?")[0]
        page = opener(explorer.url)
        key = page.partition('href="/photo/')[2].partition('"')[0]
        rows += _measure_server(opener, home, key)
        rows += _measure_browser(explorer.url, home, key)
        rows.append(_measure_memory(opener, home, key))
    finally:
        explorer.stop()
    table = TextTable("explorer", ("what", "measured", "limit"), tuple(map(tuple, rows)))
    print_text_table(table)
    print_remarks()
    write_results("explore", {}, tables=[table])


def _measure_start() -> list[str]:
    """Seconds from the command to a start page, beyond importing torch and loading the network."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _LOAD], check=True)
    load = time.perf_counter() - start
    words = [sys.executable, "-m", "convlens", "explore", "--no-browser", "--port", "0"]
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        _open(url := process.stdout.readline().decode().strip())(url)
        seconds = time.perf_counter() - start
        process.terminate()
    measured = f"{seconds:.1f} s, of which {load:.1f} s load the network"
    return ["command to start page", measured, "3 s more than loading"]


def _open(url: str) -> Callable[[str], str]:
    """A function that requests an address with the cookie."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    opener.open(url, timeout=120).close()

    def request(address: str) -> str:
        with opener.open(address, timeout=120) as answer:
            return str(answer.read().decode())

    return request


def _seconds(work: Callable[[int], object], rounds: int = _ROUNDS) -> float:
    """Median wall seconds of several runs; each run gets its number."""
    times = []
    for number in range(rounds):
        gc.collect()
        start = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _measure_server(opener: Callable[[str], str], home: str, key: str) -> list[list[str]]:
    model = convlens.load("default")
    image = model.prepare([str(path) for path in _demo_paths()][:1])
    model.network.eval()
    forward = _seconds(lambda _: model(image), 15)
    overlay = _seconds(lambda n: opener(f"{home}photo/{key}?overlay=gradcam&class={n + 10}"))
    plain = _seconds(lambda _: opener(f"{home}photo/{key}"))
    channel = f"{home}channel/blocks.3.1.conv_dw/119"
    opener(channel)
    cached = _seconds(lambda _: opener(channel))
    size = len(opener(f"{home}fields.json"))
    names = len(json.loads(opener(f"{home}search.json"))["layers"])
    return [
        ["page with Grad-CAM of another class",
         f"{overlay * 1e3:.0f} ms; a forward pass {forward * 1e3:.0f} ms", "1.3 passes"],
        ["photo page without computation", f"{plain * 1e3:.0f} ms", ""],
        ["cached channel page", f"{cached * 1e3:.0f} ms", "100 ms"],
        ["JSON of all fields", f"{size / 1e3:.0f} kB, {names} layers", "1 MB"],
    ]  # fmt: skip


def _demo_paths() -> list[Any]:
    from convlens.models.loading.demo_photos import demo_photos

    return [photo.path for photo in demo_photos()]


def _measure_browser(url: str, home: str, key: str) -> list[list[str]]:
    import shutil

    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        for what, overlay in (("hover", "fields"), ("slider", "epsilon")):
            page.goto(f"{home}photo/{key}?overlay={overlay}")
            page.wait_for_load_state("networkidle")
            asked: list[str] = []
            page.on("request", partial(_note, asked))
            rate = page.evaluate(_FRAMES, [what, _SECONDS])
            rows.append([what, f"{rate:.0f} frames a second, {len(asked)} requests", "50, none"])
        browser.close()
    return rows


def _note(asked: list[str], request: Any) -> None:
    asked.append(request.url)


def _measure_memory(opener: Callable[[str], str], home: str, key: str) -> list[str]:
    """Growth of this process over many requests, after the kept results have filled up."""
    addresses = [f"{home}photo/{key}?overlay=gradcam&class={n}" for n in range(40)]
    for address in addresses:
        opener(address)
    before = _resident()
    for number in range(_REQUESTS):
        opener(addresses[number % len(addresses)])
    grown = (_resident() - before) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return [f"memory over {_REQUESTS:,} requests", f"{grown:+.0f} MiB; peak {peak:.0f} MiB", "flat"]


def _resident() -> int:
    """Resident bytes of this process (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
