"""Photos in Parquet files give the results of the same image files, and passes resume."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import convlens
from convlens import ConvlensError, ParquetPhotos
from convlens.analyses.gradcam.boxes import ObjectBox
from convlens.passes.options import PassOptions
from support.parquet_tables import COUNT, KINDS, model, write

pytest_plugins = "support.parquet_tables"
pytestmark = pytest.mark.usefixtures("empty_caches")

# The kinds differ only in how a photo is read, so that two are enough for a whole analysis.
two_kinds = pytest.mark.parametrize(
    "tables",
    [
        kind if kind in ("binary", "paths") else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ],
    indirect=True,
)
LABELS = [(number % 3,) if number % 7 else None for number in range(COUNT)]


def assert_equal(actual, expected):
    """Assert that two results are equal in all bits, apart from the names of the photos."""
    assert type(actual) is type(expected)
    actual_fields, expected_fields = actual.__dict__, expected.__dict__
    for name in actual_fields.keys() - {"photos", "skipped", "folder"}:
        assert_same(actual_fields[name], expected_fields[name])


def assert_same(actual, expected):
    if isinstance(actual, torch.Tensor):
        assert (
            torch.equal(actual.nan_to_num(-7), expected.nan_to_num(-7))
            and actual.dtype == expected.dtype
        )
    elif isinstance(actual, (tuple, list)):
        assert len(actual) == len(expected)
        for a, b in zip(actual, expected, strict=True):
            assert_same(a, b)
    elif hasattr(actual, "__dict__"):
        assert_equal(actual, expected)
    elif isinstance(actual, float):
        assert actual == expected or (math.isnan(actual) and math.isnan(expected))
    else:
        assert actual == expected or Path(str(actual)).name == Path(str(expected)).name


@two_kinds
def test_patches_with_labels(files, tables):
    options: dict[str, Any] = {
        "labels": LABELS,
        "top": 4,
        "show": 3,
        "pass_options": PassOptions(batch_size=6),
    }
    expected = convlens.patches(model(), files, **options)
    result = convlens.patches(model(), ParquetPhotos(tables), **options)
    assert result.layers[0].selectivity.numel() and result.images_read == COUNT - 1
    assert [Path(name).name for name in result.photos] == [path.name for path in files]
    assert len(result.skipped) == 1 and "05.png is truncated" in result.skipped[0]
    assert_equal(result, expected)


@pytest.mark.slow
@two_kinds
def test_robustness_shift_invariance_and_errors(files, tables):
    dataset = ParquetPhotos(tables)
    options: dict[str, Any] = {"labels": LABELS, "pass_options": PassOptions(batch_size=5)}
    cases: list[Any] = [
        (convlens.robustness, {"epsilons": ["4/255"], "pgd_steps": 2}),
        (convlens.shift, {"every": 0, "shifts": [1]}),
        (convlens.invariance, {"layer": "3", "top": 2}),
        (convlens.error_analysis, {"show": 3}),
    ]
    for analysis, analysis_options in cases:
        expected = analysis(model(), files, **analysis_options, **options)
        result = analysis(model(), dataset, **analysis_options, **options)
        assert_equal(result, expected)
        assert len(result.skipped) == 1 and "05.png" in result.skipped[0]


@pytest.mark.slow
@two_kinds
def test_gradcams_with_boxes(files, tables, tmp_path):
    boxes = {
        f"{number:02d}.png": (ObjectBox((number % 4,), 3.0, 5.0, 20.0 + number, 30.0),)
        for number in (1, 2, 9, 10, 20)
    }
    options: dict[str, Any] = {
        "boxes": boxes,
        "randomize": 2,
        "pass_options": PassOptions(batch_size=6),
    }
    expected = convlens.gradcams(model(), files, out=tmp_path / "a", **options)
    result = convlens.gradcams(model(), ParquetPhotos(tables), out=tmp_path / "b", **options)
    assert result.photos == expected.photos
    assert result.pointing == expected.pointing and result.pointing.maps == 5
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*"))
    assert names == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*"))
    for name in names:
        if (tmp_path / "a" / name).is_file() and name.name != "numbers.json":
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    expected_numbers, numbers = (
        json.loads((tmp_path / x / "numbers.json").read_text()) for x in "ab"
    )
    assert expected_numbers["photos"] == numbers["photos"]
    assert [Path(path).name for path in numbers["skipped"]] == ["05.png"]


# resumed passes


@pytest.mark.parametrize("kind", ["binary", "struct", "paths", "pointing"])
def test_resume_refuses_what_has_changed(files, tmp_path, kind):
    path = write(tmp_path / "tables" / "t.parquet", KINDS[kind](files))
    resume_folder = tmp_path / "kept"

    def run(stop=None):
        def progress(stage, done, total):
            if stop is not None and stage == "photos" and done >= stop:
                raise RuntimeError("killed")

        return convlens.patches(
            model(),
            ParquetPhotos(path),
            pass_options=PassOptions(
                resume_folder=resume_folder, batch_size=4, save_interval=0.0, progress=progress
            ),
        )

    with pytest.raises(RuntimeError, match="killed"):
        run(12)
    assert (resume_folder / "manifest.json").is_file()
    if kind in ("paths", "pointing"):
        content = files[3].read_bytes()
        Image.new("RGB", (40, 40)).save(files[3])
        with pytest.raises(ConvlensError, match=r"has changed .*03.png is another file now"):
            run()
        files[3].write_bytes(content)
    write(path, KINDS[kind](files[:-1]))
    with pytest.raises(ConvlensError, match=r"data set has changed .*23 images then, 22 now"):
        run()
    write(path, KINDS[kind]([*files[:-1], files[0]]), rows=3)
    with pytest.raises(ConvlensError, match=r"data set has changed .*is another file now"):
        run()


def test_another_column_is_another_data_set(files, tmp_path):
    photos = [path.read_bytes() for path in files]
    path = write(tmp_path / "t.parquet", {"image": photos, "mask": photos[::-1]})
    marks = [ParquetPhotos(path, column).fingerprints() for column in ("image", "mask")]
    assert all(image_mark != mask_mark for image_mark, mask_mark in zip(*marks, strict=True))
