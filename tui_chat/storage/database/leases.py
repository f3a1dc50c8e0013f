"""Lock files that tell which running process writes to a message or a chat.

The operating system releases a lock when its process ends, however it ends. So there is no
heartbeat that a sleeping laptop could miss, and no process id that could be reused.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tui_chat.config.paths import private_dir
from tui_chat.safe_text import storable

_LOOK_S = 0.005
"""Seconds between two attempts to lock a chat."""
_LOOKS = 4
"""Attempts to lock a chat before it counts as taken.

One is not enough: a starting program holds each lock for a moment while `sweep` tests it.
"""


def lease_dir(database: Path) -> Path:
    """Return the folder of the lock files, which lies beside the database."""
    return database.with_name(database.name + ".open")


class ProcessLease:
    """A lock file that shows other processes, from `hold` to `release`, that this one is running.

    If the folder cannot be written, there is no lock file, and other processes take this one for
    ended.
    """

    def __init__(self, database: Path) -> None:
        self.owner = uuid.uuid4().hex
        self._path = lease_dir(database) / self.owner
        self._descriptor: int | None = None

    def hold(self) -> None:
        """Create and lock the file, unless this lease holds it already."""
        if self._descriptor is None:
            with suppress(OSError):
                self._descriptor = _open_locked(self._path, fcntl.LOCK_EX)

    @property
    def is_held(self) -> bool:
        """Whether other processes can see that this one is running."""
        return self._descriptor is not None

    def release(self) -> None:
        """Unlock and remove the file."""
        if self._descriptor is not None:
            _remove_and_close(self._path, self._descriptor)
            self._descriptor = None
        _remove_folder(self._path.parent)


class ChatLease:
    """A lock file that reserves a chat for one writer, from `take` to `give_back`."""

    def __init__(self, database: Path, chat_id: str) -> None:
        name = hashlib.sha256(storable(chat_id).encode()).hexdigest()[:32]
        self._path = lease_dir(database) / f"chat-{name}"
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Reserve the chat.

        Returns:
            False if another program holds the chat, or another session of this program does. True
            also if the folder cannot be written: then no program can save the chat anyway.
        """
        for look in range(_LOOKS):
            if self._descriptor is not None:
                return True
            if look:
                time.sleep(_LOOK_S)
            try:
                self._descriptor = _open_locked(self._path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:
                return True
        return self._descriptor is not None

    def give_back(self) -> None:
        """Release the chat for other writers."""
        if self._descriptor is not None:
            _remove_and_close(self._path, self._descriptor)
            self._descriptor = None
        _remove_folder(self._path.parent)


@contextmanager
def lent_chats(database: Path, chat_ids: Iterable[str]) -> Iterator[list[str]]:
    """Reserve chats for the duration of the block, as far as no other program holds them.

    Args:
        database: The database file.
        chat_ids: Full ids.

    Yields:
        The ids of the chats that could not be reserved because another program has them open.
    """
    leases = {chat_id: ChatLease(database, chat_id) for chat_id in chat_ids}
    try:
        yield [chat_id for chat_id, lease in leases.items() if not lease.take()]
    finally:
        for lease in leases.values():
            lease.give_back()


def _open_locked(path: Path, operation: int) -> int:
    """Create a lock file, lock it and return its descriptor.

    Args:
        path: The lock file.
        operation: Flags for `fcntl.flock`.

    Raises:
        BlockingIOError: If the file is locked elsewhere and `operation` has `LOCK_NB`.
        OSError: If the file cannot be created.
    """
    for _ in range(100):
        private_dir(path.parent)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # another process has just removed the empty folder
            continue
        try:
            fcntl.flock(descriptor, operation)
            # Between `open` and `flock`, another process may have found the new file unlocked and
            # removed it as stale. A lock on a removed file protects nothing, so try again.
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise FileNotFoundError(path)


def _remove_and_close(path: Path, descriptor: int) -> None:
    with suppress(OSError):
        path.unlink()  # while still locked: later, it could be the file of a new owner
    os.close(descriptor)


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()  # fails while any lock file is in it


def is_live(database: Path, owner: str) -> bool:
    """Return whether the process of a lease still runs; remove its lock file if it has ended.

    Args:
        database: The database file.
        owner: `ProcessLease.owner`, for example from a row of the database.
    """
    # A damaged row can hold any text: never build a path from one with dots or slashes.
    return owner.isalnum() and _is_locked(lease_dir(database) / owner)


def _is_locked(path: Path) -> bool:
    """Return whether any process holds a lock file; remove the file if none does."""
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
    """Remove the lock files that ended processes left behind."""
    with suppress(OSError):
        for path in list(lease_dir(database).iterdir()):
            _is_locked(path)


def has_living_process(database: Path) -> bool:
    """Return whether any process, this one included, has the database open for writing."""
    try:
        names = os.listdir(lease_dir(database))
    except OSError:
        return False
    return any(is_live(database, name) for name in names)


@contextmanager
def repair_lock(database: Path) -> Iterator[None]:
    """Hold the lock under which one process at a time checks, repairs or creates the database.

    If the folder cannot be written, there is no lock; no process can repair anything there.
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
