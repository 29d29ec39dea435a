"""Result, the base class of what analyses return."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor

from convlens.drawing import Panel, grid_figure
from convlens.errors import ConvlensError
from convlens.results.description import LISTED, result_in_lines, to_plain_data
from convlens.results.registry import register_class
from convlens.results.storage import fields_of, read_result, write_result
from convlens.results.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4  # pictures side by side in a figure
_MOST_PICTURES = 12  # in a figure


class Result:
    """Base class of what analyses return.

    Subclasses are made with `@dataclass(frozen=True, eq=False)`. Their fields are tensors, numbers,
    text, bools, None, other results, and tuples and dictionaries (with text as keys) of these.
    Two results are equal if they have the same class and equal fields; NaN equals NaN. Results are
    not hashable.

    Example:
        >>> import dataclasses, tempfile, torch, convlens
        >>> @dataclasses.dataclass(frozen=True, eq=False)
        ... class Mean(convlens.Result):
        ...     values: torch.Tensor
        >>> mean = Mean(torch.tensor([0.5, 1.5]))
        >>> mean
        Mean(values=float32 (2), 0.5 to 1.5)
        >>> folder = tempfile.mkdtemp()
        >>> mean.save(folder)
        >>> Mean.load(folder) == mean
        True
    """

    # The heading of `index.html`. Default: the words of the name of the class.
    folder_title: ClassVar[str] = ""
    # For names of pictures, how to read them; `index.html` then shows each picture by itself.
    how_to_read: ClassVar[Mapping[str, str]] = {}
    # Fields of `numbers_json` that differ from those of the class: type and description, or None
    # for a field that it leaves out. The JSON Schema has them, too.
    numbers_fields: ClassVar[Mapping[str, tuple[Any, str] | None]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        register_class(cls)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Result.__repr__  # type: ignore[method-assign] # or dataclass sets its own

    def pictures(self) -> dict[str, Tensor]:
        """Pictures for people by name, uint8 `(H, W, 3)` or `(H, W)`. The base class has none."""
        return {}

    def summary(self) -> str:
        """The result in a sentence, without full stop. The base class has none and returns ""."""
        return ""

    def table(self) -> Table | None:
        """The most important numbers as a small table. The base class has none."""
        return None

    def csv_tables(self) -> dict[str, Table]:
        """Tables that `save` also writes as CSV files, by the name of the file.

        The base class has none.
        """
        return {}

    def figure(self) -> "Figure":
        """The result as a matplotlib figure, which notebooks display.

        Text in a file that `figure.savefig("NAME.pdf")` or `.svg` writes is vector text. The base
        class draws the first twelve `pictures` with their names.

        Raises:
            ConvlensError: if the result has no pictures.
        """
        pictures = list(self.pictures().items())
        if not pictures:
            raise ConvlensError(f"a {type(self).__name__} has no pictures")
        panels = [Panel(pixels, name) for name, pixels in pictures[:_MOST_PICTURES]]
        some = f"{len(panels)} of {len(pictures)} pictures" * (len(panels) < len(pictures))
        return grid_figure(panels, min(_COLUMNS, len(panels)), title=some)

    def save(
        self,
        folder: str | Path,
        *,
        pictures: Mapping[str, Tensor] | None = None,
        photo: str | Path = "",
        command: str | None = None,
    ) -> None:
        """Write the result to a folder: data for `load`, and what people read.

        `tensors.safetensors` and `result.json` hold the data, PNG files the pictures,
        `contact-sheet.png` all pictures, `numbers.json` the numbers, and `index.html` shows them.
        Some results add tables as CSV files.
        The folder is written whole or not at all. A result that is in it is replaced; any other
        folder that is not empty is refused.

        Args:
            folder: path of the folder.
            pictures: the pictures to write, by name. Default: those of `pictures()`.
            photo: name or path of the photo that the result is of. Names of pictures begin with
                its name, and `index.html` states it. Default: none.
            command: the command line that makes the result, which `index.html` and `numbers.json`
                state. Default: none.

        Raises:
            ConvlensError: if the folder cannot be written, or holds other files.
        """
        from convlens.results.folder import write_for_people  # jinja2 is loaded only where needed

        drawn = self.pictures() if pictures is None else pictures

        def write(temporary: Path) -> None:
            write_for_people(temporary, self, drawn, photo=Path(photo).name, command=command)

        write_result(self, folder, write)

    def save_data(self, folder: str | Path) -> None:
        """Write the data of the result to a folder as `save` does, without what people read.

        Args:
            folder: path of the folder.

        Raises:
            ConvlensError: as `save`.
        """
        write_result(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a result that `save` wrote. Its tensors are on the CPU.

        Args:
            folder: path of the folder.

        Raises:
            ConvlensError: if the folder holds no result, one that is damaged or was saved by
                another version, one of another class than this one, or one of a class of your own
                whose module is not imported.
        """
        result = read_result(Path(folder))
        if not isinstance(result, cls):
            name = type(result).__name__
            raise ConvlensError(
                f"{folder} holds a {name}, not a {cls.__name__}; "
                f"load it with {name}.load or Result.load"
            )
        return result

    def to_json(self, *, listed: int = LISTED) -> dict[str, Any]:
        """The fields as plain data for `json.dumps`.

        Args:
            listed: a tensor of at most so many values becomes nested lists. A larger one becomes
                `{"shape", "dtype", "min", "max"}`, with the number of NaN as `"nan"` if there are
                any. Numbers that JSON lacks become the texts "nan", "inf" and "-inf". Default:
                `LISTED`.
        """
        return {name: to_plain_data(value, listed) for name, value in fields_of(self).items()}

    def numbers_json(self) -> dict[str, Any]:
        """The fields in `numbers.json` and after `--json`.

        The base class gives those of `to_json`, without those that `numbers_fields` leaves out.
        """
        left_out = {name for name, field in self.numbers_fields.items() if field is None}
        return {name: value for name, value in self.to_json().items() if name not in left_out}

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return _equal(fields_of(self), fields_of(other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return result_in_lines(type(self).__name__, self.summary(), self._shown_fields())

    def _shown_fields(self) -> dict[str, Any]:
        """The fields without empty warnings."""
        return dict(entry for entry in fields_of(self).items() if entry != ("warnings", ()))

    def _repr_html_(self) -> str:
        from convlens.results.display import result_html  # jinja2 is loaded only where it is shown

        return result_html(self, self._shown_fields())


def _equal(value: Any, other: Any) -> bool:
    match value, other:
        case Tensor(), Tensor():
            return _equal_tensors(value, other)
        case tuple(), tuple():
            return len(value) == len(other) and all(map(_equal, value, other))
        case dict(), dict():
            return value.keys() == other.keys() and all(
                _equal(value[key], other[key]) for key in value
            )
        case float(), float():
            return value == other or (math.isnan(value) and math.isnan(other))
        case (Tensor(), _) | (_, Tensor()):
            return False
    return bool(value == other)


def _equal_tensors(tensor: Tensor, other: Tensor) -> bool:
    if tensor.dtype != other.dtype or tensor.shape != other.shape:
        return False
    tensor, other = tensor.detach().cpu(), other.detach().cpu()
    return bool(((tensor == other) | (tensor.isnan() & other.isnan())).all())
