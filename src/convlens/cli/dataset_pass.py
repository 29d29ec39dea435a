"""The steps that every command with a pass over photos takes before the pass and around it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.arguments import CheckArguments, PassArguments
from convlens.cli.inputs import (
    check_engine_options,
    check_resumable_folder,
    choose_engine,
    find_dataset,
    load_model,
    note_unmatched,
    resumable_folder,
    running_engine,
)
from convlens.cli.labels import NO_LABELS, Labels, LabelSource
from convlens.data.datasets.parquet import ParquetPhotos
from convlens.data.datasets.photo_dataset import as_dataset, find_dataset_keys
from convlens.errors import ConvlensError
from convlens.files import RESULT

if TYPE_CHECKING:
    from convlens.models.model import Model
    from convlens.passes.job import Engine
    from convlens.passes.options import PassOptions


@dataclass(frozen=True)
class PassInputs:
    """The photos, the model and the engine of a pass.

    Attributes:
        arguments: the options that name them.
        dataset: paths of photos, or rows of Parquet files.
        model: the loaded model.
        engine: the engine, not yet started.
        labels: the right classes of each photo; None if no labels are given.
        marker: name of a file by which an earlier result in the output folder is known.
    """

    arguments: PassArguments | CheckArguments
    dataset: list[Path] | ParquetPhotos
    model: "Model"
    engine: "Engine"
    labels: Labels | None
    marker: str

    @classmethod
    def load(
        cls,
        arguments: PassArguments | CheckArguments,
        *,
        labels: Path | None = None,
        no_labels: bool = True,
        labels_needed: bool = False,
        marker: str = RESULT,
    ) -> "PassInputs":
        """Find the photos, check the output folder, choose the engine and load the model.

        All that needs no model is checked before torch is imported.

        Args:
            arguments: the options of the command.
            labels: CSV file with the right classes of the photos. Default: none.
            no_labels: whether the names of folders are ignored, which could be labels. Default:
                they are.
            labels_needed: whether the command needs labels, so that it ends in an error without
                them, if possible before the model is loaded. Default: it does not.
            marker: name of a file by which an earlier result in the output folder is known.
                Default: `result.json`.

        Raises:
            ConvlensError: as `find_dataset`, `check_resumable_folder`, `LabelSource.find`,
                `LabelSource.require`, `choose_engine`, `load` and `LabelSource.read`.
        """
        check_engine_options(arguments.engine, address=arguments.address, actors=arguments.actors)
        dataset = find_dataset(arguments.photos, column=arguments.column, out=arguments.out)
        check_resumable_folder(arguments.out, resume=arguments.resume, marker=marker)
        label_source = LabelSource.find(labels, dataset, arguments, no_labels=no_labels)
        if labels_needed:
            label_source.require()
        engine, device = choose_engine(
            arguments.engine,
            address=arguments.address,
            actors=arguments.actors,
            device=arguments.device,
        )
        model = load_model(replace(arguments, device=device))
        return cls(arguments, dataset, model, engine, label_source.read(model), marker)

    def require_labels(self) -> Labels:
        """The right classes of each photo.

        Raises:
            ConvlensError: no labels are given.
        """
        if self.labels is None:
            raise ConvlensError(NO_LABELS)
        return self.labels

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
    def prepare_pass(self) -> "Iterator[PassOptions]":
        """Start the engine, open the resume folder and show progress until the context is left.

        Raises:
            ConvlensError: as `resumable_folder` and `running_engine`.
        """
        from convlens.passes.options import PassOptions

        arguments = self.arguments
        with (
            resumable_folder(arguments.out, resume=arguments.resume, marker=self.marker) as folder,
            running_engine(self.engine, quiet=arguments.quiet),
            terminal.progress(quiet=arguments.quiet) as progress,
        ):
            yield PassOptions(engine=self.engine, resume_folder=folder, progress=progress)
