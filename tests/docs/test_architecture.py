"""The files and folders that `docs/architecture.md` names exist."""

import re
from pathlib import Path

import convlens

PACKAGE = Path(convlens.__file__).parent
REPOSITORY = PACKAGE.parents[1]
NAMED = re.compile(r"`([\w./]+(?:/|\.(?:py|pyi|md|rst|jinja)))`")
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")


def exists(name: str, folders: list[Path]) -> bool:
    return any((folder / name).exists() for folder in folders)


def test_files_and_folders_that_the_page_names_exist() -> None:
    missing = []
    for paragraph in re.split(r"\n\n|\n(?=\|)", PAGE):
        # A name may be relative to a folder that stands before it in the row or the paragraph.
        folders = [PACKAGE, REPOSITORY, REPOSITORY / "docs"]
        for name in NAMED.findall(paragraph):
            if "NAME" in name:  # of an analysis to be added
                continue
            if not exists(name, folders):
                missing.append(name)
            path = PACKAGE / name
            folders.append(path if name.endswith("/") else path.parent)
    assert not missing
