"""The folder that a result is saved to: pictures, contact sheet, numbers and index."""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from convlens.results import Result
from convlens.results.folder import picture_files


@dataclass(frozen=True, eq=False)
class TwoMaps(Result):
    """Two maps."""

    layer: str
    scores: Tensor

    def pictures(self):
        return {
            "tiger cat": torch.full((30, 20, 3), 200, dtype=torch.uint8),
            "50% #2 <b>": torch.zeros(500, 400, dtype=torch.uint8),
        }

    def summary(self):
        return f"read at {self.layer}\nof two maps"


class Links(HTMLParser):
    """The addresses and the text of a document."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.addresses, self.words, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        self.sources += [attributes["src"]] if tag == "img" and attributes.get("src") else []
        self.addresses += [attributes["href"]] if tag == "a" else []

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def folder(tmp_path):
    result = TwoMaps("layer4", torch.tensor([0.5, float("nan")]))
    result.save(tmp_path / "maps", photo="chelsea.png", command="convlens maps 'a b.png'")
    return tmp_path / "maps"


def test_a_folder_holds_data_pictures_and_index(folder):
    assert {path.name for path in folder.iterdir()} == {
        "result.json", "tensors.safetensors", "numbers.json", "index.html", "contact-sheet.png",
        "chelsea-tiger_cat_of_layer4.png", "chelsea-50_2_b_of_layer4.png",
    }  # fmt: skip


def test_every_address_of_the_index_is_a_file(folder):
    links = Links((folder / "index.html").read_text(encoding="utf-8"))
    assert len(links.sources) == 2
    addresses = links.sources + links.addresses
    assert len(addresses) >= 6
    for address in addresses:
        assert (folder / unquote(address)).is_file()


def test_index_states_photo_summary_captions_and_command(folder):
    links = Links((folder / "index.html").read_text(encoding="utf-8"))
    for words in (
        "Two maps · chelsea.png", "Read at layer4", "Of two maps", "tiger cat of layer4",
        "50% #2 <b> of layer4", "convlens maps 'a b.png'", "convlens.Result.load(",
    ):  # fmt: skip
        assert words in links.text
    assert "b" not in links.tags  # the caption is text


def test_python_lines_of_the_index_load_the_result(folder, monkeypatch):
    monkeypatch.chdir(folder)
    links = Links((folder / "index.html").read_text(encoding="utf-8"))
    (lines,) = re.findall(r"import convlens\nresult = .*", "".join(links.words))
    names: dict = {}
    exec(lines, names)
    assert names["result"].layer == "layer4"


def test_contact_sheet_shows_the_pictures(folder):
    sheet = np.asarray(Image.open(folder / "contact-sheet.png").convert("RGB"))
    assert (sheet == 200).all(axis=2).sum() >= 9 * 20 * 30  # enlarged three times
    assert (sheet == 0).all(axis=2).sum() >= 0.9 * 160 * 200  # reduced to 200 pixels


def test_numbers_json_has_command_summary_and_fields(folder):
    numbers = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["convlens"]["schema"] == 1
    assert numbers["convlens"]["command"] == "convlens maps 'a b.png'"
    assert numbers["summary"] == ["read at layer4", "of two maps"]
    assert numbers["layer"] == "layer4"
    assert numbers["scores"] == [0.5, "nan"]


def test_data_alone_has_nothing_for_people(tmp_path):
    result = TwoMaps("layer4", torch.zeros(1))
    result.save_data(tmp_path / "data")
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {"result.json", "tensors.safetensors"}
    assert TwoMaps.load(tmp_path / "data") == result


def test_a_result_without_pictures_has_an_index_and_no_contact_sheet(tmp_path):
    @dataclass(frozen=True, eq=False)
    class Count(Result):
        title: str
        numbers: int

    Count("a field of any name", 3).save(tmp_path / "count")
    names = {path.name for path in (tmp_path / "count").iterdir()}
    assert names == {"result.json", "tensors.safetensors", "numbers.json", "index.html"}
    assert json.loads((tmp_path / "count" / "numbers.json").read_text())["numbers"] == 3


def test_names_of_files_are_different_also_where_case_is_ignored():
    assert picture_files(["A b", "a b", "a/b"], photo="x/cat.png") == [
        "cat-A_b.png", "cat-a_b_2.png", "cat-a_b_3.png",
    ]  # fmt: skip
    assert picture_files(["../..", "contact-sheet"]) == ["picture.png", "contact-sheet_2.png"]
    (name,) = picture_files(["x" * 300], photo="y" * 300)
    assert len(name.encode()) < 200
    assert name.endswith(".png")
