"""Addresses of layers, channels, classes and units that do not exist: what is wrong is said."""

import html

import pytest

pytest_plugins = ("support.explorers",)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("/layer/nothing", "has no layer"),
        ("/layer/5", "not maps"),
        ("/layer/0?view=x", "there is no"),
        ("/channel/0/99", "has 6 channels"),
        ("/channel/0/99/image", "has 6 channels"),
        ("/class/99", "class 99 of 4"),
        ("/class/nothing/image", "nothing"),
        ("/kernel/2%2Fadd/0", "is no convolution"),
        ("/kernel/0/9", "has 6 channels"),
        ("/kernel/0/0?at=99,0", "has 8 x 8 positions"),
        ("/kernel/0/0?at=x", "is not Y,X"),
    ],
)
def test_the_problem_is_named(explorer, address, problem):
    answer = explorer.client.get(address)
    assert answer.status_code == 400
    assert problem in html.unescape(answer.text)
