"""The labels of the photos of a command: from a CSV file, or from the names of folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convlens.cli import terminal
from convlens.cli.arguments import ModelArguments
from convlens.cli.inputs import note_unmatched
from convlens.data.datasets.photo_dataset import PhotoDataset, as_dataset, find_dataset_keys
from convlens.errors import ConvlensError
from convlens.models.label_tables import read_labeled_photos, read_labels
from convlens.models.loading.labels_of_spec import labels_of_spec
from convlens.wording import counted, enumerated

if TYPE_CHECKING:
    from convlens.models.model import Model

Labels = list[tuple[int, ...] | None]

NO_LABELS = "no labels; give --labels FILE, or photos in folders that are named after classes"


@dataclass(frozen=True)
class LabelSource:
    """Where the labels of photos come from. Nothing here needs a model, except to `read` them.

    Attributes:
        photos: the photos.
        path: CSV file of `--labels`, or None.
        keys: the entry of that file that names each photo, None where it has none.
        use_folders: whether the names of folders may be labels.
        class_names: the class names of the model; None if they are known only after loading it.
    """

    photos: Sequence[Path] | PhotoDataset
    path: Path | None
    keys: Sequence[str | None]
    use_folders: bool
    class_names: Sequence[str] | None

    @classmethod
    def find(
        cls,
        path: Path | None,
        photos: Sequence[Path] | PhotoDataset,
        model: ModelArguments,
        *,
        no_labels: bool = False,
    ) -> "LabelSource":
        """Check that a CSV file names photos, and classes if possible, before a model is loaded.

        Entries that fit no photo are named on standard error.

        Args:
            path: CSV file of `--labels`, or None.
            photos: the photos.
            model: the options that name the model.
            no_labels: whether `--no-labels` is given. Default: False.

        Raises:
            ConvlensError: a file that cannot be read, an entry that fits two photos, no entry that
                fits any photo, a class that the model does not have where this is known, or a file
                together with `--no-labels`.
        """
        class_names = labels_of_spec(model.model, model.class_names)
        if path is None:
            return cls(photos, None, (), use_folders=not no_labels, class_names=class_names)
        if no_labels:
            raise ConvlensError("--labels and --no-labels do not go together; give one of them")
        table = read_labeled_photos(path)
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
        if class_names:
            read_labels(path, class_names, len(class_names))
        note_unmatched("--labels", table, keys)
        return cls(photos, path, keys, use_folders=False, class_names=class_names)

    def require(self) -> None:
        """Check that there can be labels, as far as this is known before a model is loaded.

        Raises:
            ConvlensError: there is no file, and no folder is named after a class of the model.
        """
        from convlens.models.folder_labels import may_have_folder_labels

        if self.path is not None:
            return
        if isinstance(self.photos, PhotoDataset):
            raise ConvlensError(NO_LABELS)
        names = self.class_names
        if names is not None and not may_have_folder_labels(self.photos, names):
            raise ConvlensError(NO_LABELS)

    def read(self, model: "Model") -> Labels | None:
        """The right classes of each photo, None for photos without a label; None without labels.

        Labels that come from the names of folders are reported on standard error.

        Raises:
            ConvlensError: a class that the model does not have.
        """
        if self.path is None:
            return self._read_folders(model)
        table = _read_file(self.path, model)
        return [None if key is None else table[key] for key in self.keys]

    def read_table(self, model: "Model") -> dict[str, tuple[int, ...]] | None:
        """The right classes by the photo's path or an end of it; None without labels.

        Raises:
            ConvlensError: as `read`.
        """
        if self.path is not None:
            return _read_file(self.path, model)
        labels = self._read_folders(model)
        if labels is None or isinstance(self.photos, PhotoDataset):
            return None
        pairs = zip(self.photos, labels, strict=True)
        return {str(photo): classes for photo, classes in pairs if classes is not None}

    def _read_folders(self, model: "Model") -> Labels | None:
        """Labels from the names of folders, if they may be used and there are any."""
        if not self.use_folders or isinstance(self.photos, PhotoDataset):
            return None
        from convlens.models.folder_labels import folder_labels

        labels = folder_labels(self.photos, model)
        pairs = zip(self.photos, labels, strict=True)
        folders = {photo.parent.name: None for photo, classes in pairs if classes is not None}
        if not folders:
            return None
        labeled = sum(classes is not None for classes in labels)
        terminal.note(
            f"labels from the names of folders ({enumerated(list(folders), 3)}) for {labeled:,} of "
            f"{counted(len(labels), 'photo')}; --no-labels leaves them out"
        )
        return labels


def _read_file(path: Path, model: "Model") -> dict[str, tuple[int, ...]]:
    from convlens.tracing.tracer import trace

    return read_labels(path, model.labels, trace(model).num_outputs)
