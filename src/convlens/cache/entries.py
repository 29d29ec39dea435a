"""Entries of the disk cache: plain data and tensors in one safetensors file each.

FOLDER/KIND-DIGEST.safetensors   the tensors; the metadata of the file holds the data as JSON

The digest is that of the key, which holds everything that the entry depends on. An entry is written
under a temporary name and renamed, so that two processes may write the same one and a killed
process leaves none in part. A damaged entry is removed and counts as missing. When the entries
together exceed the limit, those that were not used for the longest time are removed.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convlens.cache.folder import active_folder, size_limit
from convlens.errors import ConvlensError
from convlens.files import atomic_file

if TYPE_CHECKING:
    from torch import Tensor

_SUFFIX = ".safetensors"
_DATA, _CHECKSUM = "convlens", "sha256"  # in the metadata of a file
_HEADER_BYTES = 8  # in which a safetensors file states the length of its header
_DIGITS = 32  # hexadecimal, of the key's digest in the name of a file


@dataclass(frozen=True, eq=False)
class Entry:
    """What an entry holds.

    Attributes:
        data: plain data, as JSON can hold it.
        tensors: tensors by name, with the strides and on the devices that they had.
    """

    data: Any
    tensors: Mapping[str, "Tensor"]


@dataclass(frozen=True)
class StoredEntry:
    """An entry as a file.

    Attributes:
        kind: what it holds, such as `maximize`.
        path: the file.
        size: its bytes.
        used: when it was written or last read, in seconds since the epoch.
    """

    kind: str
    path: Path
    size: int
    used: float


def read_entry(kind: str, key: Any) -> Entry | None:
    """Read an entry, and record that it was used.

    Args:
        kind: what it holds.
        key: everything that it depends on, as JSON can hold it.

    Returns:
        The entry; None if there is none, it is damaged, or the cache is not in use.
    """
    folder = active_folder()
    if folder is None:
        return None
    path = folder / _file_name(kind, key)
    try:
        entry = _decode(path.read_bytes())
    except OSError:
        return None
    except Exception:  # whatever damage makes of a file
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return entry


def write_entry(kind: str, key: Any, data: Any, tensors: Mapping[str, "Tensor"]) -> None:
    """Write an entry if the cache is in use; a folder that cannot be written is left alone.

    Args:
        kind: what it holds; letters and hyphens.
        key: everything that it depends on, as JSON can hold it.
        data: plain data, as JSON can hold it.
        tensors: tensors by name, on any device.
    """
    folder = active_folder()
    if folder is None:
        return
    content = _encode(data, tensors)
    if len(content) > size_limit():
        return
    with contextlib.suppress(ConvlensError, OSError):  # a full disk, say; nothing depends on it
        with atomic_file(folder / _file_name(kind, key)) as temporary:
            temporary.write_bytes(content)
        _remove_oldest(folder, size_limit())


def list_entries(folder: Path) -> list[StoredEntry]:
    """All entries of a folder, those that were not used for the longest time first."""
    entries = []
    try:
        files = list(os.scandir(folder))
    except OSError:
        return []
    for file in files:
        kind, _, digest = file.name.removesuffix(_SUFFIX).rpartition("-")
        if not (kind and file.name.endswith(_SUFFIX) and len(digest) == _DIGITS):
            continue
        with contextlib.suppress(OSError):  # removed by another process
            status = file.stat()
            entries.append(StoredEntry(kind, Path(file.path), status.st_size, status.st_mtime))
    return sorted(entries, key=lambda entry: entry.used)


def remove_entries(folder: Path) -> list[StoredEntry]:
    """Remove all entries of a folder, and nothing else in it.

    Returns:
        The removed entries.

    Raises:
        ConvlensError: an entry cannot be removed.
    """
    entries = list_entries(folder)
    for entry in entries:
        try:
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise ConvlensError(
                f"cannot remove {entry.path} ({error.strerror}); change the permissions of "
                f"{folder}, or remove it yourself"
            ) from error
    return entries


def _remove_oldest(folder: Path, limit: int) -> None:
    entries = list_entries(folder)
    excess = sum(entry.size for entry in entries) - limit
    for entry in entries:
        if excess <= 0:
            return
        entry.path.unlink(missing_ok=True)
        excess -= entry.size


def _file_name(kind: str, key: Any) -> str:
    text = json.dumps(key, sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}{_SUFFIX}"


def _encode(data: Any, tensors: Mapping[str, "Tensor"]) -> bytes:
    from safetensors.torch import save

    layouts = {
        name: {"shape": list(tensor.shape), "stride": _dense_stride(tensor),
               "device": str(tensor.device)}
        for name, tensor in tensors.items()
    }  # fmt: skip
    flat = {name: _elements(tensor) for name, tensor in tensors.items()}
    text = json.dumps({"data": data, "tensors": layouts})
    bare = save(flat)
    return save(flat, {_DATA: text, _CHECKSUM: _checksum(text, bare)})


def _decode(content: bytes) -> Entry:
    import torch
    from safetensors.torch import load, save

    length = int.from_bytes(content[:_HEADER_BYTES], "little")
    metadata = json.loads(content[_HEADER_BYTES : _HEADER_BYTES + length])["__metadata__"]
    flat = load(content)
    if metadata[_CHECKSUM] != _checksum(metadata[_DATA], save(flat)):
        raise ValueError("the checksum does not fit")
    saved = json.loads(metadata[_DATA])
    tensors = {
        name: torch.as_strided(flat[name], layout["shape"], layout["stride"]).to(layout["device"])
        for name, layout in saved["tensors"].items()
    }
    return Entry(saved["data"], tensors)


def _checksum(text: str, tensors: bytes) -> str:
    digest = hashlib.sha256(text.encode())
    digest.update(tensors)
    return digest.hexdigest()


def _elements(tensor: "Tensor") -> "Tensor":
    """The elements of a tensor on the CPU, in the order of `_dense_stride`."""
    on_cpu = tensor.detach().cpu()
    flat = on_cpu.as_strided((tensor.numel(),), (1,)) if _is_dense(tensor) else on_cpu.reshape(-1)
    return flat.clone()  # safetensors takes no tensors that share memory


def _dense_stride(tensor: "Tensor") -> list[int]:
    """The strides of a tensor that fills its memory without gaps, else those of a copy that does.

    They count: PyTorch chooses the memory format of a convolution, and with it the last bits of
    what it returns, by the strides of its input.
    """
    if _is_dense(tensor):
        return list(tensor.stride())
    stride = 1
    strides: list[int] = []
    for length in reversed(tensor.shape):
        strides.insert(0, stride)
        stride *= length
    return strides


def _is_dense(tensor: "Tensor") -> bool:
    """Whether each element has a place of its own, and the places follow one another."""
    dimensions = sorted(
        (stride, length)
        for stride, length in zip(tensor.stride(), tensor.shape, strict=True)
        if length > 1
    )
    expected = 1
    for stride, length in dimensions:
        if stride != expected:
            return False
        expected *= length
    return tensor.numel() > 0
