"""The check of the preprocessing on the start page, as events."""

import html
import json
import re

import convlens
from support.explorers import other_model, run, save_photos, small_model, small_network


def last_event(running, address="/preprocessing"):
    events = re.findall(r"event: (\w+)\ndata: (.*)\n\n", running.client.get(address).text)
    return events[-1][0], json.loads(events[-1][1])


def test_the_check_is_that_of_the_library(tmp_path):
    paths = save_photos(tmp_path)
    running = run(small_model(), paths, other_model())
    for home, model, labels in (
        ("", small_model(), [(0,), None]), ("/with/other", other_model(), [(3,), None]),
    ):  # fmt: skip
        assert f'data-stream="{home}/preprocessing"' in running.get(f"{home}/")
        diagnosis = convlens.check_preprocessing(model, paths, labels=labels)
        kind, data = last_event(running, f"{home}/preprocessing")
        assert kind == "result", data
        text = html.unescape(data["html"])
        assert f"on 1 photo: {diagnosis.reason}." in text
        assert f"labels={labels})" in text
        assert "convlens doctor" not in text
    running.session.worker.close()


def test_without_labels_the_command_computes_it(tmp_path):
    paths = save_photos(tmp_path)
    running = run(convlens.wrap(small_network(), size=16), paths, labeled=False)
    running.session.reproduction._has_spec = True
    _, data = last_event(running)
    assert f"convlens doctor {paths[0]}" in html.unescape(data["html"])
    running.session.worker.close()


def test_there_is_no_check_without_photos_or_classes(tmp_path):
    running = run(small_model(), [])
    assert "preprocessing" not in running.get("/")
    assert last_event(running)[0] == "failure"
    running.session.worker.close()
