"""The class names of a model, as far as they are known before torch is imported."""

import csv
from importlib.util import find_spec
from pathlib import Path

from convlens.models.loading.class_names import read_class_names
from convlens.models.loading.specs import parse_spec

_RANDOM = "@random"  # weights without labels, at the end of a spec


def labels_of_spec(text: str, class_names: Path | None = None) -> tuple[str, ...] | None:
    """The class names of the model that a spec names, without loading it.

    Args:
        text: the spec, as `convlens.load` takes it.
        class_names: file with names that replace those of the model. Default: none.

    Returns:
        The names by index, none for random weights; None if they are known only after loading.

    Raises:
        ConvlensError: as `parse_spec` and `read_class_names`.

    Example:
        >>> labels_of_spec("torchvision:resnet18@random"), labels_of_spec("torchvision:resnet18")
        ((), None)
    """
    if class_names is not None:
        return read_class_names(class_names.expanduser())
    form = parse_spec(text).form
    if form == "default":
        return _imagenet_labels()
    return () if form in ("torchvision", "timm") and text.endswith(_RANDOM) else None


def _imagenet_labels() -> tuple[str, ...] | None:
    """What timm's `ImageNetInfo().label_descriptions()` returns; None if its files lie elsewhere.

    timm imports torch, which takes seconds, so its files are read without it.
    """
    timm = find_spec("timm")
    if timm is None or not timm.submodule_search_locations:
        return None
    folder = Path(timm.submodule_search_locations[0]) / "data" / "_info"
    try:
        numbers = (folder / "imagenet_synsets.txt").read_text("utf-8").splitlines()
        lines = (folder / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines()
        lemmas = dict(csv.reader(lines, delimiter="\t"))
        return tuple(lemmas[number] for number in numbers)
    except (OSError, ValueError, KeyError):
        return None
