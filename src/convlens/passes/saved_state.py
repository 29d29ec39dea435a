"""What is done of a sweep, on disk: a manifest that is replaced in one step.

    FOLDER/manifest.json        what is swept, which images are done, which state counts
    FOLDER/state-000004.safetensors   the reducer's state after these images
    FOLDER/images.txt           a line for each image, to see whether the data set changed

Killed at any moment, the sweep is as it was when the manifest was last replaced.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from convlens.errors import ConvlensError
from convlens.files import atomic_file, write_tensors
from convlens.models.model import Model
from convlens.passes.reducer import State
from convlens.runtime.guard import unwrap_network
from convlens.tracing.trace import trace

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
        before = bisect_right(self.spans, span[0], key=lambda one: one[0])
        return before > 0 and span[1] <= self.spans[before - 1][1]

    @property
    def count(self) -> int:
        """How many images have been seen or skipped."""
        return sum(stop - start for start, stop in self.spans)


def fingerprint(model: Model) -> str:
    """A hash of the network's weights, of what it computes with them, and of how it is fed."""
    digest = hashlib.sha256()
    network = unwrap_network(model.network)
    # All buffers, also those that its author does not save.
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for operation in trace(model, partly=True).recording.operations:
        digest.update(f"{operation.function} {operation.arguments}".encode())
    fed = (model.preprocessing, model.mean, model.std, model.bounds, model.center, model.channels)
    digest.update(repr(fed).encode())
    return digest.hexdigest()[:16]


def save(
    folder: Path, identity: Mapping[str, Any], fingerprints: Sequence[str], done: Done, state: State
) -> None:
    """Make what is done count.

    Raises:
        ConvlensError: it cannot be written; what counted before still does.
    """
    name = f"state-{done.count:09d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _IMAGES).is_file():
            with atomic_file(folder / _IMAGES) as temporary:
                temporary.write_text(
                    "\n".join(fingerprints), encoding="utf-8", errors="surrogateescape"
                )
        with atomic_file(folder / name) as temporary:
            write_tensors(temporary, state)
        manifest = {
            "format": _FORMAT,
            "identity": dict(identity),
            "marks": _digest(fingerprints),
            "done": done.spans,
            "skipped": {str(number): reason for number, reason in done.skipped.items()},
            "state": name,
        }
        with atomic_file(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConvlensError(f"cannot write {folder} ({error.strerror or error})") from error
    for path in folder.glob("state-*.safetensors"):
        if path.name != name:
            path.unlink(missing_ok=True)


@contextmanager
def begun(
    folder: Path, identity: Mapping[str, Any], fingerprints: Sequence[str], state: State
) -> Iterator[None]:
    """A folder that says what it is of before anything is done; gone where nothing gets done.

    What a killed run left is then known to be of this sweep or of another, however short it was.
    """
    fresh = not (folder / MANIFEST).is_file()
    if fresh:
        save(folder, identity, fingerprints, Done(), state)
    try:
        yield
    except BaseException:
        if fresh and not json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["done"]:
            _forget(folder)
        raise


def _forget(folder: Path) -> None:
    """Remove what `save` wrote; the folder too, if nothing else is in it."""
    (folder / MANIFEST).unlink(missing_ok=True)  # first: without it the rest does not count
    for path in (folder / _IMAGES, *folder.glob("state-*.safetensors")):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def read(
    folder: Path, identity: Mapping[str, Any], fingerprints: Sequence[str]
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
        _compare(folder, manifest, identity, fingerprints)
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
    folder: Path, manifest: dict[str, Any], identity: Mapping[str, Any], fingerprints: Sequence[str]
) -> None:
    for name, now in identity.items():
        if name not in manifest["identity"]:
            raise ConvlensError(f"{folder} is of another kind of sweep; remove it, or give its own")
        before = manifest["identity"][name]
        if json.loads(json.dumps(now)) != before:
            values = "" if name == "labels" else f" ({before}, now {now})"  # a hash tells nothing
            raise ConvlensError(
                f"{folder} is of a sweep with different {name}{values}; give the same to go on "
                f"with it, or remove it"
            )
    if manifest["marks"] == _digest(fingerprints):
        return
    before = (folder / _IMAGES).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    if len(before) != len(fingerprints):
        what = f"{len(before):,} images then, {len(fingerprints):,} now"
    else:
        first = next(a for a, b in zip(before, fingerprints, strict=True) if a != b)
        what = f"{first.rpartition(' ')[0].rpartition(' ')[0] or first} is another file now"
    raise ConvlensError(
        f"the data set changed since {folder} was begun ({what}); remove it and start afresh"
    )


def _digest(fingerprints: Sequence[str]) -> str:
    text = "\n".join(fingerprints).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()
