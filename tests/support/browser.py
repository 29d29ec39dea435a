"""Chromium for tests of pages; without it they are skipped, and fail where CI runs them."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def collect_errors(page: Any, errors: list[str] | None = None) -> list[str]:
    """A list to which everything that a page throws, or says as error on its console, is added.

    Several pages may add to the same list.
    """
    collected = errors if errors is not None else []
    page.on("pageerror", lambda error: collected.append(str(error)))
    page.on(
        "console",
        lambda message: collected.append(message.text) if message.type == "error" else None,
    )
    return collected


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium; apt-get install chromium")
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()
