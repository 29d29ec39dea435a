"""The same input gives the same page, however fast the clock runs."""

import json
import re
import time

import pytest

from convlens.page.report import report
from support.pages import Page, tiny

pytest_plugins = "support.pages"
pytestmark = pytest.mark.usefixtures("less_work")

FASTER = 1000


@pytest.fixture
def fast_clock(monkeypatch):
    """A function that makes all clocks of the process run faster."""

    def start() -> None:
        for name in ("perf_counter", "monotonic", "time"):
            clock = getattr(time, name)
            began = clock()
            monkeypatch.setattr(
                time, name, lambda clock=clock, began=began: began + FASTER * (clock() - began)
            )

    return start


def test_the_page_does_not_depend_on_the_clock(tmp_path, photos, fast_clock):
    first = report(tiny(), photos, out=tmp_path / "first", seed=1)
    fast_clock()
    second = report(tiny(), photos, out=tmp_path / "second", seed=1)
    # The clock did run faster.
    assert sum(second.seconds.values()) > 20 * sum(first.seconds.values())
    assert len(first.sections) > 10 and not first.failures
    numbers = []
    for page_report in (first, second):
        text = page_report.data.read_text("utf-8").replace(page_report.folder, "")
        data = json.loads(text)
        numbers.append(
            {key: data[key] for key in data if key not in ("folder", "created", "seconds")}
        )
    assert numbers[0] == numbers[1]
    texts = [page_report.page.read_text("utf-8") for page_report in (first, second)]
    pictures = [re.findall(r'(?:src|href)="(data:image[^"]*)"', text) for text in texts]
    assert pictures[0] == pictures[1] and len(pictures[0]) > 50
    shown = [
        [entry for entry in Page(text).numbers if not entry[0].startswith("seconds.")]
        for text in texts
    ]
    assert shown[0] == shown[1] and len(shown[0]) > 100
