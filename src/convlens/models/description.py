"""A model in a few lines, for notebooks and interactive sessions."""

from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from convlens.runtime.guard import unwrap_network
from convlens.text import printable
from convlens.wording import counted

_NAMED = 4  # classes that are named
_LONGEST = 100  # characters of a line


def describe_model(model: Any) -> list[tuple[str, str]]:
    """The network, its images, its photos and its classes, each with its name and in one line.

    Args:
        model: a `Model`, whose class is defined above this module.
    """
    low, high = model.bounds
    height, width = model.size
    mean = "the image's own mean" if model.center == "image" else f"mean {_values(model.mean)}"
    rows = [
        ("network", _describe_network(model)),
        (
            "image",
            f"{model.channels} × {height} × {width}, pixels {low:g} to {high:g}, {mean}, "
            f"standard deviation {_values(model.std)}",
        ),
        ("photos", model.preprocessing.summary()),
        ("classes", _describe_classes(model.labels)),
    ]
    return [(name, _shorten(printable(words))) for name, words in rows]


def _describe_network(model: Any) -> str:
    network: nn.Module = unwrap_network(model.network)
    initialized = [p for p in network.parameters() if not is_lazy(p)]
    count = counted(sum(p.numel() for p in initialized), "parameter")
    words = f"{type(network).__name__}, {count}, {str(model.dtype).removeprefix('torch.')}"
    return f"{words} on {model.device}" + (f"; {model.origin}" if model.origin else "")


def _describe_classes(labels: tuple[str, ...] | None) -> str:
    if labels is None:
        return "no names"
    names = ", ".join(label.partition(",")[0] for label in labels[:_NAMED])
    return f"{len(labels):,}: {names}" + (", …" if len(labels) > _NAMED else "")


def _values(values: tuple[float, ...]) -> str:
    """Values of the channels; one number where they are equal."""
    texts = [f"{value:.3g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else f"({', '.join(texts)})"


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
