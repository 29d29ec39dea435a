"""What a page says where the server refuses, or no longer answers, what it asks for while open."""

import pytest

import convlens
from support.explorers import save_photos, small_model

expect = pytest.importorskip("playwright.sync_api").expect

pytest_plugins = ("support.browser", "support.explorers")
pytestmark = pytest.mark.slow

SILENT = "The server does not answer; start convlens explore again."
UNKNOWN = "This browser is not known to the server. Open the address that convlens printed"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    explorer = convlens.explore(small_model(), save_photos(tmp_path_factory.mktemp("p")), port=0)
    yield explorer
    explorer.stop()


@pytest.fixture
def page(browser, running):
    context = browser.new_context()
    page = context.new_page()
    page.goto(running.url)
    yield page
    context.close()


def open_channel(page, running):
    home = running.url.partition("?")[0]
    page.goto(f"{home}channel/0/1")
    page.wait_for_selector("#maximized ~ .stream figure, #maximized ~ .stream img")
    return page.locator("#tuning ~ .stream")


def test_a_refused_stream_says_why(page, running):
    box = open_channel(page, running)
    page.context.clear_cookies()
    box.locator("button.start").click()
    expect(box).to_contain_text(UNKNOWN)


def test_a_stream_of_a_page_that_is_refused_shows_its_reason(page, running):
    box = open_channel(page, running)
    address = box.get_attribute("data-stream").replace("/1/", "/99/")
    box.evaluate("(box, address) => { box.dataset.stream = address; }", address)
    box.locator("button.start").click()
    expect(box).to_contain_text("has 6 channels")
    expect(box).not_to_contain_text("does not answer")


def test_a_server_that_is_gone_is_named(page, running):
    box = open_channel(page, running)
    page.route("**/tuning", lambda route: route.abort("connectionrefused"))
    box.locator("button.start").click()
    expect(box).to_have_text(SILENT)


def test_a_refused_upload_says_why(page):
    page.context.clear_cookies()
    files = {"name": "a.png", "mimeType": "image/png", "buffer": b"none"}
    page.set_input_files("#upload", files=[files])
    expect(page.locator(".drop .failure")).to_contain_text(UNKNOWN)
