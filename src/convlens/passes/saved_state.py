"""What a pass has finished, on disk: a manifest that is replaced in one step.

    FOLDER/manifest.json              settings, finished images, name of the valid state
    FOLDER/state-000004.safetensors   the state after these images
    FOLDER/images.txt                 a line for each image, to see whether the data set changed

A pass that is killed at any moment continues from the manifest that was written last.
"""

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from convlens.claims import claim_path
from convlens.errors import ConvlensError, describe_error
from convlens.files import atomic_file, write_tensors
from convlens.passes.reducer import State
from convlens.runtime.fingerprints import to_plain

MANIFEST = "manifest.json"
_IMAGES = "images.txt"
_STATE = re.compile(r"state-\d{9,}\.safetensors")
_FORMAT = 2  # of the folder; raised when another version cannot continue from it


@dataclass
class FinishedImages:
    """The images that a pass has finished.

    Attributes:
        spans: their numbers as (start, stop), in order, with neighbors merged.
        skipped: the reason for each of them that could not be read, by its number.
    """

    spans: list[tuple[int, int]] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)

    def add(self, spans: Iterable[tuple[int, int]], skipped: Mapping[int, str]) -> None:
        """Add finished batches."""
        self.skipped.update(skipped)
        merged: list[tuple[int, int]] = []
        for start, stop in sorted([*self.spans, *spans]):
            if merged and merged[-1][1] == start:
                merged[-1] = (merged[-1][0], stop)
            else:
                merged.append((start, stop))
        self.spans = merged

    def __contains__(self, span: tuple[int, int]) -> bool:
        before = bisect_right(self.spans, span[0], key=lambda finished: finished[0])
        return before > 0 and span[1] <= self.spans[before - 1][1]

    @property
    def count(self) -> int:
        """The number of images that were read or skipped."""
        return sum(stop - start for start, stop in self.spans)


def save(
    folder: Path,
    identity: Mapping[str, Any],
    image_fingerprints: Sequence[str],
    finished: FinishedImages,
    state: State,
) -> None:
    """Write a state and then the manifest that makes it valid.

    Args:
        folder: the resume folder; made if it does not exist.
        identity: what decides the result, by name (see `fingerprints.to_plain`).
        image_fingerprints: a line for each image that changes when the image does.
        finished: the images that the state contains.
        state: the state.

    Raises:
        ConvlensError: if the folder cannot be written. What was valid before stays valid.
    """
    name = f"state-{finished.count:09d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _IMAGES).is_file():
            with atomic_file(folder / _IMAGES) as temporary:
                temporary.write_text(
                    "\n".join(image_fingerprints), encoding="utf-8", errors="surrogateescape"
                )
        with atomic_file(folder / name) as temporary:
            write_tensors(temporary, state)
        manifest = {
            "format": _FORMAT,
            "identity": to_plain(identity),
            "images": _hash_lines(image_fingerprints),
            "finished": finished.spans,
            "skipped": {str(number): reason for number, reason in finished.skipped.items()},
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
def claim_saved_state(folder: Path) -> Iterator[None]:
    """Claim a resume folder, so that no other process uses it.

    Raises:
        ConvlensError: another process uses it, or nothing can be written beside it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(claim_path(folder))
        except OSError as error:
            raise ConvlensError(f"cannot write {folder} ({error.strerror or error})") from error
        yield


@contextmanager
def mark_folder(
    folder: Path, identity: Mapping[str, Any], image_fingerprints: Sequence[str], state: State
) -> Iterator[None]:
    """Write the manifest of a pass before the pass begins.

    So the folder of a pass that is killed always says which pass it belongs to. A new folder is
    removed again if the pass fails before it has saved anything.
    """
    fresh = not (folder / MANIFEST).is_file()
    if fresh:
        save(folder, identity, image_fingerprints, FinishedImages(), state)
    try:
        yield
    except BaseException:
        if fresh and not json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["finished"]:
            _remove(folder)
        raise


def read(
    folder: Path,
    identity: Mapping[str, Any],
    image_fingerprints: Sequence[str],
    initial_state: State,
) -> tuple[FinishedImages, State] | None:
    """What a pass has finished, or None if it has saved nothing yet.

    Args:
        folder: the resume folder.
        identity: identity of the pass as for `save`.
        image_fingerprints: fingerprints of the images as for `save`.
        initial_state: the state of no images; the saved one has the same tensors.

    Raises:
        ConvlensError: if the folder belongs to another pass (the message says what differs), was
            written by another version, or is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _check_format(folder, manifest["format"])
        _compare(folder, manifest, identity, image_fingerprints)
        finished = _read_finished(manifest, len(image_fingerprints))
        state = _read_state(folder, manifest["state"], initial_state)
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError
    ) as error:  # fmt: skip
        raise ConvlensError(
            f"{folder} is damaged ({describe_error(error)}); remove it and start again"
        ) from error
    return finished, state


def _read_finished(manifest: dict[str, Any], total: int) -> FinishedImages:
    """The finished images, whose numbers must be in order and in the data set."""
    skipped = {int(number): str(reason) for number, reason in manifest["skipped"].items()}
    spans = [(int(start), int(stop)) for start, stop in manifest["finished"]]
    edges = [edge for span in spans for edge in span]
    if edges != sorted(edges) or not all(0 <= edge <= total for edge in edges):
        raise ValueError(f"finished images {spans} of {total}")
    finished = FinishedImages(spans, skipped)
    if not all((number, number + 1) in finished for number in skipped):
        raise ValueError("an image was skipped that was not reached")
    return finished


def _read_state(folder: Path, name: str, initial_state: State) -> State:
    """A state with the same tensors as the initial one."""
    if not _STATE.fullmatch(name):  # it would be read from elsewhere
        raise ValueError(f"no state is called {name!r}")
    state = load_file(folder / name)
    for key in state.keys() | initial_state.keys():
        saved, initial = state.get(key), initial_state.get(key)
        if saved is None or initial is None or saved.dtype != initial.dtype:
            raise ValueError(f"tensor {key!r} is missing, unknown or of another type")
        if saved.shape != initial.shape:
            raise ValueError(f"tensor {key!r} of shape {tuple(saved.shape)}")
    return state


def _check_format(folder: Path, number: int) -> None:
    if number < _FORMAT:
        raise ConvlensError(
            f"{folder} was written by convlens 0.1, and this version cannot continue from it; "
            f"remove it and start again"
        )
    if number > _FORMAT:
        raise ConvlensError(
            f"{folder} was written by a newer convlens; update this one, or remove the folder"
        )


def _compare(
    folder: Path,
    manifest: dict[str, Any],
    identity: Mapping[str, Any],
    image_fingerprints: Sequence[str],
) -> None:
    for name, value in to_plain(identity).items():
        if name not in manifest["identity"]:
            raise ConvlensError(
                f"{folder} belongs to another kind of pass; remove it, or give another folder"
            )
        saved = manifest["identity"][name]
        if json.loads(json.dumps(value)) != saved:
            hashed = isinstance(value, dict) and "sha256" in value  # a hash tells a reader nothing
            values = "" if hashed else f" ({saved}, now {value})"
            raise ConvlensError(
                f"{folder} belongs to a pass with different {name}{values}; give the same to "
                f"continue it, or remove the folder"
            )
    if manifest["images"] == _hash_lines(image_fingerprints):
        return
    saved_lines = (
        (folder / _IMAGES).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    )
    if len(saved_lines) != len(image_fingerprints):
        change = f"{len(saved_lines):,} images then, {len(image_fingerprints):,} now"
    else:
        pairs = zip(saved_lines, image_fingerprints, strict=True)
        first = next((old for old, new in pairs if old != new), _IMAGES)
        change = f"{first.rpartition(' ')[0].rpartition(' ')[0] or first} is another file now"
    raise ConvlensError(
        f"the data set has changed since {folder} was written ({change}); remove it and start again"
    )


def _remove(folder: Path) -> None:
    """Remove what `save` wrote, and the folder if nothing else is in it."""
    (folder / MANIFEST).unlink(missing_ok=True)  # first: without it the rest is not valid
    for path in (folder / _IMAGES, *folder.glob("state-*.safetensors")):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _hash_lines(image_fingerprints: Sequence[str]) -> str:
    text = "\n".join(image_fingerprints).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()
