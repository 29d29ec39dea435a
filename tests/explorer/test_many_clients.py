"""Many clients at once get right answers."""

import re
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar

import convlens
from support.explorers import save_photos, small_model

CLIENTS = 50


def test_fifty_clients_at_once_get_the_answers_of_the_library(tmp_path, capfd):
    model, paths = small_model(), save_photos(tmp_path)
    cams = {target: convlens.gradcam(model, paths[0], classes=[target]) for target in range(4)}
    explorer = convlens.explore(model, paths, port=0)
    home = explorer.url.partition("?")[0]
    together = threading.Barrier(CLIENTS)

    def ask(client):
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        opener = urllib.request.build_opener(cookies)
        with opener.open(explorer.url, timeout=60) as answer:
            text = answer.read().decode()
        key = re.search(r'href="/photo/(\w+)"', text)[1]
        together.wait(60)
        target = client % 4
        address = f"{home}photo/{key}?overlay=gradcam&class={target}"
        with opener.open(address, timeout=60) as answer:
            text = answer.read().decode()
        return target, f"logit {cams[target].scores[0, 0]:+.2f}".replace("-", "−") in text

    try:
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(ask, range(CLIENTS)))
    finally:
        explorer.stop()
    assert [right for _, right in answers] == [True] * CLIENTS
    assert len({float(cam.scores[0, 0]) for cam in cams.values()}) == 4
    assert "Traceback" not in capfd.readouterr().err
