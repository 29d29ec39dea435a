"""How notebooks show the results of all public functions: text, HTML and figures."""

import base64
import html
import io
import re

import pytest
import torch
from PIL import Image
from torch import nn

import convlens
from convlens.drawing.result_figure import ResultFigure
from convlens.results import display
from support.public_functions import CALLS, SIZE, WRITING, call

OTHERS = {"trace", "filters_by_kind", "report", "folder_labels", "missing_settings"}
NAMES = sorted((CALLS.keys() | WRITING.keys()) - OTHERS)
WITHOUT_FIGURE = {"check", "check_weights"}  # they hold names and sentences only
SOURCE = re.compile(r'src="data:image/(png|jpeg);base64,([^"]+)"')


class Small(nn.Module):
    """Two convolutions, whose layers have the names that the calls use."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.add_module("1", nn.Conv2d(3, 4, 3, stride=2))
        self.add_module("7", nn.Conv2d(4, 6, 3, stride=2))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        for name in ("1", "7"):
            x = self.get_submodule(name)(x).relu()
        return self.head(x.mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def model():
    return convlens.wrap(
        Small().eval(), size=SIZE, name="a <small> network", labels=["cat", "dog", "bird"]
    )


@pytest.fixture(scope="module")
def results(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return {"model": model} | {name: call(name, model, folder) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_text_is_short_and_says_what_was_found(results, name):
    lines = repr(results[name]).split("\n")
    assert len(lines) <= 6
    assert all(len(line) <= 100 for line in lines), lines
    summary = results[name].summary()
    assert summary and not summary.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_the_html_has_the_summary_a_picture_and_the_fields_in_a_fold(results, name):
    result = results[name]
    page = result._repr_html_()
    assert html.escape(result.summary(), quote=True).replace("&#x27;", "&#39;") in page
    assert "<small>" not in page  # the model's name, escaped
    fields = page[page.index("<details>") :]
    shown = result.to_json()
    if not shown.get("warnings", True):
        del shown["warnings"]
    assert all(f">{field}</th>" in fields for field in shown)
    pictures = SOURCE.findall(page)
    assert len(pictures) == (name not in WITHOUT_FIGURE)
    for _, data in pictures:
        assert len(data) <= display.PICTURE_BYTES
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert min(picture.size) > 100


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_FIGURE))
def test_the_figure_fits_on_a_page(results, name):
    figure = results[name].figure()
    assert isinstance(figure, ResultFigure)
    assert name == "anatomy" or figure.get_size_inches()[0] <= 10.1


def test_figures_state_the_answers_and_epsilon(results):
    fgsm = svg_text(results["fgsm"])
    before, after = (
        convlens.predict(results["model"], images).names
        for images in (results["fgsm"].images, results["fgsm"].adversarial(3))
    )
    assert f"{before[0][0]}, " in fgsm and f"{after[0][0]}, " in fgsm
    assert "epsilon 1/255" in fgsm and "epsilon 8/255" in fgsm
    flip = svg_text(results["find_flip"])
    assert "original" in flip and re.search(r"at [18]/255", flip)
    cam = svg_text(results["gradcam"])
    assert "Grad-CAM at 7" in cam and "logit" in cam


def svg_text(result):
    file = io.StringIO()
    result.figure().savefig(file, format="svg")
    return html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", file.getvalue())))


def test_the_picture_stays_within_its_budget_of_bytes(results, monkeypatch):
    (kind, data), *_ = SOURCE.findall(results["gradcam"]._repr_html_())
    assert kind == "png"
    monkeypatch.setattr(display, "PICTURE_BYTES", len(data) - 1)
    (kind, smaller), *_ = SOURCE.findall(results["gradcam"]._repr_html_())
    assert kind == "jpeg" and len(smaller) < len(data)
    monkeypatch.setattr(display, "PICTURE_BYTES", 100)
    assert not SOURCE.findall(results["gradcam"]._repr_html_())


def test_a_model_takes_at_most_five_lines(model):
    lines = repr(model).split("\n")
    assert len(lines) <= 5 and all(len(line) <= 120 for line in lines)
    assert "Small, 355 parameters, float32 on cpu" in lines[1]
    assert "3: cat, dog, bird" in lines[4]
    page = model._repr_html_()
    assert page.count("<tr>") == 4 and "a &lt;small&gt; network" in page


def test_a_network_without_parameters_has_a_description():
    lazy = convlens.wrap(nn.Sequential(nn.LazyConv2d(4, 3)), size=SIZE)
    assert "0 parameters" in repr(lazy)
