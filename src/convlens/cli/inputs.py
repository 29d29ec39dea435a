"""From what was typed to what the views take."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from convlens.data.datasets.parquet import ParquetPhotos
from convlens.data.datasets.photo_dataset import PhotoDataset, as_dataset, find_dataset_keys
from convlens.data.photo_files import find_files, find_photos
from convlens.data.photo_formats import PARQUET_SUFFIX, photo_suffixes
from convlens.errors import ConvlensError
from convlens.files import check_replaceable_folder
from convlens.models.labels import read_labels
from convlens.models.loading.load import load
from convlens.models.model import Model
from convlens.passes.job import Engine
from convlens.passes.local import LocalEngine
from convlens.passes.ray.engine import RayEngine
from convlens.results import RESULT
from convlens.tracing.trace import trace


def load_model(spec: str, *, size: str | None, device: str | None, seed: int, quiet: bool) -> Model:
    """The model that a command line names."""
    from convlens.cli import terminal

    with terminal.waiting(f"loading {spec}", quiet=quiet):
        return load(
            spec, size=parse_size(size) if size is not None else None, device=device, seed=seed
        )


def engine_of(
    name: str, *, address: str | None, actors: int | None, device: str | None
) -> tuple[Engine, str | None]:
    """What runs a pass over photos, and the device that the model is loaded to here.

    Raises:
        ConvlensError: options of RayEngine without it.
    """
    if name == "ray":
        kind = device.partition(":")[0] if device is not None else None
        # Workers may have what this machine has not.
        here = device if kind != "cuda" or torch.cuda.is_available() else None
        return RayEngine(address=address, actors=actors, device=kind), here
    for option, value in (("--address", address), ("--actors", actors)):
        if value is not None:
            raise ConvlensError(f"{option} is an option of --engine ray, which was not given")
    return LocalEngine(), device


@contextmanager
def started(engine: Engine, *, quiet: bool) -> Iterator[None]:
    """What an engine has to start lasts until this is left; says what it waits for.

    Raises:
        ConvlensError: it cannot be started.
    """
    from convlens.cli import terminal

    with ExitStack() as stack:
        if isinstance(engine, RayEngine):
            where = f"connecting to {engine.address}" if engine.address else "starting Ray"
            with terminal.waiting(where, quiet=quiet):
                stack.enter_context(engine.open())
        yield


def find_dataset(arguments: Sequence[str], *, column: str | None) -> list[Path] | ParquetPhotos:
    """The photos that a command line names: files, or the rows of Parquet files.

    Raises:
        ConvlensError: as `find_photos` and `ParquetPhotos`; photos and Parquet files side by side;
            a column without Parquet files.
    """
    kinds = {PARQUET_SUFFIX, *photo_suffixes()}
    files = [path for one in arguments for path in find_files(one, kinds)]
    tables = [path for path in files if path.suffix.lower() == PARQUET_SUFFIX]
    if not tables:
        if column is not None:
            raise ConvlensError(f"--column {column} is of Parquet files, and none was given")
        return find_photos(arguments)
    others = (path for path in files if path.suffix.lower() != PARQUET_SUFFIX)
    if (other := next(others, None)) is not None:
        raise ConvlensError(
            f"{tables[0]} is a Parquet file and {other} is not; give one kind at a time"
        )
    return ParquetPhotos(tables, column)


def parse_size(text: str) -> tuple[int, int]:
    """`224` or `224x320` (height x width) to pixels.

    Raises:
        ConvlensError: anything else.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConvlensError(f"size {text!r} is not a number of pixels; write 224, or 224x320")
    return int(parts[0]), int(parts[-1])


def parse_position(text: str) -> tuple[int, int]:
    """`Y,X` to row and column.

    Raises:
        ConvlensError: anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ConvlensError(f"position {text!r} is not Y,X, for example 3,5")
    return int(parts[0]), int(parts[1])


def parse_pixels(text: str) -> list[int]:
    """`1,32` to numbers of pixels.

    Raises:
        ConvlensError: anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConvlensError(f"{text!r} are not numbers of pixels by commas, for example 1,32")
    return [int(part) for part in parts]


@contextmanager
def unfinished(out: Path, *, resume: bool, marker: str = RESULT) -> Iterator[Path]:
    """The folder beside `out` that keeps what is done of a long pass; removed when all is done.

    Args:
        out: where the result will be.
        resume: go on with what such a folder holds.
        marker: name of a file that every such `out` holds.

    Raises:
        ConvlensError: it is there already and `resume` was not asked for, or the other way round.
    """
    check_replaceable_folder(out, marker=marker)
    folder = out.with_name(f"{out.name}.unfinished")
    if folder.exists() and not resume:
        raise ConvlensError(
            f"{folder} holds what is done of a run that was stopped; give --resume to go on with "
            f"it, or remove it"
        )
    if resume and not folder.exists():
        raise ConvlensError(
            f"there is nothing to go on with: no {folder} (what is done is saved twice a minute)"
        )
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def find_labels(path: Path | None, model: Model) -> dict[str, tuple[int, ...]] | None:
    """The labels of photos by the ends of their paths, or None where no CSV was given."""
    if path is None:
        return None
    found = trace(model)
    return read_labels(path, model.labels, found.num_outputs)


def answers_of(
    photos: Sequence[Path] | PhotoDataset, table: Mapping[str, tuple[int, ...]] | None
) -> list[tuple[int, ...] | None] | None:
    """The right answers to photos by their names, or None where there is no table of them.

    Raises:
        ConvlensError: an entry of the table stands for two photos, or none for any.
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
    return [None if key is None else table[key] for key in keys]
