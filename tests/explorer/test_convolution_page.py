"""The convolution page: the arithmetic in the browser is that of torch."""

import re
import shlex

import httpx
import pytest
import torch
import torch.nn.functional as F

import convlens
from support.explorers import small_network

pytest_plugins = ("support.browser", "support.explorers")


def test_the_page_has_the_state_of_its_address(explorer):
    text = explorer.get("/convolution?image=1,2;3,4.5&kernel=-1&stride=2&bias=0.5")
    values = re.findall(r'inputmode="decimal" value="([^"]+)"', text)
    assert values == ["1", "2", "3", "4.5", "-1"]
    assert 'name="bias" value="0.5"' in text
    assert convlens.convolution_arithmetic().equation(1, 1).split("=")[1].strip() == "−4"
    assert "5·1 + 6·0 + 8·0 + 9·(−1) = −4" in explorer.get("/convolution")


@pytest.mark.parametrize("number", ["1e-7", "-0.3333333333333333", "1E+21", ".5", "5.", "12345678"])
def test_numbers_as_the_browser_writes_them_are_read(explorer, number):
    query = httpx.QueryParams({"image": f"{number},2", "kernel": number, "bias": number})
    text = explorer.get(f"/convolution?{query}")
    assert text.count(f'value="{number}"') == 3


@pytest.mark.parametrize(
    "query",
    ["bias=1e400", "bias=0x10", "bias=nan", "bias=inf", "bias=1_0", "bias=²", "bias=" + "1" * 26,
     "image=1,2;3", "image=a", "image=" + ",".join("1" * 13), "kernel=", "padding=9", "stride=0",
     "bias=<b>", "image=1e400", "image=" + "1;" * 5000],
)  # fmt: skip
def test_what_is_no_convolution_is_said(explorer, query):
    answer = explorer.client.get(f"/convolution?{query}")
    assert answer.status_code == 400
    assert "<b>" not in answer.text.partition("<main")[2].replace("<b>net", "")


@pytest.fixture(scope="module")
def page(browser):
    explorer = convlens.explore(convlens.wrap(small_network(), size=16), [], port=0)
    opened = browser.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(explorer.url)
    opened.home = explorer.url.partition("?")[0]
    yield opened
    explorer.stop()
    assert errors == []


def result_of(page):
    rows = page.locator(".result .row").all()
    return torch.tensor(
        [
            [float(text.replace("−", "-")) for text in row.locator("button").all_inner_texts()]
            for row in rows
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("padding", "stride", "dilation"), [(0, 1, 1), (1, 1, 1), (2, 2, 1), (1, 1, 2), (4, 3, 2)]
)
def test_the_feature_map_is_that_of_torch(page, padding, stride, dilation):
    torch.manual_seed(0)
    image, kernel = torch.randint(-5, 6, (6, 5)).float(), torch.randint(-2, 3, (3, 2)).float()
    query = "&".join([
        f"image={as_text(image)}", f"kernel={as_text(kernel)}", f"padding={padding}",
        f"stride={stride}", f"dilation={dilation}", "bias=0.5",
    ])  # fmt: skip
    page.goto(f"{page.home}convolution?{query}")
    expected = F.conv2d(
        image[None, None], kernel[None, None], torch.tensor([0.5]), stride, padding, dilation
    )[0, 0]
    torch.testing.assert_close(result_of(page), expected)
    sizes = page.locator(".sizes-by-formula dd").all_inner_texts()
    assert [int(text.split("=")[-1]) for text in sizes] == [
        *expected.shape, kernel.numel() + 1, expected.numel() * kernel.numel()
    ]  # fmt: skip


def as_text(matrix):
    return ";".join(",".join(f"{number:g}" for number in row) for row in matrix.tolist())


@pytest.mark.slow
def test_the_lower_right_of_the_example_is_minus_4_and_numbers_can_be_edited(page):
    page.goto(f"{page.home}convolution")
    page.locator(".result button").last.focus()
    assert page.locator(".sum").inner_text() == "1,1: 5·1 + 6·0 + 8·0 + 9·(−1) = −4"
    assert page.locator(".padded .under").all_inner_texts() == ["5 ×1", "6 ×0", "8 ×0", "9 ×(−1)"]
    page.locator(".entries input").nth(8).fill("7")
    assert result_of(page).tolist() == [[-4, -4], [-4, -2]]
    page.reload()
    assert result_of(page).tolist() == [[-4, -4], [-4, -2]]
    words = shlex.split(page.locator("#command").get_attribute("data-text"))
    assert words[:4] == ["convlens", "convolution", "--image", "1,2,3;4,5,6;7,8,7"]
    namespace = {}
    *lines, last = page.locator("#python").get_attribute("data-text").split("\n")
    exec("\n".join(lines), namespace)
    assert eval(last, namespace)[0, 0].tolist() == [[-4, -4], [-4, -2]]
    page.locator(".entries input").nth(8).fill("1e-7")
    page.locator(".entries input").nth(9).fill("0.3333333")
    values = result_of(page)
    page.reload()
    assert page.locator(".failure:visible").count() == 0
    assert torch.equal(result_of(page), values)
    in_words = "0,0: 1·0.3333333 + 2·0 + 4·0 + 5·(−1) = −4.666667"
    assert page.locator(".sum").inner_text() == in_words
    page.locator(".entries input").nth(8).fill("x")
    assert "is no number" in page.locator("[role=alert]").inner_text()
