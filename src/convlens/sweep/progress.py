"""What is done of a sweep, on disk: a manifest that is replaced in one step.

    FOLDER/manifest.json        what is swept, which images are done, which state counts
    FOLDER/state-000004.safetensors   the reducer's state after these images
    FOLDER/images.txt           a line for each image, to see whether the data set changed

Killed at any moment, the sweep is as it was when the manifest was last replaced.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from convlens.errors import ConvlensError
from convlens.files import whole, write_tensors
from convlens.guard import bare
from convlens.model import Model
from convlens.views.reducer import State

MANIFEST = "manifest.json"
_IMAGES = "images.txt"
_FORMAT = 1


@dataclass
class Done:
    """What a sweep has seen.

    Attributes:
        spans: which images, as (start, stop), in order and merged.
        skipped: reason by number of the images that could not be read.
    """

    spans: list[tuple[int, int]] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)

    def add(self, spans: Iterable[tuple[int, int]], skipped: Mapping[int, str]) -> None:
        """Take in batches that are done."""
        self.skipped.update(skipped)
        merged: list[tuple[int, int]] = []
        for one, other in sorted([*self.spans, *spans]):
            if merged and merged[-1][1] == one:
                merged[-1] = (merged[-1][0], other)
            else:
                merged.append((one, other))
        self.spans = merged

    def __contains__(self, span: tuple[int, int]) -> bool:
        return any(start <= span[0] and span[1] <= stop for start, stop in self.spans)

    @property
    def count(self) -> int:
        """How many images have been seen or skipped."""
        return sum(stop - start for start, stop in self.spans)


def fingerprint(model: Model) -> str:
    """A hash of the network's weights and of how it is fed."""
    digest = hashlib.sha256()
    for name, tensor in sorted(bare(model.network).state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    fed = (model.geometry, model.mean, model.std, model.bounds, model.center, model.channels)
    digest.update(repr(fed).encode())
    return digest.hexdigest()[:16]


def save(
    folder: Path, identity: Mapping[str, Any], marks: Sequence[str], done: Done, state: State
) -> None:
    """Make what is done count.

    Raises:
        ConvlensError: it cannot be written; what counted before still does.
    """
    name = f"state-{done.count:09d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _IMAGES).is_file():
            with whole(folder / _IMAGES) as temporary:
                temporary.write_text("\n".join(marks), encoding="utf-8", errors="surrogateescape")
        with whole(folder / name) as temporary:
            write_tensors(temporary, state)
        manifest = {
            "format": _FORMAT,
            "identity": dict(identity),
            "marks": _digest(marks),
            "done": done.spans,
            "skipped": {str(number): reason for number, reason in done.skipped.items()},
            "state": name,
        }
        with whole(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConvlensError(f"cannot write {folder} ({error.strerror or error})") from error
    for path in folder.glob("state-*.safetensors"):
        if path.name != name:
            path.unlink(missing_ok=True)


def read(
    folder: Path, identity: Mapping[str, Any], marks: Sequence[str]
) -> tuple[Done, State] | None:
    """What is done of this very sweep; None where there is nothing yet.

    Raises:
        ConvlensError: the folder is that of another sweep (what differs), or is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != _FORMAT:
            raise ConvlensError(f"{path} is of format {manifest['format']}, not {_FORMAT}")
        _compare(folder, manifest, identity, marks)
        state = load_file(folder / manifest["state"])
        skipped = {int(number): reason for number, reason in manifest["skipped"].items()}
        return Done([(start, stop) for start, stop in manifest["done"]], skipped), state
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ConvlensError(
            f"{folder} is damaged ({type(error).__name__}: {error}); remove it and start afresh"
        ) from error


def mark(answers: Sequence[Sequence[int] | None] | None) -> str:
    """Labels as a short text that changes when they do."""
    if answers is None:
        return ""
    plain = repr([None if answer is None else tuple(answer) for answer in answers])
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _compare(
    folder: Path, manifest: dict[str, Any], identity: Mapping[str, Any], marks: Sequence[str]
) -> None:
    for name, now in identity.items():
        before = manifest["identity"].get(name)
        if json.loads(json.dumps(now)) != before:
            raise ConvlensError(
                f"{folder} is of a sweep with another {name} ({before}, now {now}); give the same "
                f"to go on with it, or remove it"
            )
    if manifest["marks"] == _digest(marks):
        return
    before = (folder / _IMAGES).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    if len(before) != len(marks):
        what = f"{len(before):,} images then, {len(marks):,} now"
    else:
        first = next(a for a, b in zip(before, marks, strict=True) if a != b)
        what = f"{first.rpartition(' ')[0].rpartition(' ')[0] or first} is another file now"
    raise ConvlensError(
        f"the data set changed since {folder} was begun ({what}); remove it and start afresh"
    )


def _digest(marks: Sequence[str]) -> str:
    text = "\n".join(marks).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()
