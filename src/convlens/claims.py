"""Claims: one process at a time writes to a path, and what killed processes left is cleared.

While a process writes to a path, a hidden folder lies beside it:

    .convlens-1a2b3c4d/lock   names the path and the process, which holds a lock on it
    .convlens-1a2b3c4d/new    what will take the place of the path
    .convlens-1a2b3c4d/old    the earlier content of the path, until the new one is in its place

The operating system releases the lock when the process ends, also when it is killed. The next
process that writes beside it then moves `old` back if nothing is at the path, and removes the rest.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convlens.errors import ConvlensError

PREFIX = ".convlens-"  # of the names of all temporary files and folders
_DIGEST = 8  # hexadecimal digits

_claims: dict[Path, "Claim"] = {}  # of this process, by the claimed path
_cleared: set[Path] = set()  # folders in which this process has looked for leftovers
_guard = threading.RLock()  # of both


@dataclass
class Claim:
    """A claim on a path.

    Attributes:
        path: the claimed path.
        folder: the hidden folder beside it.
        descriptor: the open lock file.
        thread: the thread that holds the claim.
        depth: how often it has claimed the path.
    """

    path: Path
    folder: Path
    descriptor: int
    thread: int
    depth: int = 0

    @property
    def new(self) -> Path:
        """Where the new content is made."""
        return self.folder / "new"

    @property
    def old(self) -> Path:
        """Where the earlier content lies while the new one takes its place."""
        return self.folder / "old"

    def recover(self) -> None:
        """Move the only copy of an earlier result back, and remove what else was left."""
        if os.path.lexists(self.old) and not os.path.lexists(self.path):
            self.old.rename(self.path)
        self.discard(self.new)
        self.discard(self.old)

    def discard(self, path: Path) -> None:
        """Remove a folder in one step; what is half removed lies in the hidden folder."""
        removed = self.folder / "removed"
        shutil.rmtree(removed, ignore_errors=True)  # of a process that was killed here
        with contextlib.suppress(OSError):  # such as that there is nothing to remove
            path.rename(removed)
        for folder in (removed, path):
            shutil.rmtree(folder, ignore_errors=True)

    def release(self) -> None:
        """Remove the hidden folder and give the path to other processes."""
        try:
            self.recover()
            (self.folder / "lock").unlink()
            self.folder.rmdir()
        except OSError:
            pass  # an earlier result that cannot be moved back stays
        finally:
            os.close(self.descriptor)


@contextlib.contextmanager
def claim_path(path: str | Path) -> Iterator[Claim]:
    """Claim a path that will be written; the thread that holds the claim may claim it again.

    Args:
        path: name of a file or folder. Missing folders above it are made, and removed again if
            they stay empty. Links are followed.

    Raises:
        ConvlensError: another process, or another thread, writes to the path.
        OSError: nothing can be written beside it.
    """
    target = real_path(path)
    with _guard:
        claim = _claims.get(target)
        if claim is not None and claim.thread != threading.get_ident():
            raise _in_use(path, os.getpid())
        missing = missing_folders(target)
        if claim is None:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                clear_leftovers(target.parent)
                claim = _claims[target] = _acquire(path, target)
            except BaseException:
                remove_empty(missing)
                raise
        claim.depth += 1
    try:
        if claim.depth == 1:
            claim.recover()
        yield claim
    finally:
        with _guard:
            claim.depth -= 1
            if not claim.depth:
                del _claims[target]
                claim.release()
        remove_empty(missing)


def clear_leftovers(folder: Path) -> None:
    """Clear what killed processes left in a folder; once for each folder in the life of a process.

    A folder without a lock file, and a file that is locked, is left alone.
    """
    with _guard:
        if folder in _cleared:
            return
        _cleared.add(folder)
        try:
            names = [name for name in os.listdir(folder) if name.startswith(PREFIX)]  # noqa: PTH208
        except OSError:
            return
        for path in (folder / name for name in names):
            if path.is_dir() and not path.is_symlink():
                if not any(claim.folder == path for claim in _claims.values()):
                    _clear_folder(path)
            elif path.is_file():
                _clear_file(path)


def real_path(path: str | Path) -> Path:
    """The absolute path without links; a circle of links stays as it is."""
    return Path(os.path.realpath(path))


def lock_file(path: Path) -> int:
    """Open a file, which is made if it does not exist, and lock it.

    Returns:
        The descriptor of the open file; the lock ends when it is closed.

    Raises:
        BlockingIOError: another process holds a lock on the file.
        OSError: the file cannot be opened.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # a file system without locks
            return descriptor
        # The file may have been removed by the process that held its lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def missing_folders(path: Path) -> list[Path]:
    """The folders above a path that do not exist, the innermost first."""
    return [parent for parent in path.parents if not parent.exists()]


def remove_empty(folders: list[Path]) -> None:
    """Remove the folders that were made for a file that was not written, the innermost first."""
    for folder in folders:
        try:
            folder.rmdir()  # fails if the folder is not empty
        except OSError:
            return


def _acquire(path: str | Path, target: Path) -> Claim:
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:_DIGEST]
    folder = target.with_name(f"{PREFIX}{digest}")
    lock = folder / "lock"
    while True:
        folder.mkdir(exist_ok=True)
        try:
            descriptor = lock_file(lock)
        except FileNotFoundError:  # the folder was removed in the meantime
            continue
        except BlockingIOError:
            with contextlib.suppress(OSError, ValueError):
                raise _in_use(path, int(lock.read_bytes().rpartition(b"\n")[2])) from None
            raise _in_use(path, None) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, os.fsencode(target.name) + b"\n" + str(os.getpid()).encode(), 0)
        return Claim(target, folder, descriptor, threading.get_ident())


def _clear_folder(folder: Path) -> None:
    """Clear the hidden folder of a process that was killed."""
    lock = folder / "lock"
    with contextlib.suppress(OSError):  # in use, or not ours to change
        if not lock.exists():
            folder.rmdir()  # fails unless it is empty
            return
        descriptor = lock_file(lock)
        name = os.fsdecode(lock.read_bytes().rpartition(b"\n")[0])
        claim = Claim(folder.with_name(name or "?"), folder, descriptor, threading.get_ident())
        if name or not claim.old.exists():  # without a name, nobody knows where it belongs
            claim.recover()
            claim.release()
        else:
            os.close(descriptor)


def _clear_file(path: Path) -> None:
    """Remove the temporary file of a process that was killed."""
    with contextlib.suppress(OSError):
        descriptor = lock_file(path)
        path.unlink()
        os.close(descriptor)


def _in_use(path: str | Path, process: int | None) -> ConvlensError:
    holder = f" (process {process})" if process is not None else ""
    return ConvlensError(
        f"{path} is in use by another run of convlens{holder}; wait until it has finished, or give "
        f"another place"
    )
