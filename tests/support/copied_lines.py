"""The commands and Python lines that a page offers to copy: what they are, do and should give.

Each is known by the folder that it writes.
"""

import json
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from convlens.analyses.maximize.result import MaximizedImages
from convlens.cli import main
from convlens.page.result import Report
from convlens.results import Result
from support.pages import Page


@dataclass(frozen=True)
class Copy:
    """What one button copies, or one of the commands that it copies.

    Attributes:
        name: folder of the results, without the `convlens-` of commands.
        text: the command, or the Python lines.
        is_command: whether it is a command.
    """

    name: str
    text: str
    is_command: bool


def find_copies(report: Report) -> list[Copy]:
    """The commands and Python lines of a page and of `report.json`, each once."""
    page = Page(report.page.read_text("utf-8"))
    texts = [element["data-text"] for _, element in page.elements if element.get("data-text")]
    for reproduction in report.reproductions.values():
        texts += [reproduction.command, reproduction.python]
    copies = []
    for text in dict.fromkeys(filter(None, texts)):
        if text.startswith("import convlens\n"):
            copies.append(Copy(_python_folder(text), text, is_command=False))
        elif not text.startswith("convlens report"):
            for command in text.splitlines():
                words = shlex.split(command)
                folder = words[words.index("--out") + 1] if "--out" in words else words[1]
                name = {"doctor": "preprocessing"}.get(folder, folder)
                copies.append(Copy(name.removeprefix("convlens-"), command, is_command=True))
    return copies


def run_command(command: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> dict[str, Any]:
    """Run a command in this process; returns what it prints with `--json`."""
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), "--json", "--quiet"])
    capsys.readouterr()  # what lines printed before
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert stop.value.code in (0, None), f"{command}: {printed.err}"
    return json.loads(printed.out)


def run_lines(lines: str) -> Any:
    """Run Python lines; returns the value of the last one, which a notebook shows."""
    *before, last = lines.splitlines()
    variables: dict[str, Any] = {}
    if last.startswith(" "):
        exec(lines, variables)
        return variables["result"]
    exec("\n".join(before), variables)
    return eval(last, variables)


def load_saved(name: str, photo: str = "") -> Result:
    """The result in the folder of a command.

    Args:
        name: name of the copied command.
        photo: name of the photo, where the folder has one for each.
    """
    folder = Path(f"convlens-{name}")
    kind = name.partition("-")[0]
    inside = {
        "gradcam": photo, "flip": f"{photo}/flip", "fgsm": f"{photo}/internal-changes",
        "robustness": "curve", "randomization": "randomization",
    }.get(kind, "")  # fmt: skip
    return Result.load(folder / inside)


def expected_result(report: Report, name: str) -> tuple[Any, str]:
    """What a copied command or Python lines have to compute again.

    Args:
        report: the report.
        name: name of the copy.

    Returns:
        The part of the report, and the name of its photo if it is about one.
    """
    sections: dict[str, Any] = report.sections
    kind, _, part = name.partition("-")
    if part.startswith("photo-"):
        number = int(part.rpartition("-")[2]) - 1
        photo = Path(report.photos[number].path).name
        if kind == "fgsm":
            slides = {entry.photo: entry for entry in sections["robustness"].slides}
            return slides[number].internal_changes, photo
        card = next(card for card in sections["photos"].cards if card.photo == number)
        return {"gradcam": card.gradcam, "flip": card.flips}[kind], photo
    whole = {
        "weights": lambda: sections["weights"],
        "anatomy": lambda: sections["network"],
        "preprocessing": lambda: sections["preprocessing"],
        "randomization": lambda: sections["randomization"],
        "robustness": lambda: sections["robustness"].curve,
        "shift": lambda: sections["shift"].shift,
        "patches": lambda: _patches_of(sections["channels"].patches, part),
        "maximize": lambda: _maximized(sections, part),
        "tuning": lambda: _named(sections["simple_complex"].layers, part),
        "maps": lambda: _named(sections["feature_maps"].layers, part),
        "dream": lambda: sections["dream"],
        "filters": lambda: sections["filters"].filters,
        "gabor": lambda: sections["gabor"].fit,
        "effective": lambda: sections["effective_field"],
        "gradcam": lambda: tuple(card.gradcam for card in sections["photos"].cards),
    }
    return whole[kind](), ""


def same_numbers(expected: Any, actual: Any) -> None:
    """Check that a result that was computed again is that of the page, in every bit.

    The maps of several photos are computed in one batch and on the page one by one, so that the
    last bits may differ.
    """
    name = type(expected).__name__
    if isinstance(expected, tuple):
        for ours, theirs in zip(expected, actual, strict=True):
            assert ours.names == theirs.names and torch.equal(ours.classes, theirs.classes)
            torch.testing.assert_close(theirs.maps, ours.maps, rtol=1e-4, atol=1e-6 * ours.scale)
        return
    if name == "LayerMaps":
        assert actual.channels == expected.channels
        assert (actual.scale, actual.signed) == (expected.scale, expected.signed)
        assert (actual.colors(actual.maps) == expected.tiles).all()
    elif name == "LayerCounts":
        assert actual.counts() == (expected.simple, expected.complex, expected.silent)
    elif name == "Dream":  # the lines name the layer, which the page chose
        assert replace(actual, reason="") == replace(expected, reason="")
    elif name == "MaximizedImages":
        assert actual == _without_patches(expected)
    else:
        assert actual == expected


def _python_folder(lines: str) -> str:
    line = next(line for line in lines.splitlines() if "result.save(" in line or "out=" in line)
    if "folder" in line:  # a loop over layers: the folder of the last
        return lines.partition("}.items()")[0].rpartition(": '")[2].removesuffix("'")
    return line.partition("result.save(" if "result.save(" in line else "out=")[2].split("'")[1]


def _patches_of(patches: Any, part: str) -> Any:
    layers = [layer for layer in patches.layers if part in ("", _folder(layer.layer))]
    return replace(patches, layers=tuple(layers))


def _maximized(sections: dict[str, Any], part: str) -> Any:
    if part == "classes":
        return sections["class_images"]
    return next(
        images
        for images in sections["channels"].maximized
        if images is not None and _folder(images.maxima[0].layer) == part
    )


def _without_patches(images: MaximizedImages) -> MaximizedImages:
    """Images without the comparison with patches, which the copied lines do not make."""
    nan = float("nan")
    maxima = [
        replace(maximum, dataset_best=nan, percentile=nan, dataset_photos=0)
        for maximum in images.maxima
    ]
    return replace(images, maxima=tuple(maxima))


def _named(layers: Any, part: str) -> Any:
    return next(layer for layer in layers if _folder(layer.layer) == part)


def _folder(layer: str) -> str:
    return layer.replace("/", "-").replace("#", "-")
