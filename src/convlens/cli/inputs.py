"""Turn the words of a command line into models, photos, labels and folders.

What needs torch imports it where it is used: the commands check photos, labels and folders first,
so that a mistyped name does not wait for torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.claims import real_path
from convlens.cli.arguments import ModelArguments
from convlens.cli.parsing import parse_size
from convlens.cli.remarks import add_remark
from convlens.data.datasets.parquet import ParquetPhotos
from convlens.data.photo_files import find_photos
from convlens.data.photo_formats import PARQUET_SUFFIX
from convlens.data.photo_names import describe_unmatched
from convlens.data.photos import read_header_size, read_photos
from convlens.errors import ConvlensError, PhotoError
from convlens.files import RESULT, check_replaceable_folder, claim_folder
from convlens.runtime.garbage import collect_as_usual

if TYPE_CHECKING:
    from convlens.models.model import Model
    from convlens.passes.job import Engine


def load_model(arguments: ModelArguments) -> "Model":
    """Load the model that a command line names, and show that this takes a while."""
    from convlens.cli import terminal

    note = terminal.printer(quiet=arguments.quiet)
    if not arguments.quiet:
        terminal.show_log()  # such as the memory that large images take
    with terminal.waiting(f"loading {arguments.model}", quiet=arguments.quiet):
        # These import torch.
        from convlens.analyses.missing_settings.missing_settings import missing_settings
        from convlens.models.loading.load import load

        model = load(
            arguments.model,
            size=parse_size(arguments.size) if arguments.size is not None else None,
            class_names=arguments.class_names,
            device=arguments.device,
            seed=arguments.seed,
        )
    collect_as_usual()
    if model.spec != arguments.model or arguments.model.startswith("file:"):
        # what was found out about the model, and what was done to make the weights fit
        note(f"{model.spec}: {model.origin}" if model.origin else f"{model.spec}")
    if not arguments.quiet:
        for sentence in missing_settings(model):
            add_remark(sentence)
    return model


def choose_engine(
    name: str, *, address: str | None, actors: int | None, device: str | None
) -> "tuple[Engine, str | None]":
    """The engine that runs a pass, and the device on which the model is loaded in this process.

    Raises:
        ConvlensError: if an option of Ray is given without `--engine ray`.
    """
    check_engine_options(name, address=address, actors=actors)
    if name == "ray":
        import torch

        from convlens.passes.ray.engine import RayEngine

        kind = device.partition(":")[0] if device is not None else None
        # The machines of the workers may have GPUs although this one has none.
        local_device = device if kind != "cuda" or torch.cuda.is_available() else None
        return RayEngine(address=address, actors=actors, device=kind), local_device
    from convlens.passes.local import LocalEngine

    return LocalEngine(), device


def check_engine_options(name: str, *, address: str | None, actors: int | None) -> None:
    """Raise ConvlensError if an option of Ray is given without `--engine ray`."""
    for option, value in (("--address", address), ("--actors", actors)):
        if value is not None and name != "ray":
            raise ConvlensError(f"{option} is an option of --engine ray, which was not given")


@contextmanager
def running_engine(engine: "Engine", *, quiet: bool) -> Iterator[None]:
    """Start what an engine needs until the context is left, and show that this takes a while.

    Raises:
        ConvlensError: if it cannot be started.
    """
    from convlens.cli import terminal
    from convlens.passes.ray.engine import RayEngine

    with ExitStack() as stack:
        if isinstance(engine, RayEngine):
            activity = f"connecting to {engine.address}" if engine.address else "starting Ray"
            with terminal.waiting(activity, quiet=quiet):
                stack.enter_context(engine.open())
        yield


def find_paths(
    arguments: Sequence[str], *, out: Path | None = None, tables: bool = False
) -> list[Path]:
    """The photos that a command line names; what is left out of folders is printed.

    Raises:
        ConvlensError: as `find_photos`; or no photo at all can be opened.
    """
    from convlens.cli import terminal

    paths = find_photos(
        arguments,
        out=out,
        tables=tables,
        notify=lambda sentence: terminal.note(f"left out: {sentence}"),
    )
    _check_any_photo([path for path in paths if path.suffix.lower() != PARQUET_SUFFIX])
    return paths


def _check_any_photo(paths: Sequence[Path]) -> None:
    """Open photos until one of them is an image; only their headers are decoded.

    Raises:
        PhotoError: none of them is.
    """
    for path in paths:
        try:
            read_header_size(path)
        except PhotoError:
            continue
        return
    if paths:
        read_photos(paths, read=read_header_size)  # raises


def find_dataset(
    arguments: Sequence[str], *, column: str | None, out: Path | None
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


@contextmanager
def output_folder(out: Path, *, marker: str = RESULT) -> Iterator[None]:
    """Claim the folder of a result before any long work.

    Args:
        out: the folder.
        marker: name of a file by which an earlier result in `out` is known. Default:
            `result.json`.

    Raises:
        ConvlensError: another process writes to the folder, or it cannot be replaced.
    """
    with claim_folder(out, marker=marker):
        yield


def check_resumable_folder(out: Path | None, *, resume: bool, marker: str = RESULT) -> None:
    """Check, before any work is done, that `resumable_folder` will accept a folder.

    Raises:
        ConvlensError: as `resumable_folder`, except for a folder that another process writes to.
    """
    if out is None:
        if resume:
            raise ConvlensError("--resume continues a run into a folder; name it by --out")
        return
    check_replaceable_folder(out, marker=marker)
    _check_resume_folder(out, real_path(out), resume=resume)


@contextmanager
def resumable_folder(
    out: Path | None, *, resume: bool, marker: str = RESULT
) -> Iterator[Path | None]:
    """The resume folder of a pass, beside `out`; removed when the pass has finished.

    Args:
        out: folder of the result; claimed as by `output_folder`. None: nothing is written, so that
            there is no resume folder either.
        resume: whether to continue the pass that the folder belongs to.
        marker: name of a file by which an earlier result in `out` is known. Default:
            `result.json`.

    Raises:
        ConvlensError: as `output_folder`; if the resume folder exists and `resume` is false, or
            the other way round.
    """
    if out is None:
        yield None
        return
    with claim_folder(out, marker=marker) as claim:
        folder = _check_resume_folder(out, claim.path, resume=resume)
        yield folder
        claim.discard(folder)


def _check_resume_folder(out: Path, path: Path, *, resume: bool) -> Path:
    """The resume folder of a pass; it exists if and only if the pass is resumed."""
    folder = path.with_name(f"{path.name}.unfinished")
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
    return folder


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
