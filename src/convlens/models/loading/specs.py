"""The text that names a model, its spec: its forms, and what is wrong with it before torch loads.

A spec that leaves something out gets the form that spells it out: a name without a library, the
path of a weight file without an architecture, the path of a checkpoint in a run folder.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from convlens.errors import ConvlensError
from convlens.files import suggest_sibling

FORMS = (
    "default, torchvision:NAME[@WEIGHTS], timm:NAME[@TAG], NAME, PATH[@ARCHITECTURE] (a weight "
    "file), python:MODULE:FACTORY, RUN (the folder of a training)"
)
DESCRIPTION = "convlens.json"  # in a run folder
WEIGHTS = "weights.safetensors"  # in the folder of a checkpoint in it

_LIBRARIES = ("torchvision", "timm")
_ARCHITECTURE = r"default|(?:torchvision|timm|python):.+"
# A path may contain an @; the last @ before an architecture separates the two.
_FILE_WITH_ARCHITECTURE = re.compile(rf"(?P<path>.+)@(?P<architecture>{_ARCHITECTURE})")
_FACTORY_IN_FILE = re.compile(r".+\.py:[^/\\:]+")
_WEIGHT_SUFFIXES = (".bin", ".ckpt", ".pkl", ".pt", ".pth", ".safetensors", ".tar")


@dataclass(frozen=True)
class Spec:
    """A spec, taken apart.

    Attributes:
        form: `default`, `torchvision`, `timm`, `python`, `file` or `run`; `name` for a name without
            a library.
        reference: what the form refers to: a network's name, `MODULE:FACTORY`, a path, or for a run
            `RUN` or `RUN@CHECKPOINT`.
        architecture: of a file, the spec of its network; None if it is not named.
    """

    form: str
    reference: str
    architecture: str | None = None


def parse_spec(text: str) -> Spec:
    """Take a spec apart. Only the existence of files is checked, and no torch is needed.

    Args:
        text: as `convlens.load` takes it.

    Raises:
        ConvlensError: a file that does not exist, or a `.py` file without a factory.

    Example:
        >>> parse_spec("torchvision:resnet18@random")
        Spec(form='torchvision', reference='resnet18@random', architecture=None)
        >>> parse_spec("resnet18")
        Spec(form='name', reference='resnet18', architecture=None)
    """
    if text == "default":
        return Spec("default", "")
    form, _, reference = text.partition(":")
    if form in _LIBRARIES:
        return Spec(form, reference)
    if form == "python":
        return _parse_factory(reference)
    if form == "file":
        return _parse_file(reference)
    run = find_run_folder(text)
    # A folder may have the name of a network, for example one with its results.
    if run is not None and (os.sep in text or (run[0] / DESCRIPTION).is_file()):
        return Spec("run", text)
    return _parse_short(text)


def find_run_folder(text: str) -> tuple[Path, str] | None:
    """Split `RUN` or `RUN@CHECKPOINT` into folder and checkpoint; None if no such folder exists."""
    if not text:
        return None
    if Path(text).expanduser().is_dir():
        return Path(text).expanduser(), ""
    folder, at, tag = text.partition("@")
    while at:
        path = Path(folder).expanduser()
        if folder and path.is_dir():
            return path, tag
        more, at, tag = tag.partition("@")
        folder = f"{folder}@{more}"
    return None


def _parse_short(text: str) -> Spec:
    """Take a spec apart that does not begin with its form."""
    path = _split_file(text)[0]
    if Path(path).expanduser().is_file():
        return _parse_file(text)
    if _FACTORY_IN_FILE.fullmatch(text):
        return _parse_factory(text)
    if Path(path).suffix.lower() in _WEIGHT_SUFFIXES or os.sep in path:
        return _parse_file(text)  # raises
    return Spec("name", text)


def _split_file(text: str) -> tuple[str, str | None]:
    """The path of a weight file, and the architecture behind it."""
    if "@" not in text or Path(text).expanduser().is_file():
        return text, None
    parts = _FILE_WITH_ARCHITECTURE.fullmatch(text)
    if parts is not None:
        return parts["path"], parts["architecture"]
    path, _, name = text.rpartition("@")
    return path, name


def _parse_file(text: str) -> Spec:
    name, architecture = _split_file(text)
    path = Path(name).expanduser()
    if not path.is_file():
        problem = (
            f"{path} is a folder; give the file with the weights in it"
            if path.is_dir()
            else f"there is no file {path}{suggest_sibling(path)}"
        )
        raise ConvlensError(problem)
    if architecture is not None:
        return Spec("file", str(path), architecture)
    if path.suffix == ".py":
        raise ConvlensError(
            f"{text} is Python code; give {text}:FACTORY, where FACTORY is a function in it that "
            f"returns the network"
        )
    run, checkpoint = path.absolute().parent.parent, path.absolute().parent.name
    if path.name == WEIGHTS and (run / DESCRIPTION).is_file():
        return Spec("run", f"{run}@{checkpoint}")
    return Spec("file", str(path))


def _parse_factory(text: str) -> Spec:
    where = text.rpartition(":")[0] or text
    path = Path(where).expanduser()
    if where.endswith(".py") and not path.is_file():
        raise ConvlensError(f"there is no file {path}{suggest_sibling(path)}")
    return Spec("python", text)
