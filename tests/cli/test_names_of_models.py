"""The models command where no network has the name."""

import pytest

pytest_plugins = "support.command_line"


@pytest.mark.parametrize(
    ("text", "count"), [("resnet5O", "0 networks"), ("squeezenet1_1", "1 net")]
)
def test_nearest_names_stand_where_no_network_has_the_name(convlens, text, count):
    status, _, err = convlens("models", text)
    assert status == 0 and count in err
    assert ("; nearest: resnet50" in err) == (count == "0 networks")
