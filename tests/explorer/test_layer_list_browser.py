"""The list of layers in a browser: the layer of the page is in sight."""

import pytest

import convlens
from support.explorers import save_photos, small_model

pytest_plugins = ("support.browser", "support.explorers")
pytestmark = pytest.mark.slow

IN_SIGHT = """(list) => {
  const outer = list.getBoundingClientRect();
  const inner = list.querySelector("[aria-current]").getBoundingClientRect();
  return inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
}"""


def test_the_layer_of_the_page_is_in_sight(browser, tmp_path):
    explorer = convlens.explore(small_model(), save_photos(tmp_path), port=0)
    page = browser.new_page(viewport={"width": 1440, "height": 200})  # two rows of the list
    page.goto(explorer.url)
    home = explorer.url.partition("?")[0]
    for layer in ("0", "2%2Fadd"):
        page.goto(f"{home}layer/{layer}")
        assert page.locator(".layers-list .scrolling").evaluate(IN_SIGHT), layer
    page.locator(".layers-list .scrolling").evaluate("(list) => { list.scrollTop = 0; }")
    assert not page.locator(".layers-list .scrolling").evaluate(IN_SIGHT)
    page.locator(".channel-tiles a").first.click()
    page.wait_for_selector("#patches")
    assert page.locator(".layers-list .scrolling").evaluate(IN_SIGHT)
    page.close()
    explorer.stop()
