"""Turn the words of a command line into models, photos, labels, numbers and folders."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from convlens.cli.arguments import ModelArguments
from convlens.data.datasets.parquet import ParquetPhotos
from convlens.data.datasets.photo_dataset import PhotoDataset, as_dataset, find_dataset_keys
from convlens.data.photo_files import find_photos
from convlens.data.photo_formats import PARQUET_SUFFIX
from convlens.data.photo_names import describe_unmatched
from convlens.errors import ConvlensError
from convlens.files import claim_folder
from convlens.models.labels import read_labels
from convlens.models.loading.load import load
from convlens.models.model import Model
from convlens.passes.job import Engine
from convlens.passes.local import LocalEngine
from convlens.passes.ray.engine import RayEngine
from convlens.results import RESULT
from convlens.tracing.tracer import trace

_MOST_DIGITS = 9  # of a number of pixels


def load_model(arguments: ModelArguments) -> Model:
    """Load the model that a command line names, and show that this takes a while."""
    from convlens.cli import terminal

    with terminal.waiting(f"loading {arguments.model}", quiet=arguments.quiet):
        model = load(
            arguments.model,
            size=parse_size(arguments.size) if arguments.size is not None else None,
            class_names=arguments.class_names,
            device=arguments.device,
            seed=arguments.seed,
        )
    if arguments.model.startswith("file:"):
        # what was done to make the weights fit
        terminal.printer(quiet=arguments.quiet)(model.origin)
    return model


def choose_engine(
    name: str, *, address: str | None, actors: int | None, device: str | None
) -> tuple[Engine, str | None]:
    """The engine that runs a pass, and the device on which the model is loaded in this process.

    Raises:
        ConvlensError: if an option of Ray is given without `--engine ray`.
    """
    if name == "ray":
        kind = device.partition(":")[0] if device is not None else None
        # The machines of the workers may have GPUs although this one has none.
        here = device if kind != "cuda" or torch.cuda.is_available() else None
        return RayEngine(address=address, actors=actors, device=kind), here
    for option, value in (("--address", address), ("--actors", actors)):
        if value is not None:
            raise ConvlensError(f"{option} is an option of --engine ray, which was not given")
    return LocalEngine(), device


@contextmanager
def running_engine(engine: Engine, *, quiet: bool) -> Iterator[None]:
    """Start what an engine needs until the context is left, and show that this takes a while.

    Raises:
        ConvlensError: if it cannot be started.
    """
    from convlens.cli import terminal

    with ExitStack() as stack:
        if isinstance(engine, RayEngine):
            where = f"connecting to {engine.address}" if engine.address else "starting Ray"
            with terminal.waiting(where, quiet=quiet):
                stack.enter_context(engine.open())
        yield


def find_paths(
    arguments: Sequence[str], *, out: Path | None = None, tables: bool = False
) -> list[Path]:
    """The photos that a command line names; what is left out of folders is printed.

    Raises:
        ConvlensError: as `find_photos`.
    """
    from convlens.cli import terminal

    return find_photos(
        arguments,
        out=out,
        tables=tables,
        notify=lambda sentence: terminal.note(f"left out: {sentence}"),
    )


def find_dataset(
    arguments: Sequence[str], *, column: str | None, out: Path
) -> list[Path] | ParquetPhotos:
    """The photos that a command line names: files, or the rows of Parquet files.

    Raises:
        ConvlensError: as `find_photos` and `ParquetPhotos`; if photos and Parquet files are mixed,
            or a column is given without Parquet files.
    """
    files = find_paths(arguments, out=out, tables=True)
    tables = [path for path in files if path.suffix.lower() == PARQUET_SUFFIX]
    if not tables:
        if column is not None:
            raise ConvlensError(
                f"--column {column} is an option of Parquet files, and none was given"
            )
        return files
    others = (path for path in files if path.suffix.lower() != PARQUET_SUFFIX)
    if (other := next(others, None)) is not None:
        raise ConvlensError(
            f"{tables[0]} is a Parquet file and {other} is not; give one kind at a time"
        )
    return ParquetPhotos(tables, column)


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels from `224` or `224x320`.

    Raises:
        ConvlensError: for any other text.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(_is_number(part) and int(part) > 0 for part in parts):
        raise ConvlensError(f"size {text!r} is not a number of pixels; write 224, or 224x320")
    return int(parts[0]), int(parts[-1])


def parse_position(text: str) -> tuple[int, int]:
    """Row and column from `Y,X`.

    Raises:
        ConvlensError: for any other text.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(map(_is_number, parts)):
        raise ConvlensError(f"position {text!r} is not Y,X, for example 3,5")
    return int(parts[0]), int(parts[1])


def parse_shift(text: str) -> tuple[int, int]:
    """Rows downward and columns to the right from `Y,X`, either of which may be negative.

    Raises:
        ConvlensError: for any other text.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(_is_number(part.removeprefix("-")) for part in parts):
        raise ConvlensError(f"shift {text!r} is not Y,X, for example 0,-1")
    return int(parts[0]), int(parts[1])


def parse_pixels(text: str) -> list[int]:
    """Numbers of pixels from `1,32`.

    Raises:
        ConvlensError: for any other text.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(_is_number(part) and int(part) > 0 for part in parts):
        raise ConvlensError(
            f"{text!r} is not a list of numbers of pixels; write them with commas, for example 1,32"
        )
    return [int(part) for part in parts]


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MOST_DIGITS


@contextmanager
def output_folder(out: Path, *, marker: str = RESULT) -> Iterator[None]:
    """Claim the folder of a result before any long work.

    Args:
        out: the folder.
        marker: name of a file by which an earlier result in `out` is known.

    Raises:
        ConvlensError: another process writes to the folder, or it cannot be replaced.
    """
    with claim_folder(out, marker=marker):
        yield


@contextmanager
def resumable_folder(out: Path, *, resume: bool, marker: str = RESULT) -> Iterator[Path]:
    """The resume folder of a pass, beside `out`; removed when the pass has finished.

    Args:
        out: folder of the result; claimed as by `output_folder`.
        resume: whether to continue the pass that the folder belongs to.
        marker: name of a file by which an earlier result in `out` is known.

    Raises:
        ConvlensError: as `output_folder`; if the resume folder exists and `resume` is false, or
            the other way round.
    """
    with claim_folder(out, marker=marker) as claim:
        folder = claim.path.with_name(f"{claim.path.name}.unfinished")
        shown = out.with_name(folder.name) if out.name else folder
        if folder.exists() and not resume:
            raise ConvlensError(
                f"{shown} belongs to a run that was stopped; give --resume to continue it, or "
                f"remove the folder"
            )
        if resume and not folder.exists():
            raise ConvlensError(
                f"there is nothing to resume: no {shown} (a run saves its state twice a minute)"
            )
        yield folder
        claim.discard(folder)


def read_label_table(path: Path | None, model: Model) -> dict[str, tuple[int, ...]] | None:
    """The labels of a CSV file by the ends of the photos' paths; None if no file is given."""
    if path is None:
        return None
    return read_labels(path, model.labels, trace(model).num_outputs)


def match_labels(
    photos: Sequence[Path] | PhotoDataset, table: Mapping[str, tuple[int, ...]] | None
) -> list[tuple[int, ...] | None] | None:
    """The labels of each photo, or None if there is no table of labels.

    Entries that fit no photo are named on standard error.

    Raises:
        ConvlensError: if an entry of the table fits two photos, or no entry fits any photo.
    """
    if table is None:
        return None
    dataset = as_dataset(photos)
    keys = find_dataset_keys(dataset, table)
    if not any(keys):
        first = next(iter(table), None)
        raise ConvlensError(
            "the CSV of --labels names no photo at all"
            if first is None
            else f"--labels names none of the photos: it has {first}, and the first photo is "
            f"{dataset.name(0)}; write the ends of their paths, at least the names of the files"
        )
    note_unmatched("--labels", table, keys)
    return [None if key is None else table[key] for key in keys]


def note_unmatched(option: str, table: Mapping[str, object], keys: Sequence[str | None]) -> None:
    """Name the entries of a table that fit no photo on standard error.

    Args:
        option: the option that gave the table.
        table: the table.
        keys: the key of each photo, None where the table has none.
    """
    from convlens.cli import terminal

    if sentence := describe_unmatched(table, keys):
        terminal.note(f"{option}: {sentence}")
