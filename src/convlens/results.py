"""What all results share: equality by value, words, pictures, and a folder that holds them."""

import dataclasses
import html
import json
import math
import pkgutil
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from matplotlib.figure import Figure
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from convlens.data.images import encode_png
from convlens.errors import ConvlensError, suggest
from convlens.files import atomic_folder, write_tensors

_FORMAT = 1  # of the folder; raised when an older version could not read it
RESULT = "result.json"  # in the folder of every saved result
_TENSORS = "tensors.safetensors"
_LISTED = 64  # values of a tensor that `to_json` still lists
_SHOWN = 6  # entries of a tuple or dictionary that words still name
_LINE = 100  # characters
_ROOMS = ("analyses", "passes", "training", "page")  # where results are defined


class Result:
    """Base of what views return, for subclasses made with `@dataclass(frozen=True, eq=False)`.

    Fields are tensors, numbers, text, bools, None, tuples and dictionaries (with text as keys) of
    these, and other results. Results are equal if all their fields are, and are not hashable.
    """

    _classes: ClassVar[dict[str, type["Result"]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Result._classes[cls.__name__] = cls
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Result.__repr__  # type: ignore[method-assign] # or dataclass sets its own

    def pictures(self) -> dict[str, Tensor]:
        """Pictures for people, uint8 `(H, W, 3)` or `(H, W)` by name. A bare result has none."""
        return {}

    def figure(self) -> Figure:
        """The pictures in a row with their names, as a matplotlib figure.

        Raises:
            ConvlensError: there are none.
        """
        pictures = self.pictures()
        if not pictures:
            raise ConvlensError(f"a {type(self).__name__} has no pictures")
        figure = Figure(figsize=(3 * len(pictures), 3.3), layout="constrained")
        row = figure.subplots(1, len(pictures), squeeze=False)[0]
        for axes, (name, pixels) in zip(row, pictures.items(), strict=True):
            axes.imshow(pixels.numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(name)
            axes.set_axis_off()
        return figure

    def save(self, folder: str | Path) -> None:
        """Write a folder: tensors as safetensors, the rest as JSON, pictures as PNG.

        It is written whole or not at all. An earlier result of that name is replaced, any other
        folder that is not empty is refused.

        Raises:
            ConvlensError: it cannot be written there.
        """
        self._write(folder, self.pictures())

    def keep(self, folder: str | Path) -> None:
        """As `save`, without pictures."""
        self._write(folder, {})

    def _write(self, folder: str | Path, pictures: Mapping[str, Tensor]) -> None:
        """The folder of `save`, with these pictures."""
        tensors: dict[str, Tensor] = {}
        data = {"format": _FORMAT, "result": _encode(self, "", tensors)}
        with atomic_folder(folder, marker=RESULT) as temporary:
            write_tensors(temporary / _TENSORS, tensors)
            self._draw(temporary, pictures)
            text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
            (temporary / RESULT).write_text(text + "\n", encoding="utf-8")

    def _draw(self, folder: Path, pictures: Mapping[str, Tensor]) -> None:
        """Pictures as PNG files, in place of those that are there."""
        for old in folder.glob("*.png"):
            old.unlink()
        for name, pixels in pictures.items():
            _free_name(folder, name).write_bytes(encode_png(pixels))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The result that was saved in a folder; its tensors are on the CPU.

        Raises:
            ConvlensError: there is none, it is damaged, of another class than this one, or of one
                of your own whose module is not imported.
        """
        found = _read(Path(folder))
        if not isinstance(found, cls):
            raise ConvlensError(
                f"{folder} holds a {type(found).__name__}, not a {cls.__name__}; "
                f"load it with {type(found).__name__}.load or Result.load"
            )
        return found

    def to_json(self, *, listed: int = _LISTED) -> dict[str, Any]:
        """The numbers as plain data for `json.dumps`.

        Tensors of at most `listed` values are nested lists, larger ones `{"shape", "dtype", "min",
        "max"}`, with `"nan"`, their count, where there are any. Numbers that JSON lacks are the
        texts "nan", "inf" and "-inf".
        """
        return {name: _plain(value, listed) for name, value in _fields(self).items()}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return _same(_fields(self), _fields(other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = [f"{name}={_words(value)}" for name, value in _fields(self).items()]
        line = f"{type(self).__name__}({', '.join(fields)})"
        if len(line) <= _LINE:
            return line
        return f"{type(self).__name__}(\n    " + ",\n    ".join(fields) + ",\n)"

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(_words(value))}</td></tr>"
            for name, value in _fields(self).items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{''.join(rows)}</table>"


def _fields(result: Any) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON, its tensors put aside under their dotted paths.

    Whatever JSON cannot tell from something else becomes an object with one key that says what it
    is, so that text and dictionaries may hold anything.
    """
    match value:
        case float() if not math.isfinite(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            while path in tensors:  # a dot in a dictionary's key
                path += "'"
            # A copy, as safetensors takes no tensors that share memory.
            tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": path}
        case tuple():
            return [_encode(one, _join(path, str(k)), tensors) for k, one in enumerate(value)]
        case dict() if all(isinstance(key, str) for key in value):
            inner = {key: _encode(one, _join(path, key), tensors) for key, one in value.items()}
            return {"dict": inner}
        case Result():
            inner = {k: _encode(one, _join(path, k), tensors) for k, one in _fields(value).items()}
            return {"class": type(value).__name__, "fields": inner}
    raise TypeError(f"{path} is a {type(value).__name__}, which a result cannot hold")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _read(folder: Path) -> Any:
    try:
        data = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        return _unpack(data, load_file(folder / _TENSORS))
    except ConvlensError as error:
        raise ConvlensError(f"the result in {folder} {error}") from None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConvlensError(
            f"{folder} holds no whole result; give a folder that save(folder) wrote"
        ) from error
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        words = " ".join(str(error).split())
        raise ConvlensError(
            f"the result in {folder} is damaged ({words}); save it again"
        ) from error


def _unpack(data: Any, tensors: dict[str, Tensor]) -> Any:
    if data["format"] > _FORMAT:
        raise ConvlensError("was saved by a newer convlens; update this one")
    return _decode(data["result"], tensors)


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case {"float": text}:
            return float(text)
        case {"tensor": path}:
            return tensors[path]
        case list():
            return tuple(_decode(one, tensors) for one in value)
        case {"dict": inner}:
            return {key: _decode(one, tensors) for key, one in inner.items()}
        case {"class": name, "fields": inner}:
            fields = {key: _decode(one, tensors) for key, one in inner.items()}
            return _class(name)(**fields)
    return value


def _class(name: str) -> type[Result]:
    if name not in Result._classes:
        _import_rooms()
    if name not in Result._classes:
        close = suggest(name, Result._classes)
        raise ConvlensError(f"is a {name}; import the module that defines it{close}")
    return Result._classes[name]


def _import_rooms() -> None:
    """Import all of this package that may define results: one may be read before it was made here.

    By a walk instead of a name in the file, so that a file says nothing about what is imported.
    """
    package = __name__.partition(".")[0]
    for room in _ROOMS:
        with suppress(ImportError):  # of an extra that is not installed
            path = import_module(f"{package}.{room}").__path__
            for module in pkgutil.walk_packages(path, f"{package}.{room}."):
                with suppress(ImportError):
                    import_module(module.name)


def _same(one: Any, other: Any) -> bool:
    match one, other:
        case Tensor(), Tensor():
            return _same_tensors(one, other)
        case tuple(), tuple():
            return len(one) == len(other) and all(map(_same, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
        case float(), float():
            return one == other or (math.isnan(one) and math.isnan(other))
        case (Tensor(), _) | (_, Tensor()):
            return False
    return bool(one == other)


def _same_tensors(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    one, other = one.detach().cpu(), other.detach().cpu()
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _plain(value: Any, listed: int) -> Any:
    match value:
        case Tensor():
            return _plain(value.tolist(), listed) if value.numel() <= listed else _describe(value)
        case float() if not math.isfinite(value):
            return str(value)
        case tuple() | list():
            return [_plain(one, listed) for one in value]
        case dict():
            return {key: _plain(one, listed) for key, one in value.items()}
        case Result():
            return value.to_json(listed=listed)
    return value


def _describe(tensor: Tensor) -> dict[str, Any]:
    """Shape, type and range of a tensor; the range leaves NaN out, and is None without values."""
    missing = tensor.isnan()
    values = tensor.detach()[~missing]
    ordered = values.numel() > 0 and not values.is_complex()
    description: dict[str, Any] = {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "min": _plain(values.min().item(), 0) if ordered else None,
        "max": _plain(values.max().item(), 0) if ordered else None,
    }
    return description | ({"nan": int(missing.sum())} if bool(missing.any()) else {})


def _words(value: Any) -> str:
    match value:
        case Tensor():
            return _tensor_words(value)
        case str():
            return repr(value if len(value) <= _LINE else value[: _LINE - 1] + "…")
        case float():
            return _short(value)
        case tuple():
            return f"({_listed([_words(one) for one in value[:_SHOWN]], len(value))})"
        case dict():
            first = list(value.items())[:_SHOWN]
            return f"{{{_listed([f'{key!r}: {_words(one)}' for key, one in first], len(value))}}}"
    return repr(value)


def _tensor_words(tensor: Tensor) -> str:
    about = _describe(tensor)
    words = f"{about['dtype']} ({', '.join(map(str, tensor.shape))})"
    if about["min"] is not None:
        words += f", {_short(about['min'])} to {_short(about['max'])}"
    return words + (f", {about['nan']} NaN" if "nan" in about else "")


def _short(number: Any) -> str:
    return f"{number:.4g}" if isinstance(number, float) else str(number)


def _listed(shown: list[str], count: int) -> str:
    return ", ".join(shown) + (f", … {count - len(shown)} more" if count > len(shown) else "")


def _free_name(folder: Path, name: str) -> Path:
    stem = re.sub(r"[^\w.,=-]+", "_", name).strip("._") or "picture"
    path, number = folder / f"{stem}.png", 2
    while path.exists():
        path, number = folder / f"{stem}_{number}.png", number + 1
    return path
