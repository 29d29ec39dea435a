"""Results: equal, printed, drawn, saved and loaded, with a result made here."""

import errno
import json
import os
import pkgutil
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import convlens
from convlens.errors import ConvlensError
from convlens.results import Result, registry
from convlens.results.registry import CONVLENS_CLASSES


@dataclass(frozen=True, eq=False)
class Inner(Result):
    scores: Tensor
    layer: str | None = None


@dataclass(frozen=True, eq=False)
class Outer(Result):
    maps: Tensor
    inner: Inner
    several: tuple[Inner, ...] = ()
    by_name: dict | None = None
    score: float = 0.5
    count: int = 3
    good: bool = True
    note: str = ""

    def pictures(self):
        red = torch.zeros(4, 6, 3, dtype=torch.uint8)
        red[..., 0] = 200
        return {"a red/one": red, "a red one": red, "gray": torch.full((4, 6), 7).byte()}


@dataclass(frozen=True, eq=False)
class Bare(Result):
    value: object = None


def outer(**changes):
    base = torch.linspace(-1.2, 3.4, 2 * 3 * 7 * 7).view(2, 3, 7, 7)
    whole = Outer(
        maps=base,
        inner=Inner(torch.tensor([1.0, torch.nan, torch.inf]), "blocks.4"),
        several=(Inner(base[0, 0]), Inner(base[0, 1].T)),  # views of one memory
        by_name={"a.b": base[1], "a": {"b": torch.tensor(3)}, "tensor": "text", "": (1, (2.5,))},
        score=float("-inf"),
        note="<b> & “quotes”\nand lines",
    )
    return replace(whole, **changes)


class TestEquality:
    def test_by_value(self):
        first, second = outer(), outer()
        assert first.maps is not second.maps
        assert first == second

    @pytest.mark.parametrize(
        "changes",
        [
            {"maps": torch.zeros(2, 3, 7, 7)},
            {"maps": outer().maps.double()},
            {"maps": outer().maps.view(3, 2, 7, 7)},
            {"inner": Inner(torch.tensor([1.0, torch.nan, torch.inf]), "blocks.5")},
            {"inner": Inner(torch.tensor([1.0, 2.0, torch.inf]), "blocks.4")},
            {"several": ()},
            {"by_name": {}},
            {"by_name": None},
            {"score": 1.0},
            {"good": False},
            {"note": "other"},
        ],
    )
    def test_each_field_counts(self, changes):
        assert outer() != outer(**changes)

    def test_nan_equals_nan(self):
        assert outer(score=float("nan")) == outer(score=float("nan"))

    def test_other_classes_and_hashes(self):
        assert Bare(torch.zeros(2)) != Inner(torch.zeros(2))
        assert Bare(torch.zeros(2)) != Bare(0.0)
        assert Bare() != 3
        with pytest.raises(TypeError, match="unhashable"):
            hash(Bare())


class TestWords:
    def test_tensors_are_described(self):
        assert repr(outer()).startswith("Outer(\n    maps=float32 (2, 3, 7, 7), -1.2 to 3.4,\n")
        assert "scores=float32 (3), 1 to inf, 1 NaN" in repr(outer())
        assert repr(outer()).endswith(",\n    … 4 more,\n)")
        assert all(len(line) <= 125 for line in repr(outer()).split("\n"))

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (torch.tensor([True, False]), "bool (2), False to True"),
            (torch.arange(12).view(3, 4), "int64 (3, 4), 0 to 11"),
            (torch.zeros(0, 3), "float32 (0, 3)"),
            (torch.full((2,), torch.nan), "float32 (2), 2 NaN"),
            (torch.tensor(1 + 2j), "complex64 ()"),
            (tuple(range(9)), "(0, 1, 2, 3, 4, 5, … 3 more)"),
            ({"a": 1.23456789}, "{'a': 1.235}"),
            ("x" * 300, repr("x" * 99 + "…")),
            (None, "None"),
        ],
    )
    def test_values(self, value, words):
        assert f"value={words}" in repr(Bare(value))

    def test_html(self):
        page = outer()._repr_html_()
        assert "<strong>Outer</strong>" in page
        assert ">float32 (2, 3, 7, 7), -1.2 to 3.4</td>" in page
        assert "&lt;b&gt; &amp;" in page
        assert "<b>" not in page


class TestFolder:
    def test_saved_and_loaded(self, tmp_path):
        saved = outer()
        saved.save(tmp_path / "result")
        for cls in (Outer, Result):
            loaded: Any = cls.load(str(tmp_path / "result"))
            assert type(loaded) is Outer
            assert loaded == saved
        assert torch.equal(loaded.by_name["a.b"], saved.maps[1])
        assert loaded.by_name["a"]["b"] == 3
        assert isinstance(loaded.several, tuple)

    @pytest.mark.parametrize(
        "value",
        [
            torch.tensor([True, False]),
            torch.zeros(0, 3),
            torch.tensor(2**60 + 1),
            torch.rand(3, dtype=torch.bfloat16),
            torch.rand(1, 2, 3, 3).contiguous(memory_format=torch.channels_last),
            torch.rand(3, requires_grad=True),
            torch.nn.Parameter(torch.rand(3)),
            float("nan"),
            1e-300,
            10**30,
            {"float": "nan", "class": "Bare", "fields": {}},
            ((), {}, None, True, "tensor"),
        ],
    )
    def test_values(self, tmp_path, value):
        Bare(value).save(tmp_path / "result")
        assert Bare.load(tmp_path / "result") == Bare(value)

    def test_files(self, tmp_path):
        outer().save(tmp_path / "result")
        names = {path.name for path in (tmp_path / "result").iterdir()}
        pictures = {"a_red_one.png", "a_red_one_2.png", "gray.png"}
        for_people = {"index.html", "contact-sheet.png", "numbers.json"}
        assert names == {"result.json", "tensors.safetensors"} | pictures | for_people
        with Image.open(tmp_path / "result" / "gray.png") as picture:
            assert np.array_equal(np.asarray(picture), np.full((4, 6), 7))
        tensors = load_file(tmp_path / "result" / "tensors.safetensors")
        assert torch.equal(tensors["maps"], outer().maps)
        assert torch.equal(tensors["several.1.scores"], outer().maps[0, 1].T)

        def refuse(word):
            raise AssertionError(f"{word} is no JSON")

        text = (tmp_path / "result" / "result.json").read_text()
        assert json.loads(text, parse_constant=refuse)["format"] == 2

    def test_saved_again(self, tmp_path):
        Bare(1).save(tmp_path / "result")
        Bare(2).save(tmp_path / "result")
        assert Bare.load(tmp_path / "result") == Bare(2)

    def test_nothing_is_half_written(self, tmp_path, monkeypatch):
        with pytest.raises(TypeError, match=r"value\.1 is a list"):
            Bare((1, [2])).save(tmp_path / "result")

        def full(*_):
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr("convlens.results.storage.write_tensors", full)
        with pytest.raises(ConvlensError, match="No space left"):
            Bare(1).save(tmp_path / "result")
        assert list(tmp_path.iterdir()) == []

    def test_other_folders_are_not_replaced(self, tmp_path):
        (tmp_path / "photo.jpg").touch()
        with pytest.raises(ConvlensError, match="other files"):
            Bare(1).save(tmp_path)
        assert (tmp_path / "photo.jpg").exists()

    def test_what_cannot_be_loaded(self, tmp_path):
        folder = tmp_path / "result"
        with pytest.raises(ConvlensError, match="holds no saved result"):
            Result.load(tmp_path)
        Bare(torch.rand(3)).save(folder)
        with pytest.raises(ConvlensError, match="holds a Bare, not a Inner"):
            Inner.load(folder)
        data = (folder / "result.json").read_text()
        tensors = (folder / "tensors.safetensors").read_bytes()
        for bad, words in {
            data[:20]: "is damaged",
            "[]": "is damaged",
            data.replace('"value": {', '"valve": {'): "is damaged",
            data.replace('"tensor": "value"', '"tensor": "other"'): "is damaged",
            data.replace('"Bare"', '"Bear"'): "is a Bear; import the module .*nearest: Bare",
            data.replace('"format": 2', '"format": 3'): "newer convlens",
            data.replace('"format": 2', '"format": 1'): "convlens 0.1, and this version does not",
        }.items():
            assert_refused(folder, bad, tensors, words)
        assert_refused(folder, data, tensors[:-4], "is damaged")
        (folder / "tensors.safetensors").unlink()
        with pytest.raises(ConvlensError, match="holds no saved result"):
            Result.load(folder)

    @pytest.mark.slow
    def test_in_a_process_that_made_none(self, tmp_path):
        """The class is found although nothing has used it there."""
        from convlens import gradcam, patches, wrap

        network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU())
        network.extend([torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(2, 2)])
        model, images = wrap(network, size=16), torch.rand(3, 3, 16, 16)
        gradcam(model, images).save(tmp_path / "GradCam")
        patches(model, images).save(tmp_path / "Patches")
        words = "import sys, convlens; print(type(convlens.Result.load(sys.argv[1])).__name__)"
        for name in ("GradCam", "Patches"):
            done = subprocess.run(
                [sys.executable, "-c", words, str(tmp_path / name)], check=False,
                env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            )  # fmt: skip
            assert done.stdout == f"{name}\n", done.stderr


class TestClasses:
    """Classes of convlens and of users, by name."""

    def test_every_result_class_is_listed(self):
        for module in pkgutil.walk_packages(convlens.__path__, "convlens."):
            if module.name != "convlens.__main__":
                import_module(module.name)
        defined = {
            cls.__name__: cls.__module__
            for cls in subclasses(Result)
            if cls.__module__.startswith("convlens.")
        }
        assert defined == CONVLENS_CLASSES, "convlens/results/registry.py lists all result classes"

    def test_a_class_of_a_user_does_not_replace_one_of_convlens(self, tmp_path):
        theirs = make_class("Cortex", "mine")
        ours = convlens.cortex(torch.rand(1, 3, 8, 8))
        ours.save(tmp_path / "ours")
        theirs(3).save(tmp_path / "theirs")
        assert type(Result.load(tmp_path / "ours")) is type(ours)
        assert type(Result.load(tmp_path / "theirs")) is theirs

    def test_a_class_of_a_user_is_found_under_another_name_of_its_module(self, tmp_path):
        make_class("Mine", "__main__")(3).save(tmp_path / "result")
        forget_class("Mine", "__main__")
        with pytest.raises(ConvlensError, match="is a Mine; import the module that defines it"):
            Result.load(tmp_path / "result")
        renamed = make_class("Mine", "script")
        assert type(Result.load(tmp_path / "result")) is renamed
        make_class("Mine", "other")
        with pytest.raises(ConvlensError, match="classes of that name are in other, script"):
            Result.load(tmp_path / "result")

    def test_a_class_that_this_version_lacks(self, tmp_path):
        convlens.cortex(torch.rand(1, 3, 8, 8)).save(tmp_path / "result")
        file = tmp_path / "result" / "result.json"
        file.write_text(file.read_text().replace('"Cortex"', '"Kortex"'))
        message = "is a Kortex, which this convlens does not have; nearest: Cortex"
        with pytest.raises(ConvlensError, match=message):
            Result.load(tmp_path / "result")


def subclasses(cls):
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def make_class(name, module):
    namespace = {"__module__": module, "__annotations__": {"value": object}}
    return dataclass(frozen=True, eq=False)(type(name, (Result,), namespace))


def forget_class(name, module):
    del registry.user_classes[module, name]


def assert_refused(folder, data, tensors, words):
    (folder / "result.json").write_text(data)
    (folder / "tensors.safetensors").write_bytes(tensors)
    with pytest.raises(ConvlensError, match=words) as caught:
        Result.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_large_tensors_are_summarized_in_json():
    data = outer().to_json()
    json.dumps(data, allow_nan=False)
    assert data["maps"] == {
        "shape": [2, 3, 7, 7],
        "dtype": "float32",
        "min": pytest.approx(-1.2),
        "max": pytest.approx(3.4),
    }
    assert data["inner"] == {"scores": [1.0, "nan", "inf"], "layer": "blocks.4"}
    assert data["several"][1]["scores"] == outer().maps[0, 1].T.tolist()
    assert data["by_name"][""] == [1, [2.5]]
    assert data["score"] == "-inf"
    many = torch.zeros(65)
    many[:2] = torch.tensor([torch.nan, torch.inf])
    assert Bare(many).to_json()["value"] == {
        "shape": [65],
        "dtype": "float32",
        "min": 0.0,
        "max": "inf",
        "nan": 1,
    }


def test_a_figure_shows_the_pictures_under_their_names():
    figure = outer().figure()
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "a red/one",
        "a red one",
        "gray",
    ]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    colors = {tuple(pixel) for pixel in np.asarray(canvas.buffer_rgba())[..., :3].reshape(-1, 3)}
    assert {(200, 0, 0), (7, 7, 7)} <= colors
    with pytest.raises(ConvlensError, match="Bare has no pictures"):
        Bare().figure()
