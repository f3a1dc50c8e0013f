"""Which running program writes to a message: a lock file for each process.

The operating system gives a lock back when its process ends, however it ends, so there is no
heartbeat that a sleeping laptop could miss and no process number that could be taken again.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tui_chat.paths import private_dir


def lease_dir(database: Path) -> Path:
    """Folder of the lock files, beside the database."""
    return database.with_name(database.name + ".open")


class ProcessLease:
    """Says to other processes, from `hold` to `release`, that its owner lives.

    Where the folder cannot be written there is no lock file, and the owner counts as ended for
    everybody else.
    """

    def __init__(self, database: Path) -> None:
        self.owner = uuid.uuid4().hex
        self._path = lease_dir(database) / self.owner
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Take the lock file, unless it is held already."""
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = self._acquire()

    def _acquire(self) -> int:
        for _ in range(100):
            private_dir(self._path.parent)
            try:
                descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # another process just removed the empty folder
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Another process may have taken the new file for a stale one and removed it.
                if os.fstat(descriptor).st_nlink:
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise FileNotFoundError(self._path)

    @property
    def is_held(self) -> bool:
        """Whether other processes can see that this one lives."""
        return self._descriptor is not None

    def release(self) -> None:
        """Say that the owner has ended."""
        if self._descriptor is not None:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None
        with suppress(OSError):
            self._path.parent.rmdir()  # fails while another process has its file there


def is_live(database: Path, owner: str) -> bool:
    """Whether the process with that lease still runs; removes the lock file of one that ended."""
    path = lease_dir(database) / owner
    if not owner.isalnum():  # never a path built from text of a damaged row
        return False
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        with suppress(OSError):
            path.unlink()
        return False
    finally:
        os.close(descriptor)


def sweep(database: Path) -> None:
    """Remove the lock files of processes that ended."""
    with suppress(OSError):
        for path in list(lease_dir(database).iterdir()):
            is_live(database, path.name)


def has_living_process(database: Path) -> bool:
    """Whether any program has the database open for writing."""
    try:
        names = os.listdir(lease_dir(database))
    except OSError:
        return False
    return any(is_live(database, name) for name in names)


@contextmanager
def repair_lock(database: Path) -> Iterator[None]:
    """Let one process at a time judge, set aside and make the database.

    Without a writable folder there is no lock, and nothing to repair either.
    """
    descriptor = None
    with suppress(OSError):
        lock = database.with_name(database.name + ".lock")
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
