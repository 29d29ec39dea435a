"""The steps that every command with a pass over photos takes before the pass and around it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from convlens.cli import terminal
from convlens.cli.arguments import PassArguments
from convlens.cli.inputs import (
    choose_engine,
    find_dataset,
    load_model,
    match_labels,
    note_unmatched,
    read_label_table,
    resumable_folder,
    running_engine,
)
from convlens.data.datasets.parquet import ParquetPhotos
from convlens.data.datasets.photo_dataset import as_dataset, find_dataset_keys
from convlens.models.model import Model
from convlens.passes.job import Engine
from convlens.passes.options import PassOptions
from convlens.results import RESULT


@dataclass(frozen=True)
class PassInputs:
    """The photos, the model and the engine of a pass.

    Attributes:
        arguments: the options that name them.
        dataset: paths of photos, or rows of Parquet files.
        model: the loaded model.
        engine: the engine, not yet started.
    """

    arguments: PassArguments
    dataset: list[Path] | ParquetPhotos
    model: Model
    engine: Engine

    @classmethod
    def load(cls, arguments: PassArguments) -> "PassInputs":
        """Find the photos, choose the engine and load the model.

        Raises:
            ConvlensError: as `find_dataset`, `choose_engine` and `load`.
        """
        dataset = find_dataset(arguments.photos, column=arguments.column, out=arguments.out)
        engine, device = choose_engine(
            arguments.engine,
            address=arguments.address,
            actors=arguments.actors,
            device=arguments.device,
        )
        model = load_model(replace(arguments, device=device))
        return cls(arguments, dataset, model, engine)

    def read_labels(self, path: Path | None) -> list[tuple[int, ...] | None] | None:
        """The labels of each photo from a CSV file; None if no file is given.

        Raises:
            ConvlensError: as `read_labels` and `match_labels`.
        """
        return match_labels(self.dataset, read_label_table(path, self.model))

    def note_unmatched(self, option: str, table: Mapping[str, object] | None) -> None:
        """Name the entries of a table that fit no photo on standard error.

        Args:
            option: the option that gave the table.
            table: entries by photo; None if the option was not given.

        Raises:
            ConvlensError: an entry that fits two photos.
        """
        if table is not None:
            note_unmatched(option, table, find_dataset_keys(as_dataset(self.dataset), table))

    @contextmanager
    def prepare_pass(self, *, marker: str = RESULT) -> Iterator[PassOptions]:
        """Start the engine, open the resume folder and show progress until the context is left.

        Args:
            marker: name of a file by which an earlier result in the output folder is known.

        Raises:
            ConvlensError: as `resumable_folder` and `running_engine`.
        """
        arguments = self.arguments
        with (
            resumable_folder(arguments.out, resume=arguments.resume, marker=marker) as folder,
            running_engine(self.engine, quiet=arguments.quiet),
            terminal.progress(quiet=arguments.quiet) as progress,
        ):
            yield PassOptions(engine=self.engine, resume_folder=folder, progress=progress)
