"""Commands that look at layers: anatomy, filters, maps, field, tuning, cortex."""

import json

import pytest

from support.command_line import MINE, one_line

pytest_plugins = "support.command_line"


class TestAnatomy:
    def test_table(self, here, convlens):
        status, out, err = convlens("anatomy", "--model", MINE, "--quiet")
        assert (status, err) == (0, "")
        row = next(line for line in out.splitlines() if line.startswith("0 "))
        assert row.split()[:8] == ["0", "Conv2d", "6x32x32", "3", "1", "1", "168", "165,888"]
        assert "final convolutional layer: 0 (pre), 1 (post)" in out

    def test_json_is_all_of_standard_output(self, here, convlens):
        status, out, _ = convlens("anatomy", "--model", MINE, "--json")
        assert status == 0
        data = json.loads(out)
        assert data["parameters"] == 3 * 3 * 3 * 6 + 6 + 6 * 4 + 4
        assert [layer["name"] for layer in data["layers"]] == ["0", "1", "2", "3", "4"]

    def test_layer_and_channel_and_size(self, here, convlens):
        _, out, _ = convlens(
            "anatomy", "--model", MINE, "--layer", "0", "--size", "16x20", "--json"
        )
        layers = json.loads(out)["layers"]
        assert [layer["output"] for layer in layers] == [[1, 6, 16, 20]]
        _, out, _ = convlens("anatomy", "--model", MINE, "--channel", "1:5", "--json")
        assert [layer["name"] for layer in json.loads(out)["layers"]] == ["1"]

    def test_draw(self, here, convlens):
        status, _, _ = convlens("anatomy", "--model", MINE, "--quiet", "--draw", "n.svg")
        assert status == 0
        assert "parameters" in (here / "n.svg").read_text()
        error = one_line(convlens("anatomy", "--model", MINE, "--draw", "n.docx"))
        assert "n.docx" in error
        assert ".svg, .pdf or .png" in error

    def test_bad_names(self, here, convlens):
        assert "nearest: 0" in one_line(convlens("anatomy", "--model", MINE, "--layer", "00"))
        assert "0 to 5" in one_line(convlens("anatomy", "--model", MINE, "--channel", "0:6"))
        assert "LAYER:K" in one_line(convlens("anatomy", "--model", MINE, "--channel", "0"))
        assert "224x320" in one_line(convlens("anatomy", "--model", MINE, "--size", "big"))


class TestFilters:
    def test_picture(self, here, convlens):
        status, out, _ = convlens("filters", "--model", MINE, "--out", "f", "--quiet")
        assert status == 0
        assert "6 filters of 3x3x3, stride 1; one scale for all" in out
        assert (here / "f" / "filters_of_0.png").is_file()

    def test_one_channel(self, here, convlens):
        _, out, _ = convlens(
            "filters", "--model", MINE, "--channel", "0:4", "--out", "f", "--json", "--quiet"
        )
        assert json.loads(out)["channels"] == [4]

    def test_by_kind_and_on_scales_of_their_own(self, here, convlens):
        words = ("filters", "--model", MINE, "--quiet", "--out")
        _, out, _ = convlens(*words, "f", "--sort")
        assert "6 undecided, as 3 x 3 weights are too few to judge" in out
        _, out, _ = convlens(*words, "g", "--own-scale")
        assert "each on its own scale" in out and "cannot be compared" in out
        plain, own = ((here / name / "filters_of_0.png").read_bytes() for name in ("f", "g"))
        assert plain != own
        error = one_line(convlens(*words, "h", "--fit", "--own-scale"))
        assert "--fit and --own-scale do not go together" in error
        error = one_line(convlens(*words, "h", "--sort", "--channel", "0:1"))
        assert "--sort and --channel" in error

    def test_network_without_convolutions(self, here, convlens):
        error = one_line(convlens("filters", "--model", "python:mine.py:dense", "--quiet"))
        assert "no convolution" in error
        assert not (here / "convlens-filters").exists()


@pytest.mark.slow
def test_filters_are_fitted_by_gabor_functions(here, convlens):
    (here / "large.py").write_text(
        "import torch, convlens\n"
        "def stem(): torch.manual_seed(0); return torch.nn.Conv2d(3, 4, 7)\n"
    )
    status, out, _ = convlens("filters", "--fit", "--model", "python:large.py:stem", "--out", "f")
    assert status == 0
    assert "4 filters of " in out and "4 other" in out
    assert (here / "f" / "fits_of_conv2d.png").exists()
    status, out, _ = convlens("filters", "--fit", "--model", MINE, "--out", "g")
    assert "too few to judge" in out


def test_maps_and_cortex_print_and_write_what_they_show(here, convlens):
    maps = ["maps", "a.png", "--model", MINE, "--pooling"]
    status, out, _ = convlens(*maps, "max", "--out", "m")
    assert status == 0
    assert "0 (1): 6 maps of 32 x 32; all on one scale" in out
    assert (here / "m" / "a-pooled_of_0.png").exists()
    assert "'mx' is not one of" in one_line(convlens(*maps, "mx"))
    status, out, _ = convlens("cortex", "a.png", "--size", 48, "--orientations", 4, "--out", "c")
    assert status == 0
    assert "45°" in out
    assert (here / "c" / "a-complex.png").exists()
    assert "give 2 to 48" in one_line(convlens("cortex", "a.png", "--size", 48, "--wavelength", 60))


def test_field_prints_rows_and_columns(here, convlens):
    status, out, _ = convlens(
        "field", "a.png", "--model", MINE, "--layer", "0", "--at", "0,4", "--out", "f"
    )
    assert status == 0
    assert "rows -1 to 1 and columns 3 to 5" in out
    assert (here / "f" / "a-field_of_0.png").exists()
    assert "is not Y,X" in one_line(
        convlens("field", "a.png", "--model", MINE, "--layer", "0", "--at", "3")
    )


def test_tuning_prints_the_gratings_and_writes_the_picture(here, convlens):
    status, out, _ = convlens("tuning", "--model", MINE, "--orientations", 4, "--out", "t")
    assert status == 0
    assert "512 gratings of 16 x 16 pixels" in out
    assert (here / "t" / "tuning_of_0.png").exists()
    assert "no convolution" in one_line(convlens("tuning", "--model", "python:mine.py:dense"))
